//! The state word: state, offer mode, fresh, lock count, sequence - nothing else. Pure.

/// What an allocation is, as far as its content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The slot holds no allocation.
    Empty = 0,
    /// In use by its owner. Never discarded.
    Committed = 1,
    /// May be discarded at any time.
    Offered = 2,
    /// Was discarded while offered; its memory is gone.
    Discarded = 3,
    /// *Not committed*: it could not be supplied again. Only destroy is left.
    Dead = 4,
    /// Shared with other processes: what it is stands elsewhere, not in its slot.
    Shared = 5,
}

/// How dear an offered allocation is to its owner; lower classes are discarded first.
/// (The values of `D3DKMT_OFFER_PRIORITY`, less one.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Discarded before anything else.
    Low = 0,
    /// Discarded when nothing offered LOW is left.
    Normal = 1,
    /// Discarded last.
    High = 2,
    /// The class follows the allocation's priority, read when a victim is chosen.
    Auto = 3,
}

/// `D3DDDI_ALLOCATIONPRIORITY_MINIMUM`.
pub const PRIORITY_MINIMUM: u32 = 0x2800_0000;
/// `D3DDDI_ALLOCATIONPRIORITY_LOW`.
pub const PRIORITY_LOW: u32 = 0x5000_0000;
/// `D3DDDI_ALLOCATIONPRIORITY_NORMAL`, what an allocation starts with.
pub const PRIORITY_NORMAL: u32 = 0x7800_0000;
/// `D3DDDI_ALLOCATIONPRIORITY_HIGH`.
pub const PRIORITY_HIGH: u32 = 0xA000_0000;
/// `D3DDDI_ALLOCATIONPRIORITY_MAXIMUM`.
pub const PRIORITY_MAXIMUM: u32 = 0xC800_0000;

impl Class {
    /// The class that counts when a victim is chosen: AUTO follows the allocation's `priority`
    /// (up to LOW: LOW; up to NORMAL: NORMAL; above: HIGH). Never AUTO.
    #[inline]
    #[must_use]
    pub fn effective(self, priority: u32) -> Class {
        match self {
            Class::Auto if priority <= PRIORITY_LOW => Class::Low,
            Class::Auto if priority <= PRIORITY_NORMAL => Class::Normal,
            Class::Auto => Class::High,
            explicit => explicit,
        }
    }

    fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Class::Low,
            1 => Class::Normal,
            2 => Class::High,
            _ => Class::Auto,
        }
    }
}

/// How an allocation is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferMode {
    /// The class.
    pub class: Class,
    /// Whether the allocation may end *not committed* when it cannot be supplied again
    /// (`AllowDecommit` of `D3DKMT_OFFER_FLAGS`).
    pub allow_decommit: bool,
}

impl From<Class> for OfferMode {
    fn from(class: Class) -> Self {
        OfferMode {
            class,
            allow_decommit: false,
        }
    }
}

const STATE_BITS: u32 = 3;
const CLASS_SHIFT: u32 = STATE_BITS;
const DECOMMIT_SHIFT: u32 = CLASS_SHIFT + 2;
const FRESH_SHIFT: u32 = DECOMMIT_SHIFT + 1;
const LOCKS_SHIFT: u32 = FRESH_SHIFT + 1;
const LOCKS_BITS: u32 = 16;
const SEQUENCE_SHIFT: u32 = LOCKS_SHIFT + LOCKS_BITS;

const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const MODE_MASK: u64 = 0b111 << CLASS_SHIFT;
const FRESH: u64 = 1 << FRESH_SHIFT;
const LOCK_ONE: u64 = 1 << LOCKS_SHIFT;
const LOCKS_MASK: u64 = ((1 << LOCKS_BITS) - 1) << LOCKS_SHIFT;
const SEQUENCE_ONE: u64 = 1 << SEQUENCE_SHIFT;

// The sequence is what makes a late swap fail; the design asks for at least 40 bits.
const _: () = assert!(64 - SEQUENCE_SHIFT >= 40);

