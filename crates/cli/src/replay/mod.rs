//! `vidmm replay`: what a policy or a budget would have done with the accesses of a trace.
//!
//! Owns: the run from arguments to report. `size` reads sizes, `load` the trace, `sample` takes some of
//! it, `play` has each policy replay it, `report` puts the figures together, `text` prints and `plot`
//! draws them.

mod load;
mod play;
mod plot;
mod report;
mod sample;
mod size;
mod text;

use std::path::PathBuf;
use std::time::Instant;

use clap::builder::{PathBufValueParser, TypedValueParser};
use vidmm_replay::{Future, Policy, UnknownPolicy};
use vidmm_tracefile::Format;

use crate::output::{Failure, to_stdout};
use crate::replay::load::{Parts, Trace};
use crate::replay::play::{Job, play_all};
use crate::replay::plot::PlotFile;
use crate::replay::report::{Report, Row, size_in_words};
use crate::replay::size::{Rate, Size};

/// Without `--size`, in millionths of the footprint.
const SIZES_DEFAULT: [u32; 4] = [10_000, 50_000, 100_000, 300_000];

/// The same for a curve.
const SIZES_OF_CURVE: [u32; 12] = [
    5_000, 10_000, 15_000, 25_000, 40_000, 65_000, 100_000, 160_000, 250_000, 400_000, 650_000,
    1_000_000,
];

const ABOUT: &str = "Replay a trace: what a policy or a budget would have done";

const LONG_ABOUT: &str = "\
Replays the accesses of a trace against caches of several sizes under several policies, and tells what \
each misses: vidmm's own policy, published ones, and what nobody who sees the future could do better \
(belady).

A trace is one that vidmm recorded (`vidmm run --trace`: parquet, or a directory of spools), or a file in one \
of these formats, plain or packed with gzip, Zstandard or xz: oracle-general, lis, time-id-size, penalties, \
lirs, csv (time,id,size[,cost]). Its content tells which. It is read into memory: \
16 bytes for each request and 50 for each object; each core that works for belady takes up to 40 more \
for each request. A long trace can be replayed by a sample (--sample), in a part of the time and memory.";

const EXAMPLES: &str = "\
Examples:
  vidmm replay OLTP.lis.zst                                   all policies at 1, 5, 10 and 30 %
  vidmm replay cdn.csv --policy lru,vidmm --size 64M,256M     these two, with 64 and 256 MiB
  vidmm replay cdn.csv --plot curve.svg --plot curve.png      the curves over twelve sizes
  vidmm replay long.csv.zst --sample 1%                       one object of a hundred, with an error
  vidmm replay cdn.csv --json > cdn.json                      one JSON object, for programs

Sizes are bytes or shares of the footprint: the sizes of all objects together, each as it was first seen. \
A first access always misses, and so does an object larger than the cache. Rows come in the order asked, \
policy by policy.

JSON: one object {schema, trace, format, footprint_bytes, requests, objects, has_costs, sample{rate, \
requests, objects}, rows[], notes[], replay_ns}. A row is {policy, size_bytes, size_share, miss_ratio, \
byte_miss_ratio, cost_miss_ratio (null where the trace has no costs), error{miss_ratio, byte_miss_ratio, \
cost_miss_ratio} (of a sample: one standard error), exact{requests, bytes, cost} (of belady: where somebody \
reaches the bound), requests_per_second (of a core)}.

Exit status: 0 done; 1 the trace cannot be read or nothing can be written; 2 wrong usage.";

// Arguments of `vidmm replay`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The trace: a file
    #[arg(value_name = "TRACE")]
    trace: PathBuf,

    /// Policies by name, or all [default: all]
    #[arg(long = "policy", value_name = "all|NAME,..", value_delimiter = ',')]
    policies: Vec<Choice>,

    /// Sizes of the cache: bytes such as 64M, or shares of the footprint such as 5% [default: 1%,5%,10%,30%]
    #[arg(long = "size", value_name = "SIZE,..", value_delimiter = ',')]
    sizes: Vec<Size>,

    /// Draw what is missed at each size into a file, by its name .svg or .png; may be given again
    #[arg(
        long = "plot",
        value_name = "FILE",
        value_parser = PathBufValueParser::new().try_map(PlotFile::new)
    )]
    plots: Vec<PlotFile>,

    /// Replay a sample of the objects, such as 1%, or as many as take moderate time: quicker, with an error
    #[arg(long, value_name = "RATE|auto")]
    sample: Option<Rate>,

    /// The trace's format, where its content leaves it open
    #[arg(long, value_name = "NAME")]
    format: Option<Format>,

    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// What `--policy` names.
