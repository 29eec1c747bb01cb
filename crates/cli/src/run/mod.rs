//! `vidmm run`: a command under a manager of its own.
//!
//! Owns: the run from arguments to exit status. `command` starts the command and tells how it
//! ended, `signals` hands on what is sent to this program, `watch` looks at the manager meanwhile,
//! `report` says what was seen.

mod command;
mod report;
mod signals;
mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use vidmm_machine::{BudgetSpec, ByteSize, MachineFiles};

use crate::output::{Failure, note};
use crate::own_manager::{GUARDED_PERCENT, OwnManager, Setup};
use crate::recording::{Recording, Target};
use crate::run::command::{Ended, NotStarted};
use crate::run::report::Report;
use crate::run::signals::Forwarding;
use crate::run::watch::Watch;

const ABOUT: &str = "Run a command under a manager of its own";

const LONG_ABOUT: &str = "\
Runs a command under a manager of its own: all processes that it starts and that use vidmm share one \
budget, apart from any other manager. Standard input, output and error are the command's own; when it \
has ended, a short report goes to standard error, or as JSON to a file. Signals sent to this program are \
handed on to the command; what the terminal sends (Ctrl-C) reaches it once, from the terminal. The \
exit status is the command's, or 128 and the number of the signal that killed it.

Processes that outlive the command lose the manager with it and go on with what they hold.";

const EXAMPLES: &str = "\
The JSON of --report: one object {schema: \"vidmm.run/1\", command[], exit_status, elapsed_ns, budget_bytes, \
reserve_bytes, peak_charged_bytes, granted, refused, orders, ordered_bytes, samples, interval_ms_max, \
processes[{pid, name, peak_charged_bytes, discards{low, normal, high}, reclaims_intact, \
reclaims_discarded, hit_rate}]}. The figures of a process are those that it told last, at most \
interval_ms_max before its end. With --trace also trace{path, recorded, lost, bytes, processes, \
unfinished, stopped}.

Examples:
  vidmm run --budget 256M -- make -j4
  vidmm run --budget 25% --report run.json -- ./viewer photos/
  vidmm run --budget 256M --trace run.parquet -- ./viewer photos/
  vidmm run --budget 1G --reserve 64M -- sh -c './server & ./client; wait'

Exit status: the command's; 1 no manager could be started, or the report or trace not written; 2 wrong usage; 126 the command \
cannot be run; 127 it is not found.";

// Arguments of `vidmm run`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Memory for all processes together, such as 256M, 25% or auto (a quarter of memory)
    #[arg(long, value_name = "SIZE")]
    budget: BudgetSpec,

    /// How much of it is kept for processes that join when all else is in use
    #[arg(long, value_name = "SIZE", default_value = "0")]
    reserve: ByteSize,

    /// How much of an even part of the budget nobody else takes from a process, in percent. What is
    /// offered beyond that goes by how little it is worth, whoever's it is
    #[arg(long, value_name = "PERCENT", default_value_t = GUARDED_PERCENT, value_parser = clap::value_parser!(u32).range(0..=100))]
    guarded: u32,

    /// Write the report as JSON into this file instead of text to standard error
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Record what happens to the allocations of all its processes into this file: Parquet, or what
    /// its end says (.csv, .perfetto-trace, .pftrace)
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

/// Runs the command and passes on how it ended.
///
/// # Errors
/// No manager can be started, or the report cannot be written.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let budget_bytes = args.budget.resolve(&MachineFiles::default())?;
    if args.reserve.0 >= budget_bytes {
        return Err(format!(
            "a reserve of {} leaves nothing of a budget of {budget}; choose a smaller --reserve",
            args.reserve,
            budget = ByteSize(budget_bytes)
        )
        .into());
    }
    let report_file = args.report.as_deref().map(open_report).transpose()?;
    let target = args.trace.as_deref().map(Target::check).transpose()?;
    let recording = target.map(Recording::begin).transpose()?;
    let manager = OwnManager::start(Setup {
        budget_bytes,
        reserve_bytes: args.reserve.0,
        guarded_percent: args.guarded,
    })?;
    let socket = manager.socket();
    // From here on signals are the command's business.
    let signals = signals::Caught::catch()?;
    let directory = recording.as_ref().map(Recording::directory);
    let began = Instant::now();
    let mut child = match command::start(&args.command, &socket, directory) {
        Ok(child) => child,
        Err(not_started) => return Ok(complain(&not_started)),
    };
    let begun = Forwarding::begin(signals, &child)
        .and_then(|forwarding| Ok((forwarding, Watch::begin(&socket)?)));
    let (forwarding, watch) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            // It would be without its signals, and soon without its manager.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failure);
        }
    };
    let ended = command::wait(child)?;
    let elapsed = began.elapsed();
    drop(forwarding);
    let seen = watch.end();
    drop(manager);

    let (trace, traced) = Recording::finish_some(recording);
    let report = Report::new(
        &args.command,
        ended,
        elapsed,
        (budget_bytes, args.reserve.0),
        &seen,
        trace,
    );
    match report_file {
        Some((file, path)) => write_report(file, path, &report.json()?)?,
        None => note(report.text().trim_end()),
    }
    traced.map(|()| exit_code(ended))
}

fn exit_code(ended: Ended) -> ExitCode {
    ExitCode::from(ended.exit_status())
}

/// Opens the report's file before anything is started: a wrong name costs nothing then.
fn open_report(path: &Path) -> Result<(File, &Path), Failure> {
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    match opened {
        Ok(file) => Ok((file, path)),
        Err(error) => Err(format!(
            "cannot write the report to {}: {error}; the command was not started",
            path.display()
        )
        .into()),
    }
}

/// What was in the file before goes only now that there is something new.
fn write_report(mut file: File, path: &Path, text: &str) -> Result<(), Failure> {
    // What cannot be cut or wound back, such as a pipe, has nothing old in it.
    let _ = file.set_len(0);
    let _ = file.rewind();
    file.write_all(text.as_bytes())
        .map_err(|error| format!("cannot write the report to {}: {error}", path.display()).into())
}

fn complain(not_started: &NotStarted) -> ExitCode {
    note(&format!("vidmm: {not_started}"));
    ExitCode::from(not_started.exit_status())
}
