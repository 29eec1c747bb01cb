//! How many accesses fill a given time, when the user does not say.
//!
//! Tries a plan of moderate length against one shared cache of the budget's size, adds up the
//! reference times it would cost, and scales. Only the *number* of accesses comes from measured
//! times: given the number, the accesses themselves are the plan's.

use std::time::Duration;

use crate::demo::baseline::Lru;
use crate::demo::histogram::nanoseconds;
use crate::demo::plan::Plan;
use crate::demo::reference::Item;
use crate::demo::unpack::size_u64;

/// The most accesses of any run, asked for or not: their plan takes 8 bytes each.
pub(crate) const ACCESSES_MAX: u64 = 10_000_000;
/// What a run at defaults has at least, so that there is something to see.
const ACCESSES_MIN: u64 = 200;
/// What a run at defaults has at most.
const ACCESSES_DEFAULT_MAX: u64 = 2_000_000;
/// What an access costs beside unpacking and digest: calls, turns, clocks.
const OVERHEAD_NS: u64 = 10_000;
/// How much longer unpacking takes while other workers use the same caches and memory, in percent.
const CROWDED_PERCENT: u64 = 115;
/// Workers overlap within stretches of so many accesses: no worker may be ahead by more.
const STRETCH: usize = 64;

/// The number of accesses that takes about `time` with `cores` to run on.
pub(crate) fn accesses_for(
    time: Duration,
    cores: usize,
    items: &[Item],
    budget_bytes: u64,
    seed: u64,
    workers: u16,
) -> u64 {
    let mut accesses = 10_000_u64;
    // The longer the run, the smaller the part of first uses: the second try knows the length.
    for _ in 0..2 {
        let plan = Plan::new(seed, workers, accesses.min(200_000), items.len());
        let tried_ns = wall_ns(&plan, cores, items, budget_bytes).max(1);
        let tried = size_u64(plan.accesses.len());
        let wanted = u128::from(tried) * u128::from(nanoseconds(time)) / u128::from(tried_ns);
        accesses = u64::try_from(wanted)
            .unwrap_or(u64::MAX)
            .clamp(ACCESSES_MIN, ACCESSES_DEFAULT_MAX);
    }
    accesses
}

/// How long the plan would take.
fn wall_ns(plan: &Plan, cores: usize, items: &[Item], budget_bytes: u64) -> u64 {
    let mut cache = Lru::new(plan.workers * plan.files, budget_bytes);
    let mut total_ns = 0_u64;
    for stretch in plan.accesses.chunks(STRETCH) {
        let mut workers_ns = vec![0_u64; plan.workers];
        for access in stretch {
            let item = &items[access.file as usize];
            let worker = usize::from(access.worker);
            let key = worker * plan.files + access.file as usize;
            let mut cost_ns = OVERHEAD_NS + item.digest_ns;
            if !cache.access(key, size_u64(item.unpacked_bytes)) {
                cost_ns = cost_ns.saturating_add(item.unpack_ns / 100 * CROWDED_PERCENT);
            }
            workers_ns[worker] = workers_ns[worker].saturating_add(cost_ns);
        }
        let shared_ns = workers_ns.iter().sum::<u64>() / size_u64(cores.max(1));
        let longest_ns = workers_ns.iter().copied().max().unwrap_or(0);
        total_ns = total_ns.saturating_add(shared_ns.max(longest_ns));
    }
    total_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::inputs::{Input, Kind};

    fn items(unpack_ns: u64) -> Vec<Item> {
        let input = Input {
            path: "x.gz".into(),
            kind: Kind::Gzip,
            packed_bytes: 1,
        };
        let item = Item {
            input,
            unpacked_bytes: 1000,
            digest: 0,
            unpack_ns,
            digest_ns: 100,
            temporary_bytes: 0,
        };
        vec![item; 50]
    }

    #[test]
    fn dearer_files_and_less_time_mean_fewer_accesses() {
        let accesses = |seconds, cores, unpack_ns| {
            let time = Duration::from_secs(seconds);
            accesses_for(time, cores, &items(unpack_ns), 20_000, 1, 4)
        };
        let usual = accesses(40, 2, 2_000_000);
        // Every access unpacking on one core at least, and a tenth of them on two at most.
        assert!((17_000..400_000).contains(&usual), "{usual}");
        assert!(accesses(20, 2, 2_000_000) < usual);
        assert!(accesses(40, 2, 20_000_000) < usual / 5);
        assert!(accesses(40, 1, 2_000_000) < usual);
        assert_eq!(accesses(0, 2, 2_000_000), ACCESSES_MIN);
        assert_eq!(accesses(1_000_000, 2, 1), ACCESSES_DEFAULT_MAX);
    }
}
