//! A ring of events between the thread that records them and whoever drains it.
//!
//! One producer, one consumer. Words are atomics so that no code need be unsafe; on the machines
//! that matter their relaxed loads and stores are plain ones. What makes an event the consumer's is
//! the release of `tail`, what makes its place the producer's again is that of `head`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::event::EVENT_WORDS;

/// So many events fit into the ring of a thread.
pub const RING_EVENTS: usize = 8192;

const MASK: u64 = RING_EVENTS as u64 - 1;
const _: () = assert!(RING_EVENTS.is_power_of_two());

/// The memory of a ring.
pub(crate) type Places = Box<[[AtomicU64; EVENT_WORDS]]>;

pub(crate) fn places() -> Places {
    (0..RING_EVENTS)
        .map(|_| [const { AtomicU64::new(0) }; EVENT_WORDS])
        .collect()
}

/// What only the producer writes, apart from what the consumer writes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Produced {
    /// Events put in so far.
    tail: AtomicU64,
    /// Events that found no place.
    lost: AtomicU64,
    /// The producer is gone.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Consumed {
    /// Events taken out so far.
    head: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Ring {
    produced: Produced,
    consumed: Consumed,
    /// Which thread's it is, counted from 1.
    thread: u32,
    places: Places,
}

/// What a push came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in.
    In,
    /// It is in, and half the ring has been filled since the last time this was said.
    Half,
    /// It was lost.
    Lost,
}

impl Ring {
    pub(crate) fn new(thread: u32, places: Places) -> Self {
        Ring {
            produced: Produced::default(),
            consumed: Consumed::default(),
            thread,
            places,
        }
    }

    pub(crate) fn thread(&self) -> u32 {
        self.thread
    }

    /// The producer's: puts an event in, or counts it as lost.
    pub(crate) fn push(&self, event: [u64; EVENT_WORDS]) -> Pushed {
        let tail = self.produced.tail.load(Ordering::Relaxed);
        // Acquire: the consumer has read a place before it is written again.
        let head = self.consumed.head.load(Ordering::Acquire);
        let place = usize::try_from(tail & MASK).unwrap_or(0);
        let place = match self.places.get(place) {
            Some(place) if tail.wrapping_sub(head) < RING_EVENTS as u64 => place,
            _ => {
                let lost = self.produced.lost.load(Ordering::Relaxed);
                self.produced.lost.store(lost + 1, Ordering::Relaxed);
                return Pushed::Lost;
            }
        };
        for (word, value) in place.iter().zip(event) {
            word.store(value, Ordering::Relaxed);
        }
        let tail = tail.wrapping_add(1);
        self.produced.tail.store(tail, Ordering::Release);
        match tail & (MASK >> 1) {
            0 => Pushed::Half,
            _ => Pushed::In,
        }
    }

    /// The producer's: nothing more will come.
    pub(crate) fn close(&self) {
        self.produced.closed.store(true, Ordering::Release);
    }

    /// Whether nothing more will come; all that came is seen by a later [`Ring::available`].
    pub(crate) fn is_closed(&self) -> bool {
        self.produced.closed.load(Ordering::Acquire)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.produced.lost.load(Ordering::Relaxed)
    }

    /// The consumer's: how many events wait.
    pub(crate) fn available(&self) -> usize {
        let tail = self.produced.tail.load(Ordering::Acquire);
        let head = self.consumed.head.load(Ordering::Relaxed);
        usize::try_from(tail.wrapping_sub(head)).unwrap_or(0)
    }

    /// How many have been taken out so far.
    pub(crate) fn taken(&self) -> u64 {
        self.consumed.head.load(Ordering::Relaxed)
    }

    /// The consumer's: takes the oldest `count` events, of those that [`Ring::available`] told.
    pub(crate) fn take(&self, count: usize, mut each: impl FnMut([u64; EVENT_WORDS])) {
        let head = self.consumed.head.load(Ordering::Relaxed);
        for offset in 0..count as u64 {
            let place = usize::try_from(head.wrapping_add(offset) & MASK).unwrap_or(0);
            if let Some(place) = self.places.get(place) {
                each(std::array::from_fn(|word| {
                    place[word].load(Ordering::Relaxed)
                }));
            }
        }
        let head = head.wrapping_add(count as u64);
        self.consumed.head.store(head, Ordering::Release);
    }

    /// The memory, for another ring.
    pub(crate) fn into_places(self) -> Places {
        self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_place_is_counted_and_what_is_in_stays() {
        let ring = Ring::new(1, places());
        let event = |n: usize| [n as u64; EVENT_WORDS];
        let mut halves = 0;
        for n in 0..RING_EVENTS {
            halves += usize::from(ring.push(event(n)) == Pushed::Half);
        }
        assert_eq!(halves, 2);
        assert_eq!(ring.push(event(RING_EVENTS)), Pushed::Lost);
        assert_eq!((ring.available(), ring.lost()), (RING_EVENTS, 1));
        let mut taken = Vec::new();
        ring.take(3, |event| taken.push(event));
        assert_eq!(taken, [event(0), event(1), event(2)]);
        assert_eq!(ring.push(event(7)), Pushed::In);
        ring.take(ring.available(), |event| taken.push(event));
        assert_eq!(taken.len(), RING_EVENTS + 1);
        assert_eq!(taken.last(), Some(&event(7)));
    }

    #[test]
    fn a_consumer_beside_its_producer_gets_whole_events_in_order() {
        const COUNT: u64 = if cfg!(miri) { 20_000 } else { 2_000_000 };
        let ring = Ring::new(1, places());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..COUNT {
                    ring.push([n, !n, n ^ 0x5555, n << 1]);
                }
                ring.close();
            });
            let (mut count, mut next) = (0, 0);
            loop {
                let closed = ring.is_closed();
                let available = ring.available();
                ring.take(available, |[n, not, mixed, twice]| {
                    assert!(n >= next, "{n} after {next}");
                    assert_eq!((not, mixed, twice), (!n, n ^ 0x5555, n << 1), "torn");
                    next = n + 1;
                    count += 1;
                });
                if closed && available == 0 {
                    break;
                }
                std::thread::yield_now();
            }
            assert_eq!(count + ring.lost(), COUNT);
        });
    }
}
