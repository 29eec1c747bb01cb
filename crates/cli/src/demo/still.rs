//! Lets the sampler look at memory that stands still.
//!
//! The kernel tells what is resident by walking the page tables, which is no snapshot: what is
//! discarded behind the walk and written anew ahead of it is counted twice (measured: up to 8 %
//! too much). So whoever may make memory resident does so in short strokes, and none is under way
//! while the sampler looks. Memory may still go during a look; that only counts too little.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most that is written to vidmm's memory in one stroke.
pub(crate) const STROKE_BYTES: usize = 64 << 10;

/// Many may write at a time, or one look.
#[derive(Debug, Default)]
pub(crate) struct Still(RwLock<()>);

impl Still {
    /// To be held during one stroke, never two at a time by one thread.
    pub(crate) fn stroke(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all strokes under way are done; none begins while this is held.
    pub(crate) fn look(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Still;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn nothing_is_written_during_a_look() {
        const STROKES: u64 = 20_000;
        let still = Still::default();
        let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..STROKES {
                        let _stroke = still.stroke();
                        begun.fetch_add(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while done.load(Ordering::SeqCst) < 2 * STROKES {
                let _look = still.look();
                let before = done.load(Ordering::SeqCst);
                assert_eq!(begun.load(Ordering::SeqCst), before);
                std::thread::yield_now();
                assert_eq!(begun.load(Ordering::SeqCst), before);
            }
        });
    }
}
