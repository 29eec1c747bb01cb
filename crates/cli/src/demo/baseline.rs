//! What a user would do without vidmm, on the very same accesses: nothing, or private caches.
//!
//! Computed from the plan and each file's one reference time; nothing is unpacked here.

use std::collections::HashMap;

use serde::Serialize;

use crate::demo::plan::Plan;

/// What a file costs: the two figures that a baseline needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) unpacked_bytes: u64,
    pub(crate) unpack_ns: u64,
}

/// The outcome of one way of doing without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Baseline {
    pub(crate) name: &'static str,
    /// Sum of the reference times of the accesses that had to unpack.
    pub(crate) rebuild_ns: u64,
    /// The most memory it ever held.
    pub(crate) peak_bytes: u64,
}

/// No cache: every access unpacks. A worker holds what it read last until its next access; the
/// peak is the most that all workers held so at one time.
pub(crate) fn none(plan: &Plan, costs: &[Cost]) -> Baseline {
    let mut held_bytes = vec![0_u64; plan.workers];
    let (mut rebuild_ns, mut now_bytes, mut peak_bytes) = (0_u64, 0_u64, 0_u64);
    for access in &plan.accesses {
        let cost = costs[access.file as usize];
        let held = &mut held_bytes[usize::from(access.worker)];
        now_bytes = now_bytes - *held + cost.unpacked_bytes;
        *held = cost.unpacked_bytes;
        peak_bytes = peak_bytes.max(now_bytes);
        rebuild_ns = rebuild_ns.saturating_add(cost.unpack_ns);
    }
    Baseline {
        name: "none",
        rebuild_ns,
        peak_bytes,
    }
}

/// Private caches: each worker has an equal part of the budget and drops what it has not used
/// for longest. A file larger than its cache is never kept.
pub(crate) fn even_split_lru(plan: &Plan, costs: &[Cost], budget_bytes: u64) -> Baseline {
    let part_bytes = budget_bytes / crate::demo::unpack::size_u64(plan.workers.max(1));
    let mut caches: Vec<Lru> = (0..plan.workers)
        .map(|_| Lru::new(plan.files, part_bytes))
        .collect();
    let (mut rebuild_ns, mut now_bytes, mut peak_bytes) = (0_u64, 0_u64, 0_u64);
    for access in &plan.accesses {
        let cost = costs[access.file as usize];
        let cache = &mut caches[usize::from(access.worker)];
        let before_bytes = cache.used_bytes();
        if !cache.access(access.file as usize, cost.unpacked_bytes) {
            rebuild_ns = rebuild_ns.saturating_add(cost.unpack_ns);
        }
        now_bytes = now_bytes - before_bytes + cache.used_bytes();
        peak_bytes = peak_bytes.max(now_bytes);
    }
    Baseline {
        name: "even_split_lru",
        rebuild_ns,
        peak_bytes,
    }
}

/// The same pool with a plain rule: all workers' files under the one budget, a worker's copy of a file
/// for itself, scanned-in files first as in the run, and then what was not used for longest.
pub(crate) fn lru(plan: &Plan, costs: &[Cost], budget_bytes: u64) -> Baseline {
    // Numbers for what is read at all: all files of all workers could be far more.
    let mut keys: HashMap<(u16, u32), usize> = HashMap::new();
    for access in &plan.accesses {
        let next = keys.len();
        keys.entry((access.worker, access.file)).or_insert(next);
    }
    // What a scan brought in, and the rest: what is offered LOW and NORMAL.
    let mut low = Lru::new(keys.len(), budget_bytes);
    let mut normal = Lru::new(keys.len(), budget_bytes);
    let (mut rebuild_ns, mut peak_bytes) = (0_u64, 0_u64);
    for access in &plan.accesses {
        let cost = costs[access.file as usize];
        let key = keys[&(access.worker, access.file)];
        let was_there = low.remove(key) | normal.remove(key);
        if !was_there {
            rebuild_ns = rebuild_ns.saturating_add(cost.unpack_ns);
        }
        if cost.unpacked_bytes > budget_bytes {
            continue;
        }
        while low.used_bytes() + normal.used_bytes() > budget_bytes - cost.unpacked_bytes {
            match low.used_bytes() {
                0 => normal.drop_oldest(),
                _ => low.drop_oldest(),
            }
        }
        // Found again, it has shown that it is worth NORMAL.
        let class = match access.scan && !was_there {
            true => &mut low,
            false => &mut normal,
        };
        class.access(key, cost.unpacked_bytes);
        peak_bytes = peak_bytes.max(low.used_bytes() + normal.used_bytes());
    }
    Baseline {
        name: "lru",
        rebuild_ns,
        peak_bytes,
    }
}

