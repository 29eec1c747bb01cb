//! What the tests of several threads share: an allocation that all of them use, with the knowledge
//! of whether its content may be gone; random numbers from a seed; and the end of every such test.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used)]

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use vidmm::{Allocation, Class, Error, Outcome, Pool, ReadGuard};
use vidmm_contract::Pattern;

/// As many operations as the variable says, else `default`.
pub(crate) fn operations(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The same numbers from the same seed (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn class(&mut self) -> Class {
        [Class::Low, Class::Normal, Class::High, Class::Auto][self.below(4)]
    }

    /// 1 byte to 64 KiB.
    pub(crate) fn size(&mut self) -> usize {
        let log2_of_limit = 10 + self.below(7);
        1 + self.below(1 << log2_of_limit)
    }
}

/// Contents are never given twice.
static CONTENTS: AtomicU64 = AtomicU64::new(1);

pub(crate) fn new_content() -> Pattern {
    Pattern(CONTENTS.fetch_add(1, Ordering::Relaxed))
}

#[track_caller]
pub(crate) fn write(allocation: &mut Allocation) -> Pattern {
    let content = new_content();
    content.fill(&mut allocation.lock_mut().unwrap());
    content
}

#[track_caller]
pub(crate) fn check(allocation: &Allocation, content: Pattern) {
    let bytes = allocation.lock().unwrap();
    assert!(content.is_in(&bytes), "intact, and the content is another");
}

/// An allocation that every thread offers, reclaims and reads as it likes. Writers have it alone.
pub(crate) struct Shared {
    inner: RwLock<(Allocation, Pattern)>,
    /// Some reclaim was told that the content is gone.
    lost: AtomicBool,
    /// Reclaims that have perhaps been decided, but not told here yet.
    under_way: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(pool: &Pool, len: usize) -> Self {
        let mut allocation = pool.options().allocate_shared(len).unwrap();
        let content = write(&mut allocation);
        Shared {
            inner: RwLock::new((allocation, content)),
            lost: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
        }
    }

    pub(crate) fn offer(&self, class: Class) {
        let inner = self.inner.read().unwrap();
        match inner.0.offer(class) {
            Ok(()) | Err(Error::Locked) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// Does `reclaim` and keeps what was answered. The answer is for the item; `None` if the call
    /// was refused for lack of memory.
    pub(crate) fn reclaim_by(
        &self,
        reclaim: impl FnOnce(&Allocation) -> Result<Outcome, Error>,
    ) -> Option<Outcome> {
        let inner = self.inner.read().unwrap();
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let answer = reclaim(&inner.0);
        if answer == Ok(Outcome::Discarded) {
            self.lost.store(true, Ordering::SeqCst);
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        match answer {
            Ok(outcome) => Some(outcome),
            Err(Error::NoMemory { .. }) => None,
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) fn reclaim(&self) -> Option<Outcome> {
        self.reclaim_by(Allocation::reclaim)
    }

    /// Locks it and looks at every byte, if it is committed at the moment.
    pub(crate) fn read(&self) {
        let inner = self.inner.read().unwrap();
        let (allocation, content) = &*inner;
        match allocation.lock() {
            // Nobody can discard it while it is locked, so what is seen now was decided before.
            Ok(bytes) => self.verify(&bytes, *content),
            Err(Error::Offered) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn verify(&self, bytes: &ReadGuard<'_>, content: Pattern) {
        if content.is_in(bytes) {
            return;
        }
        // Whoever was told of the loss may not have said so yet; but somebody was told.
        loop {
            let under_way = self.under_way.load(Ordering::SeqCst);
            if self.lost.load(Ordering::SeqCst) {
                return;
            }
            assert_ne!(under_way, 0, "the content is another, and nobody was told");
            std::thread::yield_now();
        }
    }

    /// Gives it a new content, if it is committed and nobody else is at it.
    pub(crate) fn rewrite(&self) {
        let Ok(mut inner) = self.inner.try_write() else {
            return;
        };
        let (allocation, content) = &mut *inner;
        match allocation.reclaim() {
            Ok(_) => {
                *content = write(allocation);
                self.lost.store(false, Ordering::SeqCst);
            }
            Err(Error::NoMemory { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// All allocations are gone: nothing may be left of them, by anybody's count.
#[track_caller]
pub(crate) fn check_nothing_is_left(pool: &Pool) {
    pool.trim(u64::MAX).unwrap();
    assert_eq!(pool.resident().unwrap().total_bytes(), 0, "the kernel");
    let stats = pool.stats_now();
    assert_eq!(stats.committed.count + stats.discarded_now.count, 0);
    assert_eq!(stats.offered_bytes() + stats.warm_bytes, 0);
    assert_eq!(u64::try_from(stats.room_bytes), Ok(pool.budget_bytes()));
}
