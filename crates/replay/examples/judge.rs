//! How every policy does on traces, as tables for `docs/policy.md`: what each misses at 1, 5, 10 and
//! 30 % of the footprint - bytes, or costs where the trace has them - and how vidmm's own compares
//! with the best of the others in each cell. With `--leave-one-out`: what its few numbers would be if
//! they were chosen on all traces but one, and what that one would then miss.
//!
//! ```text
//! cargo run --release -p vidmm-replay --example judge -- [--leave-one-out] TRACE...
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vidmm_policy::Tuning;
use vidmm_replay::{Future, Misses, Online, Requests, Vidmm, belady, replay};

const PERCENTS: [u64; 4] = [1, 5, 10, 30];
const OURS: &str = "vidmm";
const SEED: u64 = 1;

/// A trace, and the sizes it is replayed at.
struct Trace {
    name: String,
    requests: Requests,
}

impl Trace {
    fn read(path: &Path) -> Result<Self, vidmm_tracefile::TraceError> {
        let mut requests = Requests::default();
        for access in vidmm_tracefile::open(path, None)? {
            let access = access?;
            requests.push(access.time, access.id, access.size_bytes, access.cost);
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Trace {
            name: name.to_string_lossy().into_owned(),
            requests,
        })
    }

    fn size_bytes(&self, percent: u64) -> u64 {
        (self.requests.footprint_bytes() / 100 * percent).max(1)
    }
}

/// What counts: costs, or bytes where the trace has no costs.
fn missed(misses: &Misses) -> f64 {
    misses.cost_ratio().unwrap_or_else(|| misses.byte_ratio())
}

/// All results of `count` jobs, in order, by all cores.
fn all<T: Send>(count: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let result = job(index);
                    let mut done = done.lock().expect("no job panics");
                    done.push((index, result));
                    eprint!("\r{} of {count} ", done.len());
                }
            });
        }
    });
    eprintln!();
    let mut done = done.into_inner().expect("no job panics");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What each policy misses in each cell: `[policy][trace][size]`.
fn compare(traces: &[Trace]) {
    let policies: Vec<Online> = Online::all().collect();
    let cells = traces.len() * PERCENTS.len();
    // Belady is the last row.
    let ratios = all((policies.len() + 1) * cells, |job| {
        let trace = &traces[job % cells / PERCENTS.len()];
        let size_bytes = trace.size_bytes(PERCENTS[job % PERCENTS.len()]);
        match policies.get(job / cells) {
            Some(policy) => {
                let objects = trace.requests.objects();
                let mut cache = policy.build(size_bytes, objects, SEED);
                missed(&replay(&trace.requests, size_bytes, &mut *cache, |_| ()))
            }
            None => {
                let future = Future::of(&trace.requests);
                let least = belady(&trace.requests, &future, size_bytes).least;
                missed(&least)
            }
        }
    });
    let at = |policy: usize, cell: usize| ratios[policy * cells + cell];
    let ours = place(&policies, OURS);
    let peers: Vec<usize> = (0..policies.len()).filter(|&p| p != ours).collect();
    let best = |cell: usize| {
        let least = |a: &&usize, b: &&usize| at(**a, cell).total_cmp(&at(**b, cell));
        *peers.iter().min_by(least).expect("there are peers")
    };
    for (number, trace) in traces.iter().enumerate() {
        let what = match trace.requests.has_costs() {
            true => "costs",
            false => "bytes",
        };
        println!("\n`{}`, missed {what}:\n", trace.name);
        println!("| policy | 1 % | 5 % | 10 % | 30 % |\n|---|---|---|---|---|");
        for policy in (0..=policies.len()).filter(|&p| p != ours).chain([ours]) {
            let name = policies.get(policy).map_or("belady", |p| p.name());
            print!("| {name} |");
            for size in 0..PERCENTS.len() {
                let cell = number * PERCENTS.len() + size;
                let figure = format!("{:.4}", at(policy, cell));
                let first = best(cell) == policy
                    || policy == ours && at(ours, cell) <= at(best(cell), cell);
                match first {
                    true => print!(" **{figure}** |"),
                    false => print!(" {figure} |"),
                }
            }
            println!();
        }
    }
    let lru = place(&policies, "lru");
    let gain = |policy: usize| {
        let sum: f64 = (0..cells)
            .map(|cell| at(lru, cell) - at(policy, cell))
            .sum();
        sum / cells as f64
    };
    let most = |a: &&usize, b: &&usize| gain(**a).total_cmp(&gain(**b));
    let single = *peers.iter().max_by(most).expect("there are peers");
    let won = (0..cells)
        .filter(|&cell| at(ours, cell) <= at(best(cell), cell))
        .count();
    println!("\nAt or below the best of the others in {won} of {cells} cells. Elsewhere:\n");
    println!("| trace | size | vidmm | best of the others | |\n|---|---|---|---|---|");
    for cell in (0..cells).filter(|&cell| at(ours, cell) > at(best(cell), cell)) {
        println!(
            "| `{}` | {} % | {:.4} | {:.4} | {} |",
            traces[cell / PERCENTS.len()].name,
            PERCENTS[cell % PERCENTS.len()],
            at(ours, cell),
            at(best(cell), cell),
            policies[best(cell)].name()
        );
    }
    println!(
        "\nLess missed than by LRU, on average over all cells: {:.4}; by the best single one of the others, {}: {:.4}; {:.2} times.",
        gain(ours),
        policies[single].name(),
        gain(single),
        gain(ours) / gain(single)
    );
}

