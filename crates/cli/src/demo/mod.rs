//! `vidmm demo`: workers unpack real files under one memory budget, keep what they unpacked as
//! offered memory, and read it again - with every byte checked, beside what other ways would cost.
//!
//! Owns: the run from arguments to report. The parts, in the order they are used: `inputs` finds
//! files, `reference` unpacks each once (`unpack`, `sink`, `scratch`, `heap`), `length` and `plan`
//! (`zipf`) say who reads what when, `policy` by what is discarded, `fleet` starts the workers as
//! processes under one manager (`crew`: the only one, as a thread), `worker` (`store`, `tally`,
//! `histogram`) does it while `sampler` watches the memory (`still`), `baseline` computes the
//! alternatives, and `report` and `text` tell the outcome.

mod baseline;
mod crew;
pub(crate) mod fleet;
mod heap;
mod histogram;
mod inputs;
mod length;
mod plan;
mod policy;
mod reference;
mod report;
mod sampler;
mod scratch;
mod sink;
mod still;
mod store;
mod tally;
mod text;
mod unpack;
mod worker;
pub(crate) mod zipf;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use vidmm_machine::{BudgetSpec, MachineFiles};

use crate::demo::baseline::Cost;
use crate::demo::crew::Outcome;
use crate::demo::fleet::Wanted as WantedFleet;
use crate::demo::histogram::nanoseconds;
use crate::demo::inputs::{Found, Skipped, Wanted};
use crate::demo::plan::Plan;
use crate::demo::policy::PolicyName;
use crate::demo::reference::Reference;
use crate::demo::report::{Report, Schema};
use crate::demo::scratch::Scratch;
use crate::demo::still::Still;
use crate::demo::tally::Live;
use crate::demo::text::Text;
use crate::demo::unpack::size_u64;
use crate::demo::worker::Shared;
use crate::output::{Failure, stdout_takes_colours, to_stdout};
use crate::progress::Progress;
use crate::recording::{Recording, Target};

/// The default budget is a third of the unpacked input and at most this.
const BUDGET_DEFAULT_MAX_BYTES: u64 = 128 << 20;
/// No default budget is below one page.
const BUDGET_DEFAULT_MIN_BYTES: u64 = 4096;
/// How long the whole demo takes at default settings, about.
const DURATION: Duration = Duration::from_secs(45);
/// However long the reference pass took, the run itself gets so much.
const DURATION_MIN: Duration = Duration::from_secs(15);

const ABOUT: &str =
    "Show the library at work: unpack real files under one memory budget, and check every byte";

const LONG_ABOUT: &str = "\
Shows the library at work. Workers - processes under one manager - unpack real files on demand, keep the \
result as offered memory under one budget, and read it again when asked. When room is needed, vidmm \
discards offered memory; the worker is told so and unpacks again. Every byte that comes back is compared with a digest taken beforehand, and the \
time spent on unpacking is shown beside two alternatives on the same accesses: no cache at all, \
and the budget split evenly into private LRU caches.

Files: .gz .zst .zip .png .jpg .crate under DIR, at most 16 directories deep, without following \
links; by default the packages in cargo's cache. At most 4,096 files of 1 GiB together are used; \
one that unpacks to more than 256 MiB is skipped and named, and so is one that is damaged.";

const EXAMPLES: &str = "\
Examples:
  vidmm demo                               about 50 s on cargo's packages
  vidmm demo ~/Pictures --budget 256M      your own files, your own budget
  vidmm demo --accesses 5000 --seed 7      a short run; the same seed reads the same files
  vidmm demo --chaos                       workers and the manager are killed on the way
  vidmm demo --policy oldest-first         the same without learning what to discard
  vidmm demo --trace demo.parquet          what happened to each allocation, for `vidmm replay`
  vidmm demo --trace demo.pftrace          the same for https://ui.perfetto.dev
  vidmm demo --json > demo.json            one JSON object, for programs

Under --chaos the successor of a killed worker does over, and counts, the access that was not finished; what \
its predecessor had read is a first use to it. So first uses, intact and discarded still sum to the accesses.

With --trace, --json has also trace{path, recorded, lost, bytes, processes, unfinished, stopped}.

Exit status: 0 done; 1 failed, or a wrong byte, or more memory in use than the budget;
2 wrong usage.";

