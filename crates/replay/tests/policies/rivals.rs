//! Against independent code.
//!
//! Only the crate `lru` does what was published, request by request. Others that were looked at do
//! not: `sieve-cache` 1.2.0 fills the gap of a victim with its newest object, so its queue is not in
//! order of arrival; `s3-fifo` 0.1.8 lets the small queue alone fill an empty cache, and keeps names
//! and counts after they were used; `cache_2q` 0.10.1 gives each of its queues the whole size, and
//! `caches` 0.3.0 moves what is hit in 2Q's first queue, and gives SLRU's probation a fixed size;
//! `quick_cache` and `moka` are variants of their own, and concurrent ones at that.

use crate::support::{Sizes, case, online, outcomes};
use proptest::prelude::*;
use std::num::NonZeroUsize;

proptest! {
    #[test]
    fn lru_is_what_the_crate_lru_is(case in case(Sizes::One, 40, 500)) {
        prop_assume!(!case.requests.is_empty());
        let size_of_one = case.requests.get(0).unwrap().size_bytes;
        let count = usize::try_from(case.size_bytes / size_of_one).unwrap();
        prop_assume!(count > 0);
        let mut cache = online("lru").build(case.size_bytes, case.requests.objects(), 0);
        let ours = outcomes(&case.requests, case.size_bytes, cache.as_mut());
        let mut rival = lru::LruCache::new(NonZeroUsize::new(count).unwrap());
        let theirs = case.requests.iter().map(|request| {
            let hit = rival.get(&request.object).is_some();
            if !hit {
                rival.put(request.object, ());
            }
            if hit { 'h' } else { 'm' }
        });
        prop_assert_eq!(ours, theirs.collect::<String>());
    }
}