fn place(policies: &[Online], name: &str) -> usize {
    let found = policies.iter().position(|policy| policy.name() == name);
    found.expect("it is one of them")
}

/// All that the numbers of the rule are chosen from.
fn tunings() -> Vec<Tuning> {
    let mut tunings = Vec::new();
    for prior_chance in [0.05, 0.1, 0.2] {
        for prior_at_risk in [1000.0, 3000.0, 9000.0] {
            for weight in [50.0, 100.0, 200.0] {
                for half_life in [2.0, 4.0, 8.0] {
                    tunings.push(Tuning {
                        prior_chance,
                        prior_at_risk,
                        weight,
                        half_life,
                        ..Tuning::default()
                    });
                }
            }
        }
    }
    tunings
}

fn leave_one_out(traces: &[Trace]) {
    let tunings = tunings();
    let cells = traces.len() * PERCENTS.len();
    let ratios = all(tunings.len() * cells, |job| {
        let trace = &traces[job % cells / PERCENTS.len()];
        let size_bytes = trace.size_bytes(PERCENTS[job % PERCENTS.len()]);
        let mut cache = Vidmm::with(size_bytes, tunings[job / cells]);
        missed(&replay(&trace.requests, size_bytes, &mut cache, |_| ()))
    });
    // The average over the sizes of a trace.
    let at = |tuning: usize, trace: usize| {
        let first = tuning * cells + trace * PERCENTS.len();
        ratios[first..first + PERCENTS.len()].iter().sum::<f64>() / PERCENTS.len() as f64
    };
    // With each trace's figures as parts of its best one, so that none counts for more.
    let least = |trace: usize| {
        let each = (0..tunings.len()).map(|tuning| at(tuning, trace));
        each.fold(f64::INFINITY, f64::min)
    };
    let chosen_without = |left_out: Option<usize>| {
        let sum = |tuning: usize| -> f64 {
            let others = (0..traces.len()).filter(|&trace| Some(trace) != left_out);
            others.map(|trace| at(tuning, trace) / least(trace)).sum()
        };
        let by_sum = |a: &usize, b: &usize| sum(*a).total_cmp(&sum(*b));
        (0..tunings.len()).min_by(by_sum).expect("some tunings")
    };
    let usual = tunings.iter().position(|t| *t == Tuning::default());
    let usual = usual.expect("the usual numbers are among them");
    println!("\nMissed, on average over the four sizes:\n");
    println!(
        "| trace | chosen on the others: chance, at risk, weight, half-life | missed | with the usual numbers | with the best for this trace | with the worst |"
    );
    println!("|---|---|---|---|---|---|");
    for (number, trace) in traces.iter().enumerate() {
        let chosen = chosen_without(Some(number));
        let t = &tunings[chosen];
        let worst = (0..tunings.len()).map(|tuning| at(tuning, number));
        println!(
            "| `{}` | {}, {}, {}, {} | {:.4} | {:.4} | {:.4} | {:.4} |",
            trace.name,
            t.prior_chance,
            t.prior_at_risk,
            t.weight,
            t.half_life,
            at(chosen, number),
            at(usual, number),
            least(number),
            worst.fold(0.0, f64::max)
        );
    }
}

fn main() -> ExitCode {
    let mut leaves_one_out = false;
    let mut paths = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--leave-one-out") => leaves_one_out = true,
            _ => paths.push(PathBuf::from(argument)),
        }
    }
    if paths.is_empty() {
        eprintln!("usage: judge [--leave-one-out] TRACE...");
        return ExitCode::from(2);
    }
    let traces: Result<Vec<_>, _> = paths.iter().map(|path| Trace::read(path)).collect();
    match traces {
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        Ok(traces) if leaves_one_out => leave_one_out(&traces),
        Ok(traces) => compare(&traces),
    }
    ExitCode::SUCCESS
}
