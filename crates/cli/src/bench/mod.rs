//! `vidmm bench`: this machine's figures - each operation against what a program would do instead,
//! in one run.
//!
//! Owns: the rows, their peers, their targets. Each row's peer stands a few lines beside it, in the
//! module that measures it: `pair`, `c_face`, `madv_free`, `warm_write`, `create`, `make_room`,
//! `scan`, `churn`, `idle`, and those with a manager in `joined`. `c_library` is the C interface as a C program calls it. `sample` takes figures by turns, `cores` runs two threads side by side,
//! `map` is memory straight from the kernel, `heap` empties the allocator, `usage` and `machine` are
//! what the kernel tells, `row` judges, `text` prints.

mod c_face;
mod c_library;
mod churn;
mod cores;
mod create;
mod heap;
mod idle;
mod joined;
mod machine;
mod madv_free;
mod make_room;
mod map;
mod pair;
mod row;
mod sample;
mod scan;
mod text;
mod usage;
mod warm_write;

use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;
use vidmm::{Pool, PressureMode};
use vidmm_machine::ByteSize;

pub(crate) use crate::bench::joined::{WorkerArgs, work};
use crate::bench::machine::Machine;
use crate::bench::row::Row;
use crate::bench::text::Text;
use crate::output::{Failure, note, stdout_takes_colours, to_stdout};

/// The name and version of the JSON's form.
const SCHEMA: &str = "vidmm.bench/1";

const ABOUT: &str =
    "Measure each operation on this machine against what a program would do instead";

const LONG_ABOUT: &str = "\
Measures each operation on this machine against what a program would do instead - bare \
compare-and-swaps, MADV_FREE, a fresh mapping, the kernel's own rate - in one run, by turns. \
Figures are medians of at least 7 samples; how much they mean depends on what else the machine \
does, their ratios less so.

It takes a little more than a minute, half of which is the wait of the row `idle`, and up to 1.5 GiB of \
memory (2 GiB more for pair_c_1g to be allowed to start); rows that the machine has too little memory or too few cores for are skipped and say so. A target \
that is missed is shown, and is no failure.";

const AFTER: &str = "\
Rows beyond the names of --row show variants:
  pair_rust_shared                      the state checked at run time instead of by types
  reclaim_null_discarded, _1024         after a discard: each by itself, and all in one call
  two_threads_scaling                   two threads beside one, both through vidmm
  madv_free_*_kept, _huge               the peer writes what it keeps; has huge pages
  warm_write_*_huge                     the peer has huge pages
  create_destroy_64k_zeroed_write, _not_zeroed_write   with lock and write, beside the allocator
  make_room_64k, _1m, _16m              the sizes; make_room is the worst of them
  scan_1m_first                         the first scan of a pool; scan_1m is any later one
  churn_bystander                       p99 of another thread's pair during the churn
  churn_4k                              churn with allocations of 4 KiB instead of 64 KiB
  make_room_other_p99, _busy, _busy_p99 the slowest of a hundred; the other process at work
  manager_bytes_per_client              what a client costs the manager in memory

The rows with a manager start processes of their own: `vidmm serve` in a temporary directory, and \
clients of it, as many as 1,000 for manager_idle.

The rows of the C interface (pair_c*, batch_1024_c, reclaim_null, create_destroy_64k_c) call the \
functions of libvidmm.so beside this program or in ../lib; where there is none, those linked into it.