/// One value of a slot's state word. The default is the word of a slot that was never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Word(pub(crate) u64);

impl Word {
    /// The state.
    #[inline]
    #[must_use]
    pub fn state(self) -> State {
        match self.0 & STATE_MASK {
            0 => State::Empty,
            1 => State::Committed,
            2 => State::Offered,
            3 => State::Discarded,
            4 => State::Dead,
            _ => State::Shared,
        }
    }

    /// The mode of the newest offer; it means something while offered, discarded or dead.
    #[inline]
    #[must_use]
    pub fn mode(self) -> OfferMode {
        OfferMode {
            class: Class::from_bits(self.0 >> CLASS_SHIFT),
            allow_decommit: self.0 & (1 << DECOMMIT_SHIFT) != 0,
        }
    }

    /// Whether nobody has locked the allocation since it got its present extent. The first lock
    /// of a fresh one has something to do (zeroing, mostly) and takes the slow path.
    #[inline]
    #[must_use]
    pub fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    /// How often the allocation is locked.
    #[inline]
    #[must_use]
    pub fn locks(self) -> u32 {
        // 16 bits: the cast loses nothing.
        #[allow(clippy::cast_possible_truncation)]
        let locks = ((self.0 & LOCKS_MASK) >> LOCKS_SHIFT) as u32;
        locks
    }

    /// Committed, and nobody has it locked.
    #[inline]
    pub(crate) fn is_idle(self) -> bool {
        self.0 & (STATE_MASK | LOCKS_MASK) == State::Committed as u64
    }

    /// Whether an offer is in order: not locked, and neither dead nor gone.
    #[inline]
    #[must_use]
    pub fn is_offerable(self) -> bool {
        let state = self.0 & STATE_MASK;
        self.0 & LOCKS_MASK == 0
            && (State::Committed as u64..=State::Discarded as u64).contains(&state)
    }

    /// Whether it has its content: committed or offered.
    #[inline]
    #[must_use]
    pub fn is_intact(self) -> bool {
        let state = self.0 & STATE_MASK;
        (State::Committed as u64..=State::Offered as u64).contains(&state)
    }

    /// Offered and not discarded.
    #[inline]
    pub(crate) fn is_offered(self) -> bool {
        self.0 & STATE_MASK == State::Offered as u64
    }

    pub(crate) const MAX_LOCKS: u32 = (1 << LOCKS_BITS) - 1;

    #[inline]
    fn next(self) -> Self {
        Word(self.0.wrapping_add(SEQUENCE_ONE))
    }

    #[inline]
    fn with_state(self, state: State) -> Self {
        Word((self.0 & !STATE_MASK) | state as u64)
    }

    #[inline]
    pub(crate) fn offered(self, mode: OfferMode) -> Self {
        self.with_mode(mode).with_state(State::Offered).next()
    }

    /// In the state it has, in another mode.
    pub(crate) fn renewed(self, mode: OfferMode) -> Self {
        self.with_mode(mode).next()
    }

    #[inline]
    fn with_mode(self, mode: OfferMode) -> Self {
        let bits =
            (mode.class as u64) << CLASS_SHIFT | u64::from(mode.allow_decommit) << DECOMMIT_SHIFT;
        Word((self.0 & !MODE_MASK) | bits)
    }

    /// The word that a reclaim writes over `self`, whether it was offered or committed.
    #[inline]
    pub(crate) fn reclaimed(self) -> Self {
        self.with_state(State::Committed).next()
    }

    /// The word after `times` reclaims in a row (at least one) and nothing else.
    pub(crate) fn reclaimed_times(self, times: u32) -> Self {
        let more = u64::from(times.saturating_sub(1)).wrapping_mul(SEQUENCE_ONE);
        Word(self.reclaimed().0.wrapping_add(more))
    }

    /// What undoes a reclaim that wrote `self`: offered, with the mode it had.
    pub(crate) fn offered_again(self) -> Self {
        self.with_state(State::Offered).next()
    }

    #[inline]
    pub(crate) fn claimed(self) -> Self {
        Word(self.with_state(State::Discarded).0 & !FRESH).next()
    }

