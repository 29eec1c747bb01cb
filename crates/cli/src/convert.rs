//! `vidmm convert`: a trace in another form.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;
use vidmm_machine::ByteSize;
use vidmm_tracefile::{About, Format, Output, Trace, open_trace, write_accesses, write_events};

use crate::output::{Failure, note, printable, to_stdout};
use crate::recording::{Watched, endings, of_processes};

/// The name and version of the JSON's form.
const SCHEMA: &str = "vidmm.convert/1";

const ABOUT: &str = "Turn a trace into another form: Parquet, Perfetto, CSV";

const LONG_ABOUT: &str = "\
Turns a trace into another form. What vidmm recorded - a Parquet file, a spool (.vtrace) or a directory of \
spools - is a trace of events: all that happened to allocations. Other formats have accesses only: time, id, \
size and, if it is known, cost. Events become Parquet, a trace for https://ui.perfetto.dev, or, as accesses, \
CSV; accesses become Parquet or CSV.

What IN is, is told by its content (gzip, Zstandard and xz are unpacked on the way). What OUT becomes is \
told by the end of its name. OUT is there whole or not at all.";

const EXAMPLES: &str = "\
Formats of --from: oracle-general, lis, time-id-size, penalties, lirs, csv, parquet, spool.

The JSON of --json: one object {schema: \"vidmm.convert/1\", input, output, from, to, content (\"events\" or \
\"accesses\"), rows, bytes, elapsed_ns}, and of events also recorded, lost, processes, unfinished, stopped.

Examples:
  vidmm convert run.parquet run.pftrace            look at it in https://ui.perfetto.dev
  vidmm convert run.parquet accesses.csv           what a replay would read, as text
  VIDMM_TRACE=spools ./viewer && vidmm convert spools viewer.parquet
  vidmm convert OLTP.lis.zst oltp.parquet --from lis
  vidmm convert old.trace new --from csv --to parquet

Exit status: 0 done; 1 IN cannot be read, or OUT not be written; 2 wrong usage.";

// Arguments of `vidmm convert`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The trace: a file, or a directory of spools
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// The file to make; .parquet, .perfetto-trace, .pftrace and .csv say what it becomes
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// What IN is, instead of what its content looks like
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,

    /// What OUT becomes (parquet, perfetto, csv), instead of what its name says
    #[arg(long, value_name = "FORMAT")]
    to: Option<Output>,

    /// Print one JSON object instead of a line
    #[arg(long)]
    json: bool,
}

/// What was done. The names of the fields are a promise: they stay.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    input: String,
    output: String,
    from: &'static str,
    to: &'static str,
    content: &'static str,
    rows: u64,
    bytes: u64,
    elapsed_ns: u64,
    #[serde(flatten)]
    events: Option<EventsReport>,
}

/// Of a trace of events.
#[derive(Debug, Serialize)]
struct EventsReport {
    recorded: u64,
    lost: u64,
    processes: usize,
    unfinished: usize,
    stopped: usize,
}

/// Converts, and says what came of it.
///
/// # Errors
/// The trace cannot be read, or the file not be written; a signal to end.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some(to) = args.to.or_else(|| Output::of_path(&args.output)) else {
        note(&format!(
            "vidmm: the name {} does not say what is to become of it; end it in .parquet, \
             .perfetto-trace, .pftrace or .csv, or say --to FORMAT",
            printable(&args.output.to_string_lossy())
        ));
        return Ok(ExitCode::from(2));
    };
    let report = convert(&args.input, args.from, &args.output, to)?;
    match args.json {
        true => {
            let mut text = serde_json::to_string_pretty(&report)?;
            text.push('\n');
            to_stdout(&text)?;
        }
        false => to_stdout(&report.text())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn convert(input: &Path, from: Option<Format>, path: &Path, to: Output) -> Result<Report, Failure> {
    const STAGE: &str = "converting (KiB):";
    let began = Instant::now();
    let (from, events, written) = match open_trace(input, from)? {
        Trace::Events(events) => {
            for error in events.unreadable() {
                note(&format!("vidmm: left out: {error}"));
            }
            let about = EventsReport::of(events.about());
            let from = events.format();
            let mut watched = Watched::begin(STAGE, events.total_bytes())?;
            let written = write_events(events, path, to, |bytes| watched.show(bytes))?;
            (from, Some(about), written)
        }
        Trace::Accesses(accesses) => {
            let from = accesses.format();
            let mut watched = Watched::begin(STAGE, accesses.total_bytes())?;
            let written = write_accesses(accesses, path, to, |bytes| watched.show(bytes))?;
            (from, None, written)
        }
    };
    // As text events are accesses.
    let are_events = events.is_some() && to != Output::Csv;
    Ok(Report {
        schema: SCHEMA,
        input: input.to_string_lossy().into_owned(),
        output: path.to_string_lossy().into_owned(),
        from: from.name(),
        to: to.name(),
        content: if are_events { "events" } else { "accesses" },
        rows: written.rows,
        bytes: written.bytes,
        elapsed_ns: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
        events,
    })
}

impl EventsReport {
    fn of(about: &About) -> Self {
        Self {
            recorded: about.recorded,
            lost: about.lost,
            processes: about.processes.len(),
            unfinished: about.unfinished(),
            stopped: about.stopped(),
        }
    }
}

impl Report {
    /// A line for people.
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {} {}, {}",
            printable(&self.output),
            self.rows,
            self.content,
            ByteSize(self.bytes)
        );
        if let Some(events) = &self.events {
            text.push_str(&format!(
                ", of {} events of {}, {} lost",
                events.recorded,
                of_processes(events.processes),
                events.lost
            ));
            text.push_str(&endings(events.unfinished, events.stopped));
        }
        text.push('\n');
        text
    }
}