#[derive(Debug, Clone, Copy)]
enum Choice {
    All,
    One(Policy),
}

impl std::str::FromStr for Choice {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text.trim() {
            all if all.eq_ignore_ascii_case("all") => Ok(Choice::All),
            name => name.parse().map(Choice::One),
        }
    }
}

impl Args {
    /// In the order asked.
    fn policies(&self) -> Vec<Policy> {
        let choices = match self.policies.as_slice() {
            [] => &[Choice::All],
            asked => asked,
        };
        let each = choices.iter().flat_map(|choice| match choice {
            Choice::All => Policy::all().collect(),
            Choice::One(policy) => vec![*policy],
        });
        each.collect()
    }

    /// In the order asked.
    fn sizes(&self) -> Vec<Size> {
        match (self.sizes.is_empty(), self.plots.is_empty()) {
            (true, true) => Size::shares(&SIZES_DEFAULT),
            (true, false) => Size::shares(&SIZES_OF_CURVE),
            (false, _) => self.sizes.clone(),
        }
    }
}

/// Replays, and prints what came of it.
///
/// # Errors
/// A trace that cannot be read or replayed; an output that cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    for plot in &args.plots {
        plot.check()?;
    }
    let trace = load::load(&args.trace, args.format, args.sample)?;
    let report = replay(&trace, &args.policies(), &args.sizes())?;
    to_stdout(&match args.json {
        true => report.json()?,
        false => report.to_string(),
    })?;
    for plot in &args.plots {
        plot.draw(&report)?;
    }
    Ok(())
}

/// Each policy at each size.
fn replay(trace: &Trace, policies: &[Policy], sizes: &[Size]) -> Result<Report, Failure> {
    let parts = trace.parts.all();
    let longest = parts.iter().map(|part| part.requests.len()).max();
    if policies.contains(&Policy::Belady) && longest > Some(Future::MOST_REQUESTS) {
        return Err(format!(
            "{}: belady replays at most {} requests and these are more; leave it out (--policy)",
            trace.name,
            Future::MOST_REQUESTS
        )
        .into());
    }
    let mut rows = Vec::new();
    for &policy in policies {
        for size in sizes {
            rows.push((policy, size.resolve(trace.totals.footprint_bytes)));
        }
    }
    let mut jobs = Vec::new();
    for &(policy, size_bytes) in &rows {
        let sizes_bytes = trace.parts.sizes_bytes(size_bytes);
        if sizes_bytes.contains(&0) {
            return Err(format!(
                "{}: a sample leaves nothing of a cache of {}; take a larger one (--sample), or a larger \
                 cache (--size)",
                trace.name,
                size_in_words(size_bytes, trace.totals.all_of_one_byte)
            )
            .into());
        }
        jobs.extend(
            parts
                .iter()
                .zip(sizes_bytes)
                .map(|(&part, size_bytes)| Job {
                    policy,
                    size_bytes,
                    part,
                }),
        );
    }
    let start = Instant::now();
    let played = play_all(&jobs, |index| {
        let (policy, size_bytes) = rows[index / parts.len()];
        let size = size_in_words(size_bytes, trace.totals.all_of_one_byte);
        format!("{} at {size}", policy.name())
    });
    let elapsed = start.elapsed();
    let rows = rows.iter().zip(played.chunks(parts.len()));
    let rows = rows.map(|(&(policy, size_bytes), played)| {
        let totals = &trace.totals;
        match &trace.parts {
            Parts::Whole(_) => Row::whole(policy, size_bytes, totals, &played[0]),
            Parts::Sample(sample) => {
                Row::sampled(policy, size_bytes, totals, sample.threshold, played)
            }
        }
    });
    Ok(Report::new(trace, rows.collect(), elapsed))
}