// Arguments of `vidmm demo`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to look for packed files [default: the packages in cargo's cache]
    dir: Option<PathBuf>,

    /// Memory for all workers together, such as 64M, 1.5G or 5% of the machine's
    /// [default: a third of the unpacked input, at most 128M]
    #[arg(long, value_name = "SIZE")]
    budget: Option<BudgetSpec>,

    /// How many workers: steady, bursty, scanning, mostly idle, by turns. Each is a process of its
    /// own, all under one manager; a single one works in this process
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,

    /// How many files are read in all [default: as many as make the demo last about 50 s]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=length::ACCESSES_MAX))]
    accesses: Option<u64>,

    /// Chooses who reads what when; the same number gives the same accesses again
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Kill some workers (their successors go on), stop some for a while, and kill the manager
    /// once, half-way: contents and budget must hold all the same
    #[arg(long)]
    chaos: bool,

    /// By which policy the workers discard
    #[arg(long, value_enum, value_name = "NAME", default_value_t)]
    policy: PolicyName,

    /// Record what happens to the workers' allocations into this file: Parquet, or what its end says
    /// (.csv, .perfetto-trace, .pftrace). A single worker is a process of its own then
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Print one JSON object instead of the report (sizes in bytes, times in nanoseconds)
    #[arg(long)]
    json: bool,
}

/// Runs the demo and prints its report.
///
/// # Errors
/// No usable input, a budget that cannot be had, whatever vidmm answers - or a broken promise:
/// wrong bytes, or more memory than the budget.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    heap::give_back_large_blocks();
    // A wrong name costs nothing then.
    let target = args.trace.as_deref().map(Target::check).transpose()?;
    let began = Instant::now();
    let (mut found, root) = find_inputs(args.dir.as_deref())?;
    let scratch = Scratch::default();
    let mut reference = take_reference(&mut found, &scratch);
    require_items(&reference, &found, &root)?;
    reference
        .skipped
        .splice(0..0, std::mem::take(&mut found.skipped));
    let reference_elapsed = began.elapsed();

    let budget_bytes = budget(args.budget.as_ref(), reference.unpacked_bytes())?;
    let accesses = args.accesses.unwrap_or_else(|| {
        let time = DURATION.saturating_sub(reference_elapsed).max(DURATION_MIN);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        length::accesses_for(
            time,
            cores,
            &reference.items,
            budget_bytes,
            args.seed,
            args.workers,
        )
    });
    let plan = Plan::new(args.seed, args.workers, accesses, reference.items.len());
    let shared = Shared {
        items: std::mem::take(&mut reference.items),
        plan,
        still: Still::default(),
        scratch,
        live: Live::default(),
    };
    let recording = target.map(Recording::begin).transpose()?;
    let outcome = if args.workers == 1 && !args.chaos && recording.is_none() {
        let pool = args.policy.builder().budget_bytes(budget_bytes).build()?;
        crew::carry_out(&shared, &pool, budget_bytes)?
    } else {
        let wanted = WantedFleet {
            seed: args.seed,
            workers: args.workers,
            budget_bytes,
            chaos: args.chaos,
            policy: args.policy,
            trace: recording.as_ref().map(|one| one.directory().to_owned()),
        };
        fleet::carry_out(&shared, &wanted)?
    };

    let (trace, traced) = Recording::finish_some(recording);
    let report = Report {
        trace,
        reference_elapsed_ns: nanoseconds(reference_elapsed),
        seed: args.seed,
        policy: args.policy,
        files_left_out: size_u64(found.left_out + reference.left_out),
        ..report_of(&shared, outcome, budget_bytes, reference.skipped)
    };
    if args.json {
        to_stdout(&report.json()?)?;
    } else {
        let text = Text {
            report: &report,
            colours: stdout_takes_colours(),
        };
        to_stdout(&text.to_string())?;
    }
    report.judge()?;
    traced
}

/// The files to use, and where they were looked for.
fn find_inputs(directory: Option<&Path>) -> Result<(Found, PathBuf), Failure> {
    let (root, wanted) = match directory {
        Some(directory) => (directory.to_path_buf(), Wanted::Everything),
        None => {
            let cache = inputs::cargo_cache().ok_or(
                "neither CARGO_HOME nor HOME is set, so cargo's packages cannot be found; \
                 name a directory with packed files: vidmm demo DIR",
            )?;
            (cache, Wanted::Crates)
        }
    };
    match inputs::find(&root, wanted) {
        Ok(found) => Ok((found, root)),
        Err(error) => Err(format!(
            "cannot look for packed files in {}: {error}; name a directory that has some: \
             vidmm demo DIR",
            root.display()
        )
        .into()),
    }
}

