//! Policies are asked, not trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use vidmm::{Candidate, Class, Policy, Pool, PressureMode, Rank};

/// Never says the same twice.
#[derive(Debug, Default)]
struct Moody(AtomicU32);

impl Policy for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn rank(&self, _candidate: &Candidate) -> Rank {
        Rank(
            self.0
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9E37_79B9),
        )
    }
}

#[test]
fn a_policy_that_changes_its_mind_cannot_keep_memory_from_those_who_need_it() {
    let pool = Pool::builder()
        .budget_bytes(4 << 20)
        .pressure(PressureMode::Off)
        .policy(Arc::new(Moody::default()))
        .build()
        .unwrap();
    let fill = |len_bytes: usize| {
        let mut memory = pool.allocate(len_bytes).unwrap();
        memory.lock_mut().unwrap().fill(1);
        memory
    };
    let low: Vec<_> = (0..2).map(|_| fill(1 << 20).offer(Class::Low)).collect();
    let high: Vec<_> = (0..2).map(|_| fill(1 << 20).offer(Class::High)).collect();
    let needed = [fill(1 << 20), fill(1 << 20)];
    assert!(pool.resident().unwrap().rss_bytes <= 4 << 20);
    // Classes go before any mood.
    assert!(
        low.iter()
            .all(|memory| memory.resident_bytes().unwrap() == 0)
    );
    assert!(
        high.iter()
            .all(|memory| memory.resident_bytes().unwrap() == 1 << 20)
    );
    drop(needed);
}