/// A cache of keys `0..keys` bounded by bytes, which drops the least recently used first.
/// A doubly linked list in arrays; the last place is the list's head.
#[derive(Debug)]
pub(crate) struct Lru {
    newer: Vec<usize>,
    older: Vec<usize>,
    /// Size of each key that is inside; `None` outside.
    sizes_bytes: Vec<Option<u64>>,
    used_bytes: u64,
    limit_bytes: u64,
}

impl Lru {
    pub(crate) fn new(keys: usize, limit_bytes: u64) -> Self {
        Self {
            newer: vec![keys; keys + 1],
            older: vec![keys; keys + 1],
            sizes_bytes: vec![None; keys],
            used_bytes: 0,
            limit_bytes,
        }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Uses `key`; tells whether it was inside. Afterwards it is, unless it is too large.
    pub(crate) fn access(&mut self, key: usize, size_bytes: u64) -> bool {
        if self.sizes_bytes[key].is_some() {
            self.unlink(key);
            self.link_newest(key);
            return true;
        }
        if size_bytes > self.limit_bytes {
            return false;
        }
        while self.used_bytes > self.limit_bytes - size_bytes {
            self.drop_oldest();
        }
        self.used_bytes += size_bytes;
        self.sizes_bytes[key] = Some(size_bytes);
        self.link_newest(key);
        false
    }

    /// Takes `key` out; tells whether it was inside.
    pub(crate) fn remove(&mut self, key: usize) -> bool {
        let Some(size_bytes) = self.sizes_bytes[key].take() else {
            return false;
        };
        self.unlink(key);
        self.used_bytes -= size_bytes;
        true
    }

    fn head(&self) -> usize {
        self.sizes_bytes.len()
    }

    fn drop_oldest(&mut self) {
        // Walking towards the newer ones from the head begins at the oldest.
        let oldest = self.newer[self.head()];
        self.remove(oldest);
    }

    fn unlink(&mut self, key: usize) {
        let (newer, older) = (self.newer[key], self.older[key]);
        self.newer[older] = newer;
        self.older[newer] = older;
    }

    fn link_newest(&mut self, key: usize) {
        let head = self.head();
        let newest = self.older[head];
        self.newer[newest] = key;
        self.older[key] = newest;
        self.newer[key] = head;
        self.older[head] = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::zipf::below;
    use rand_pcg::Pcg64;

    fn costs(random: &mut Pcg64, files: usize) -> Vec<Cost> {
        let cost = |_| {
            let unpacked_bytes = below(random, 1000) as u64 + 1;
            Cost {
                unpacked_bytes,
                unpack_ns: unpacked_bytes * 3 + 1,
            }
        };
        (0..files).map(cost).collect()
    }

    /// A cache as one would write it first: a list, newest last.
    fn naive(plan: &Plan, costs: &[Cost], part_bytes: u64) -> (u64, u64) {
        let mut caches = vec![Vec::<u32>::new(); plan.workers];
        let used = |cache: &Vec<u32>| -> u64 {
            cache
                .iter()
                .map(|&file| costs[file as usize].unpacked_bytes)
                .sum()
        };
        let (mut rebuild_ns, mut peak_bytes) = (0, 0);
        for access in &plan.accesses {
            let cost = costs[access.file as usize];
            let cache = &mut caches[usize::from(access.worker)];
            if let Some(place) = cache.iter().position(|&file| file == access.file) {
                cache.remove(place);
                cache.push(access.file);
            } else {
                rebuild_ns += cost.unpack_ns;
                if cost.unpacked_bytes <= part_bytes {
                    cache.push(access.file);
                    while used(cache) > part_bytes {
                        cache.remove(0);
                    }
                }
            }
            peak_bytes = peak_bytes.max(caches.iter().map(used).sum());
        }
        (rebuild_ns, peak_bytes)
    }

    #[test]
    fn private_caches_agree_with_naive_ones() {
        let mut random = Pcg64::new(11, 5);
        for seed in 0..20 {
            let costs = costs(&mut random, 40);
            let plan = Plan::new(seed, 4, 2_000, costs.len());
            let budget_bytes = 500 + 1_000 * seed;
            let got = even_split_lru(&plan, &costs, budget_bytes);
            let (rebuild_ns, peak_bytes) = naive(&plan, &costs, budget_bytes / 4);
            assert_eq!(
                (got.rebuild_ns, got.peak_bytes),
                (rebuild_ns, peak_bytes),
                "seed {seed}"
            );
            assert!(got.peak_bytes <= budget_bytes);
        }
    }

    /// The plain rule as one would write it first: a list of what is there, newest last.
    fn naive_pool(plan: &Plan, costs: &[Cost], budget_bytes: u64) -> u64 {
        let mut there: Vec<(bool, (u16, u32))> = Vec::new();
        let size = |key: &(u16, u32)| costs[key.1 as usize].unpacked_bytes;
        let mut rebuild_ns = 0;
        for access in &plan.accesses {
            let key = (access.worker, access.file);
            let place = there.iter().position(|(_, other)| *other == key);
            match place {
                Some(place) => drop(there.remove(place)),
                None => rebuild_ns += costs[access.file as usize].unpack_ns,
            }
            if size(&key) > budget_bytes {
                continue;
            }
            while there.iter().map(|(_, key)| size(key)).sum::<u64>() + size(&key) > budget_bytes {
                let scanned = there.iter().position(|(scanned, _)| *scanned);
                there.remove(scanned.unwrap_or(0));
            }
            there.push((access.scan && place.is_none(), key));
        }
        rebuild_ns
    }

    #[test]
    fn a_plain_pool_agrees_with_a_naive_one() {
        let mut random = Pcg64::new(12, 5);
        for seed in 0..20 {
            let costs = costs(&mut random, 40);
            let plan = Plan::new(seed, 4, 2_000, costs.len());
            let budget_bytes = 500 + 1_000 * seed;
            let got = lru(&plan, &costs, budget_bytes);
            assert_eq!(
                got.rebuild_ns,
                naive_pool(&plan, &costs, budget_bytes),
                "seed {seed}"
            );
            assert!(got.peak_bytes <= budget_bytes);
        }
    }

    #[test]
    fn without_a_cache_every_access_pays() {
        let costs = costs(&mut Pcg64::new(1, 1), 10);
        let plan = Plan::new(1, 2, 100, 10);
        let sum: u64 = plan
            .accesses
            .iter()
            .map(|access| costs[access.file as usize].unpack_ns)
            .sum();
        let got = none(&plan, &costs);
        assert_eq!(got.rebuild_ns, sum);
        let largest = costs.iter().map(|cost| cost.unpacked_bytes).max().unwrap();
        assert!(got.peak_bytes <= 2 * largest && got.peak_bytes > 0);
        // A cache for everything pays for each file once; none at all pays as `none` does.
        let once = even_split_lru(&plan, &costs, u64::MAX).rebuild_ns;
        assert!(once < sum);
        assert_eq!(even_split_lru(&plan, &costs, 0).rebuild_ns, sum);
    }
}