fn take_reference(found: &mut Found, scratch: &Scratch) -> Reference {
    let inputs = std::mem::take(&mut found.inputs);
    let mut progress =
        Progress::begin("unpacking each file for reference:", size_u64(inputs.len()));
    reference::take(inputs, scratch, |done| {
        progress.show(size_u64(done), String::new);
    })
}

/// Makes sure that there is something to read.
fn require_items(reference: &Reference, found: &Found, root: &Path) -> Result<(), Failure> {
    if !reference.items.is_empty() {
        return Ok(());
    }
    let root = root.display();
    let mut skipped = reference.skipped.iter().chain(&found.skipped);
    Err(match skipped.next() {
        None => format!(
            "no .gz .zst .zip .png .jpg or .crate file in {root}; name a directory that has \
             some: vidmm demo DIR"
        ),
        Some(Skipped { path, reason }) => format!(
            "none of the packed files in {root} can be used: {path} {reason}, and {} more; name \
             another directory: vidmm demo DIR",
            skipped.count()
        ),
    }
    .into())
}

fn budget(asked: Option<&BudgetSpec>, unpacked_bytes: u64) -> Result<u64, Failure> {
    match asked {
        Some(spec) => Ok(spec.resolve(&MachineFiles::default())?),
        None => Ok((unpacked_bytes / 3).clamp(BUDGET_DEFAULT_MIN_BYTES, BUDGET_DEFAULT_MAX_BYTES)),
    }
}

/// Puts all figures together; the few that only the caller knows are left at zero.
fn report_of(
    shared: &Shared,
    outcome: Outcome,
    budget_bytes: u64,
    mut skipped: Vec<Skipped>,
) -> Report {
    let Outcome {
        tally,
        peak,
        scratch_peak_bytes,
        clock_ns,
        elapsed,
        casualties,
    } = outcome;
    let costs: Vec<Cost> = shared.items.iter().map(reference::Item::cost).collect();
    let lost = tally
        .lost
        .iter()
        .map(|(&file, why)| Skipped::new(&shared.items[file].input.path, why));
    skipped.extend(lost);
    Report {
        schema: Schema,
        budget_bytes,
        peak_bytes: peak.peak_bytes,
        scratch_peak_bytes: scratch_peak_bytes.max(shared.scratch.peak_bytes()),
        workers_started: casualties.workers_started,
        workers_killed: casualties.workers_killed,
        accesses: size_u64(shared.plan.accesses.len()),
        first_use: tally.first_use,
        intact: tally.intact,
        discarded: tally.discarded,
        skipped_files: size_u64(skipped.len()),
        wrong_bytes: tally.wrong_bytes,
        rebuild_ns: tally.rebuild_ns,
        rebuild_wall_ns: tally.rebuild_wall_ns,
        offer_ns: tally.offer.quantiles(),
        reclaim_ns: tally.reclaim.quantiles(),
        baselines: vec![
            baseline::none(&shared.plan, &costs),
            baseline::even_split_lru(&shared.plan, &costs, budget_bytes),
            baseline::lru(&shared.plan, &costs, budget_bytes),
        ],
        seed: 0,
        policy: PolicyName::default(),
        workers: size_u64(shared.plan.workers),
        workers_stopped: casualties.workers_stopped,
        managers_killed: casualties.managers_killed,
        files: size_u64(shared.items.len()),
        packed_bytes: shared
            .items
            .iter()
            .map(|item| item.input.packed_bytes)
            .sum(),
        unpacked_bytes: costs.iter().map(|cost| cost.unpacked_bytes).sum(),
        uncached: tally.uncached,
        checked_bytes: tally.checked_bytes,
        elapsed_ns: nanoseconds(elapsed),
        reference_elapsed_ns: 0,
        peak_samples: peak.samples,
        peak_interval_ns: peak.interval_ns,
        clock_ns,
        skipped,
        files_left_out: 0,
        trace: None,
    }
}
