//! The state word: who holds the content, which generation it is, whether that is lost - nothing
//! else - and its transitions. None of them repeats: a hostile opener that never stops writing
//! here delays nobody.
//!
//! ```text
//!  63          33      32        31           0
//! +--------------+------------+----------------+
//! | generation   | lost       | holders        |
//! +--------------+------------+----------------+
//! ```
//!
//! *lost*: the generation began with a discard and no opener has been told yet, so there is nothing
//! in it that anybody put there.

pub use crate::sync::AtomicU64;
use crate::sync::Ordering;

/// At most so many openings of a file live at once: there is a bit for each.
pub const OPENERS_MAX: u32 = 32;

/// The most generations that the word can count.
pub const GENERATIONS_MAX: u32 = 1 << 31;

const LOST: u64 = 1 << 32;
const GENERATION_SHIFT: u32 = 33;

/// One of the openers of a file: a number below [`OPENERS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opener(u32);

impl Opener {
    /// All there can be, in order.
    pub fn all() -> impl Iterator<Item = Opener> {
        (0..OPENERS_MAX).map(Opener)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    fn bit(self) -> u64 {
        1 << self.0
    }
}

/// What the word said at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look(u64);

impl Look {
    /// The generation of the content.
    #[must_use]
    pub fn generation(self) -> u32 {
        // 31 bits: the cast loses nothing.
        #[allow(clippy::cast_possible_truncation)]
        let generation = (self.0 >> GENERATION_SHIFT) as u32;
        generation
    }

    /// Whether the generation began with a discard that no opener has been told of yet.
    #[must_use]
    pub fn is_lost(self) -> bool {
        self.0 & LOST != 0
    }

    /// Whether nobody holds the content.
    #[must_use]
    pub fn is_free(self) -> bool {
        self.holders() == 0
    }

    /// Whether this opener holds the content.
    #[must_use]
    pub fn is_held_by(self, opener: Opener) -> bool {
        self.0 & opener.bit() != 0
    }

    fn holders(self) -> u64 {
        self.0 & (LOST - 1)
    }
}

/// Looks, without taking part.
#[must_use]
pub fn look(word: &AtomicU64) -> Look {
    Look(word.load(Ordering::SeqCst))
}

/// From now on `opener` holds the content. What is seen then stays until it is released: a discard
/// came before or does not come.
pub fn hold(word: &AtomicU64, opener: Opener) -> Look {
    // Acquire: whoever holds sees what others wrote before they released. (SeqCst throughout, for
    // one order of everything; it costs nothing beside the read-modify-write.)
    word.fetch_or(opener.bit(), Ordering::SeqCst);
    // Not what the fetch_or saw: that it is not wanted makes it one instruction that cannot repeat.
    look(word)
}

/// From now on `opener` does not hold the content. Also for an opener that is dead, by whoever has
/// its lock.
pub fn release(word: &AtomicU64, opener: Opener) {
    // Release: whoever holds or discards next comes after all that this opener did.
    word.fetch_and(!opener.bit(), Ordering::SeqCst);
}

/// An opener that holds the content has been told that it was discarded.
pub fn tell(word: &AtomicU64) {
    word.fetch_and(!LOST, Ordering::SeqCst);
}

/// Discards generation `seen` if nobody holds it, it is still the one, and another of `generations`
/// is left. The winner alone may return the pages of the old generation, at any time.
#[must_use]
pub fn discard(word: &AtomicU64, seen: u32, generations: u32) -> bool {
    let from = look(word);
    let next = u64::from(seen) + 1;
    if !from.is_free() || from.generation() != seen || next >= u64::from(generations) {
        return false;
    }
    let to = next << GENERATION_SHIFT | LOST;
    word.compare_exchange(from.0, to, Ordering::SeqCst, Ordering::Relaxed)
        .is_ok()
}

#[cfg(all(test, not(vidmm_loom)))]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_touch_each_other() {
        let word = AtomicU64::new(0);
        let (first, last) = (Opener(0), Opener(OPENERS_MAX - 1));
        assert_eq!(hold(&word, last).generation(), 0);
        assert!(hold(&word, first).is_held_by(last));
        assert!(!discard(&word, 0, 2), "held");
        release(&word, last);
        assert!(!discard(&word, 0, 2), "held by one");
        release(&word, first);
        assert!(!discard(&word, 1, 9), "another generation");
        assert!(!discard(&word, 0, 1), "none is left");
        assert!(discard(&word, 0, 2));
        let now = look(&word);
        assert!(now.is_free() && now.is_lost() && now.generation() == 1);
        tell(&word);
        assert!(!hold(&word, first).is_lost());
        let wild = AtomicU64::new(u64::MAX);
        assert_eq!(look(&wild).generation(), GENERATIONS_MAX - 1);
        assert!(!discard(&wild, GENERATIONS_MAX - 1, GENERATIONS_MAX));
    }
}
