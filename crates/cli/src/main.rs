//! The `vidmm` program: the command line over the library of the same name.
//!
//! Owns: what a user types and reads - arguments, exit statuses, progress, reports, JSON.
//! Must not know: slots, extents, ranks. Whatever it does with memory goes through the public API
//! of the `vidmm` crate, as any other program's would; managers it asks as any operator would
//! (`operator`).
//!
//! A subcommand is one module with an `Args` (clap) and a `run(&Args) -> Result<(), Failure>` (of
//! an exit status, where that is not only 0 or 1), plus one line in [`Command`] and one in [`dispatch`].
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage.

mod bench;
mod budget;
mod convert;
mod demo;
mod operator;
mod output;
mod own_manager;
mod progress;
mod recording;
mod replay;
mod run;
mod serve;
mod stat;
mod top;
mod trim;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::Failure;

/// Offer memory that could be rebuilt, reclaim it when needed, be told whether it was discarded.
#[derive(Debug, Parser)]
#[command(
    name = "vidmm",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // No doc comments here: they would hide the longer texts that the `Args` bring along.
    Demo(demo::Args),
    Bench(bench::Args),
    /// A process of `demo`; not for users.
    #[command(hide = true)]
    DemoWorker,
    /// Another one.
    #[command(hide = true)]
    DemoManager(demo::fleet::manager::Args),
    /// A process of `bench`; not for users.
    #[command(hide = true)]
    BenchWorker(bench::WorkerArgs),
    Run(run::Args),
    Convert(convert::Args),
    Serve(serve::Args),
    Top(top::Args),
    Stat(stat::Args),
    Trim(trim::Args),
    Budget(budget::Args),
    Replay(replay::Args),
}

fn main() -> ExitCode {
    // Wrong usage ends here, with status 2; `--help` and `--version` with 0.
    let cli = Cli::parse();
    match dispatch(&cli.command) {
        Ok(status) => status,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo(args) => demo::run(args)?,
        Command::Bench(args) => bench::run(args)?,
        Command::DemoWorker => demo::fleet::worker_process::run()?,
        Command::DemoManager(args) => demo::fleet::manager::run(args)?,
        Command::BenchWorker(args) => bench::work(args)?,
        Command::Run(args) => return run::run(args),
        Command::Convert(args) => return convert::run(args),
        Command::Serve(args) => serve::run(args)?,
        Command::Top(args) => top::run(args)?,
        Command::Stat(args) => stat::run(args)?,
        Command::Trim(args) => trim::run(args)?,
        Command::Budget(args) => budget::run(args)?,
        Command::Replay(args) => replay::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