    /// Committed on a new extent that nobody has locked yet.
    #[inline]
    pub(crate) fn committed_fresh(self) -> Self {
        Word((self.with_state(State::Committed).0 & !LOCKS_MASK) | FRESH).next()
    }

    #[inline]
    pub(crate) fn touched(self) -> Self {
        Word(self.0 & !FRESH).next()
    }

    pub(crate) fn shared(self) -> Self {
        Word(self.with_state(State::Shared).0 & !FRESH).next()
    }

    #[inline]
    pub(crate) fn killed(self) -> Self {
        self.with_state(State::Dead).next()
    }

    /// Empty, with nothing left of the allocation but the sequence.
    #[inline]
    pub(crate) fn emptied(self) -> Self {
        Word(self.0 & !(SEQUENCE_ONE - 1)).next()
    }

    #[inline]
    pub(crate) fn locked_once_more(self) -> Self {
        Word(self.0 + LOCK_ONE).next()
    }

    #[inline]
    pub(crate) fn unlocked_once(self) -> Self {
        Word(self.0 - LOCK_ONE).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each transition changes what it names and the sequence, and leaves the rest.
        #[test]
        fn transitions_touch_only_their_own_bits(raw in any::<u64>(), class in 0u64..4, decommit in any::<bool>()) {
            let word = Word((raw & !STATE_MASK) | State::Committed as u64);
            let mode = OfferMode { class: Class::from_bits(class), allow_decommit: decommit };
            let offered = word.offered(mode);
            prop_assert_eq!(offered.state(), State::Offered);
            prop_assert_eq!(offered.mode(), mode);
            prop_assert_eq!((offered.is_fresh(), offered.locks()), (word.is_fresh(), word.locks()));
            prop_assert_eq!(offered.0 >> SEQUENCE_SHIFT, (word.0 >> SEQUENCE_SHIFT).wrapping_add(1) & (u64::MAX >> SEQUENCE_SHIFT));
            prop_assert_eq!(offered.reclaimed().mode(), mode);
            prop_assert_eq!(offered.reclaimed().offered_again().mode(), mode);
            prop_assert_eq!(offered.reclaimed().offered_again().state(), State::Offered);
            prop_assert_eq!(offered.reclaimed_times(2), offered.reclaimed().reclaimed());
            prop_assert!(!offered.claimed().is_fresh());
            prop_assert_eq!(offered.claimed().mode(), mode);
            prop_assert_eq!(offered.emptied().0 & (SEQUENCE_ONE - 1), 0);
            prop_assert!(offered.claimed().committed_fresh().is_fresh());
            prop_assert_eq!(offered.claimed().committed_fresh().locks(), 0);
            // Everything counts, so that no word ever comes back.
            let sequence = |word: Word| word.0 >> SEQUENCE_SHIFT;
            let next = sequence(word.next());
            prop_assert_eq!(next, (sequence(word) + 1) & (u64::MAX >> SEQUENCE_SHIFT));
            prop_assert_eq!((offered.claimed().renewed(mode).state(), offered.claimed().renewed(mode).mode()), (State::Discarded, mode));
            prop_assert_eq!(sequence(word.renewed(mode)), next);
            let once = [word.offered(mode), word.reclaimed(), word.offered_again(), word.claimed()];
            let more = [word.committed_fresh(), word.touched(), word.killed(), word.emptied(), word.shared()];
            prop_assert!(once.into_iter().chain(more).all(|after| sequence(after) == next));
            if word.locks() < Word::MAX_LOCKS {
                prop_assert_eq!(sequence(word.locked_once_more()), next);
                prop_assert_eq!(sequence(word.locked_once_more().unlocked_once()), sequence(word.next().next()));
                let locked = word.locked_once_more();
                prop_assert_eq!(locked.locks(), word.locks() + 1);
                prop_assert_eq!(locked.unlocked_once().0 & (SEQUENCE_ONE - 1), word.0 & (SEQUENCE_ONE - 1));
            }
        }
    }
}