JSON: one object {schema, machine, rows[], skipped[]}. A row is {name, vidmm_ns, peer, peer_ns, ratio \
(the peer's figure over ours: above 1, ours is better), target_ratio, met, samples, size_bytes, unit, \
target, vidmm_spread, peer_spread, note}. The figures are in `unit`: ns (nanoseconds), bytes, percent \
(of a core) or wakeups. target_ratio and met are null where there is no target; where the target is an \
absolute figure, target_ratio is the ratio that reaching it would give. The spreads are the distances \
between the quartiles.

Examples:
  vidmm bench
  vidmm bench --row pair_rust --row scan_1m
  vidmm bench --json > bench.json";

// Arguments of `vidmm bench`. (A doc comment would replace the texts above.)
#[derive(Debug, clap::Args)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER)]
pub(crate) struct Args {
    /// Measure only this row and its variants; may be given several times [default: all]
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<Measure>,

    /// Print one JSON object instead of the table (sizes in bytes, times in nanoseconds)
    #[arg(long)]
    json: bool,
}

/// What can be measured by itself, by the name of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Measure {
    PairRust,
    PairC,
    #[value(name = "pair_c_1g")]
    PairC1g,
    PairCSyscalls,
    #[value(name = "batch_1024_c")]
    Batch1024C,
    ReclaimNull,
    TwoThreads,
    #[value(name = "madv_free_64k")]
    MadvFree64k,
    #[value(name = "madv_free_1m")]
    MadvFree1m,
    #[value(name = "madv_free_16m")]
    MadvFree16m,
    #[value(name = "warm_write_1m")]
    WarmWrite1m,
    #[value(name = "warm_write_16m")]
    WarmWrite16m,
    #[value(name = "create_destroy_64k")]
    CreateDestroy64k,
    #[value(name = "create_destroy_64k_c")]
    CreateDestroy64kC,
    MakeRoom,
    /// With bytes_per_allocation, which needs the same million allocations
    #[value(name = "scan_1m", alias = "bytes_per_allocation")]
    Scan1m,
    Churn,
    Idle,
    PairRustJoined,
    PairCJoined,
    /// With join: what a word with the manager costs
    #[value(name = "credit", alias = "join")]
    Credit,
    MakeRoomOther,
    ManagerIdle,
}

impl Measure {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn take(self) -> Result<Vec<Row>, Failure> {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        match self {
            Measure::PairRust => pair::pair_rust(),
            Measure::PairC => c_face::pair(),
            Measure::PairC1g => c_face::pair_of_1g(),
            Measure::PairCSyscalls => c_face::pair_and_system_calls(),
            Measure::Batch1024C => c_face::batch_of_1024(),
            Measure::ReclaimNull => c_face::reclaim_null(),
            Measure::TwoThreads => pair::two_threads(),
            Measure::MadvFree64k => madv_free::madv_free("madv_free_64k", 64 * KIB, 150.0),
            Measure::MadvFree1m => madv_free::madv_free("madv_free_1m", MIB, 1_500.0),
            Measure::MadvFree16m => madv_free::madv_free("madv_free_16m", 16 * MIB, 15_000.0),
            Measure::WarmWrite1m => warm_write::warm_write("warm_write_1m", MIB),
            Measure::WarmWrite16m => warm_write::warm_write("warm_write_16m", 16 * MIB),
            Measure::CreateDestroy64k => create::create_destroy(),
            Measure::CreateDestroy64kC => c_face::create_destroy(),
            Measure::MakeRoom => make_room::make_room(),
            Measure::Scan1m => scan::scan_and_bytes(),
            Measure::Churn => churn::churn(),
            Measure::Idle => idle::idle(),
            Measure::PairRustJoined => joined::pair_rust(),
            Measure::PairCJoined => joined::pair_c(),
            Measure::Credit => joined::credit_and_join(),
            Measure::MakeRoomOther => joined::make_room_other(),
            Measure::ManagerIdle => joined::manager_idle(),
        }
    }
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
    /// What this machine cannot do.
    pub(crate) skipped: Vec<Skipped>,
}

/// A row that was not measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// What the machine lacks for a row: no failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Lacking(String);

/// Measures and prints.
///
/// # Errors
/// Whatever vidmm or the kernel answer, and promises that vidmm breaks. A missed target is none.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut report = Report {
        schema: SCHEMA,
        machine: Machine::look(),
        rows: Vec::new(),
        skipped: Vec::new(),
    };
    let asked = Measure::value_variants()
        .iter()
        .filter(|measure| args.rows.is_empty() || args.rows.contains(measure));
    for &measure in asked {
        let name = measure.name();
        note(&format!("measuring {name}"));
        let start = Instant::now();
        match measure.take() {
            Ok(rows) => {
                note(&format!("  took {:.1} s", start.elapsed().as_secs_f64()));
                report.rows.extend(rows);
            }
            Err(failure) => match failure.downcast::<Lacking>() {
                Ok(lacking) => {
                    let reason = lacking.to_string();
                    note(&format!("  SKIPPED: {reason}"));
                    report.skipped.push(Skipped { name, reason });
                }
                Err(failure) => return Err(format!("{name}: {failure}").into()),
            },
        }
    }
    if args.json {
        let mut text = serde_json::to_string_pretty(&report)?;
        text.push('\n');
        to_stdout(&text)
    } else {
        let text = Text {
            report: &report,
            colours: stdout_takes_colours(),
        };
        to_stdout(&text.to_string())
    }
}

/// A pool that only its budget presses: what else happens on the machine must not take memory out of
/// a measurement.
fn pool_of(budget_bytes: u64) -> Result<Pool, Failure> {
    Ok(Pool::builder()
        .budget_bytes(budget_bytes)
        .pressure(PressureMode::Off)
        .build()?)
}

fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// The machine has less than `wanted_bytes` to spare.
fn too_little_memory(wanted_bytes: u64) -> Failure {
    Lacking(format!(
        "it needs {} of available memory, which this machine does not have now",
        ByteSize(wanted_bytes)
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_asked_for_by_its_name() {
        let names: Vec<String> = Measure::value_variants()
            .iter()
            .map(|measure| measure.name())
            .collect();
        assert_eq!(
            names,
            [
                "pair_rust",
                "pair_c",
                "pair_c_1g",
                "pair_c_syscalls",
                "batch_1024_c",
                "reclaim_null",
                "two_threads",
                "madv_free_64k",
                "madv_free_1m",
                "madv_free_16m",
                "warm_write_1m",
                "warm_write_16m",
                "create_destroy_64k",
                "create_destroy_64k_c",
                "make_room",
                "scan_1m",
                "churn",
                "idle",
                "pair_rust_joined",
                "pair_c_joined",
                "credit",
                "make_room_other",
                "manager_idle"
            ]
        );
        let by_alias = <Measure as ValueEnum>::from_str("bytes_per_allocation", false);
        assert_eq!(by_alias, Ok(Measure::Scan1m));
    }

    #[test]
    fn what_the_machine_lacks_is_told_from_failures() {
        assert!(too_little_memory(1 << 30).downcast::<Lacking>().is_ok());
        let failure = Failure::from("something else");
        assert!(failure.downcast::<Lacking>().is_err());
    }
}
