//! `vidmm serve`: the manager of a budget that many processes share.
//!
//! Owns: its arguments. What it does is `vidmm_host`'s.

use std::path::PathBuf;

use clap::ValueEnum;
use vidmm_host::{Audience, LogFormat, LogLevel, MetricsAddress, Options, Server};
use vidmm_machine::{BudgetSpec, ByteSize};

use crate::output::Failure;

const ABOUT: &str = "Share one memory budget among all processes that use vidmm";

const LONG_ABOUT: &str = "\
Shares one memory budget among all processes that use vidmm: it listens at a socket, which they find \
by themselves, grants credit and asks for it back. It never sees anybody's memory; each process \
discards its own.

The socket is at --socket, else $VIDMM_SOCKET, else $XDG_RUNTIME_DIR/vidmm/manager.sock, else (as root) \
/run/vidmm/manager.sock. There is one manager a socket; a socket file that a dead one left is replaced. \
Beside the socket lies the ledger: what every process is counted at, so that a restarted manager \
grants nothing twice.

SIGHUP reads the configuration anew, and nobody is disconnected; SIGTERM and SIGINT end it.";

const AFTER: &str = "\
Examples:
  vidmm serve                                      a quarter of memory, for this user's processes
  vidmm serve --budget 4G
  vidmm serve --budget 50% --config /etc/vidmm/manager.toml
  vidmm serve --metrics 127.0.0.1:9464             figures for Prometheus at /metrics
  systemctl --user enable --now vidmm.socket       started with the first process that asks

docs/serve.md has the configuration, the files, the figures and what bounds a process that cheats.";

// Arguments of `vidmm serve`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER)]
pub(crate) struct Args {
    /// Where clients find the manager [default: see above]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Serve all users of the machine: anybody may join; only this user and root give orders
    #[arg(long)]
    system: bool,

    /// What all clients together may hold: a size, a share of memory, or auto (a quarter of it)
    #[arg(long, value_name = "SIZE|auto|N%")]
    budget: Option<BudgetSpec>,

    /// Let the budget be as large as memory and swap space together
    #[arg(long)]
    allow_swap: bool,

    /// What is kept for newcomers [default: a sixteenth of the budget]
    #[arg(long, value_name = "SIZE")]
    reserve: Option<ByteSize>,

    /// Budgets, weights, reservations, floors and caps by user, cgroup and executable (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Serve figures for Prometheus: an address with a port, or the path of a socket
    #[arg(long, value_name = "ADDRESS|PATH")]
    metrics: Option<MetricsAddress>,

    /// Write figures to a file, for a collector that reads files
    #[arg(long, value_name = "FILE")]
    metrics_textfile: Option<PathBuf>,

    /// How log lines look on standard error [default: journal under systemd, else text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,

    /// Which lines are written [default: the configuration's, else info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Level>,

    /// Keep all rights of this process (without seccomp and Landlock)
    #[arg(long)]
    no_sandbox: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Journal,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let no_pressure = std::env::var_os("VIDMM_PRESSURE").is_some_and(|value| value == "off");
    let mut options = Options::default();
    options.socket.clone_from(&args.socket);
    options.audience = args.system.then_some(Audience::System);
    options.budget = args.budget;
    options.allow_swap = args.allow_swap;
    options.reserve_bytes = args.reserve.map(|reserve| reserve.0);
    options.config.clone_from(&args.config);
    options.metrics.clone_from(&args.metrics);
    options.metrics_textfile.clone_from(&args.metrics_textfile);
    options.log_format = match args.log_format {
        Some(Format::Text) => LogFormat::KeyValue,
        Some(Format::Journal) => LogFormat::Journal,
        Some(Format::Json) => LogFormat::Json,
        None if in_journal => LogFormat::Journal,
        None => LogFormat::KeyValue,
    };
    options.log_level = args.log_level.map(|level| match level {
        Level::Error => LogLevel::Error,
        Level::Warning => LogLevel::Warning,
        Level::Info => LogLevel::Info,
        Level::Debug => LogLevel::Debug,
    });
    options.service_manager = true;
    options.signals = true;
    options.sandbox = !args.no_sandbox;
    options.pressure = !no_pressure;
    Server::bind(options)?.run()?;
    Ok(())
}
