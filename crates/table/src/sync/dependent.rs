//! loom's atomics, with every access made *dependent* on every other access of the same atomic.
//!
//! loom explores two orders of two accesses only if it finds them dependent, and it compares an
//! access with the last one alone. With "A loads, B loads, B swaps" it compares B's swap with B's
//! own load and never tries "B swaps, A loads" - the very races of load-then-swap protocols. A
//! relaxed store to a companion before each access closes the gap: stores are ordered one by one.
//! Nobody ever reads the companion, not even by a read-modify-write: whoever did so before a fence
//! would acquire what others did before theirs, and missing Acquire and Release would not show.

use loom::sync::atomic::{AtomicBool, Ordering};

macro_rules! dependent {
    ($($name:ident($value:ty)),*) => {$(
        #[derive(Debug)]
        pub(crate) struct $name {
            visits: AtomicBool,
            inner: loom::sync::atomic::$name,
        }

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                $name {
                    visits: AtomicBool::new(false),
                    inner: loom::sync::atomic::$name::new(value),
                }
            }

            fn visited(&self) -> &loom::sync::atomic::$name {
                self.visits.store(true, Ordering::Relaxed);
                &self.inner
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.visited().load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.visited().store(value, order);
            }

            #[allow(dead_code)]
            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.visited().compare_exchange(from, to, success, failure)
            }
        }
    )*};
}

dependent!(AtomicU16(u16), AtomicU32(u32), AtomicU64(u64));
