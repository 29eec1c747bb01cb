//! The transitions of one slot. See the crate's first page for the rules they follow.

use crate::error::Error;
use crate::slot::{ExtentWord, FLAG_CONTENT_LOST, FLAG_ZERO_OWED, History, Slot, next_intervals};
use crate::sync::{Mutex, Ordering, fence, lock};
use crate::word::{OfferMode, State, Word};

/// What an offer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is offered now, in the mode given.
    Now,
    /// It had been discarded before, and stays so; the mode is still that of an earlier offer
    /// ([`SlotRef::renew_discarded`]).
    AlreadyDiscarded,
}

/// What a reclaim found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    /// Committed, with the content it had. The word is the one that was swapped away: it undoes
    /// the reclaim ([`SlotRef::undo_reclaim`]).
    Intact(Word),
    /// Discarded: it needs a new extent ([`SlotRef::install`]). Nothing was changed.
    Discarded(Word),
    /// Not committed, for good. Nothing was changed.
    Dead,
}

/// An extent that a winning swap has taken from its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detached {
    /// The extent; it belongs to the winner alone now.
    pub extent: ExtentWord,
    /// Nobody has locked it since it was attached: it is backed only if it was so then.
    pub fresh: bool,
}

/// What a lock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Locked; the extent stays where it is until the lock is undone.
    Locked(ExtentWord),
    /// The first lock since it got its extent has work to do: call [`SlotRef::first_lock`].
    Fresh,
}

/// The work of a first lock, handed to the caller's closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstLock {
    /// The extent, which nobody else can reach during the call.
    pub extent: ExtentWord,
    /// The owner was promised zeroes.
    pub zero_owed: bool,
    /// The allocation was discarded before: what it reads as is unspecified.
    pub content_lost: bool,
}

/// What became of an extent that was brought for a discarded allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The allocation is committed on it.
    Here,
    /// Another reclaim was first; the allocation is committed and the extent is still the caller's.
    AlreadyCommitted,
    /// It has been offered again meanwhile; the extent is still the caller's.
    OfferedAgain,
}

/// A slot together with the generation under which its allocation is known.
#[derive(Debug, Clone, Copy)]
pub struct SlotRef<'t> {
    pub(crate) slot: &'t Slot,
    pub(crate) index: u32,
    pub(crate) generation: u16,
    pub(crate) shard: &'t Mutex<()>,
}

impl<'t> SlotRef<'t> {
    /// The slot's plain words.
    #[inline]
    #[must_use]
    pub fn slot(&self) -> &'t Slot {
        self.slot
    }

    /// The handle of the allocation that is meant.
    #[must_use]
    pub fn name(&self) -> Option<crate::Handle> {
        crate::Handle::new(self.index, self.generation)
    }

    /// The handle of the allocation in the slot at `index`, which this was got from.
    #[must_use]
    pub fn handle(&self, index: crate::SlotIndex) -> Option<crate::Handle> {
        crate::Handle::new(index.raw(), self.generation)
    }

    /// The state word, *then* the generation: if the slot was recycled before the first load the
    /// generation differs, if after it every swap from this word fails.
    ///
    /// # Errors
    /// [`Error::BadHandle`] when the allocation is no more.
    #[inline]
    pub fn load(&self) -> Result<Word, Error> {
        // Acquire: the generation is read after the word, and the extent that belongs to the word
        // was written before it.
        let word = Word(self.slot.state.load(Ordering::Acquire));
        // Empty: the generation of the next allocation, which is not there yet, or of the last one,
        // whose destroyer has not advanced it yet.
        if self.slot.generation.load(Ordering::Relaxed) != self.generation
            || word.state() == State::Empty
        {
            return Err(Error::BadHandle);
        }
        Ok(word)
    }

    /// Swaps `from` for `to` if nothing happened to the slot since `from` was loaded.
    #[inline]
    fn swap(&self, from: Word, to: Word) -> bool {
        // Acquire: whoever gets memory sees it as its last owner left it. Release: whoever gets it
        // next sees it as we left it.
        self.slot
            .state
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Offers the allocation in the usual case: nobody has it locked, and nobody else is at it. If
    /// not, nothing was changed, and [`SlotRef::offer`] finds out why.
    #[inline]
    pub fn offer_at_once(&self, mode: OfferMode) -> bool {
        self.load()
            .is_ok_and(|word| word.is_idle() && self.swap_for_offer(word, mode))
    }

    #[inline]
    fn swap_for_offer(&self, word: Word, mode: OfferMode) -> bool {
        // SeqCst, not AcqRel: the caller looks next whether a victim list is under way that
        // this offer makes stale, while the list's maker first says that one is, then looks at
        // the slots. One of the two must see the other. (The same instruction on x86-64.)
        let offered = word.offered(mode);
        self.slot
            .state
            .compare_exchange(word.0, offered.0, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// Offers the allocation, or renews the offer.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotCommitted`], [`Error::Shared`], [`Error::BadHandle`].
    pub fn offer(&self, mode: OfferMode) -> Result<Offered, Error> {
        loop {
            let word = self.load()?;
            match word.state() {
                State::Committed if word.locks() != 0 => return Err(Error::Locked),
                State::Committed | State::Offered => {}
                State::Discarded => return Ok(Offered::AlreadyDiscarded),
                State::Dead => return Err(Error::NotCommitted),
                State::Shared => return Err(Error::Shared),
                State::Empty => return Err(Error::BadHandle),
            }
            if self.swap_for_offer(word, mode) {
                return Ok(Offered::Now);
            }
        }
    }

    /// Reclaims the allocation in the usual case: it is offered and intact, and nobody else is at
    /// it. The word is the one that was swapped away. If not, nothing was changed, and
    /// [`SlotRef::reclaim`] finds out why.
    #[inline]
    pub fn reclaim_at_once(&self) -> Option<Word> {
        let word = self.load().ok()?;
        (word.is_offered() && self.swap(word, word.reclaimed())).then_some(word)
    }

    /// Reclaims the allocation if it is there. A committed one advances its sequence too: a batch
    /// of another thread that fails must not offer again what this call was told is committed.
    ///
    /// # Errors
    /// [`Error::Shared`], [`Error::BadHandle`].
    pub fn reclaim(&self) -> Result<Reclaim, Error> {
        loop {
            let word = self.load()?;
            match word.state() {
                State::Offered | State::Committed => {}
                State::Discarded => return Ok(Reclaim::Discarded(word)),
                State::Dead => return Ok(Reclaim::Dead),
                State::Shared => return Err(Error::Shared),
                State::Empty => return Err(Error::BadHandle),
            }
            if self.swap(word, word.reclaimed()) {
                return Ok(Reclaim::Intact(word));
            }
        }
    }

    /// Offers again what [`SlotRef::reclaim`] took from the word `before`, in the mode it had -
    /// but only if nothing has happened to the slot since. Says whether it did.
    pub fn undo_reclaim(&self, before: Word) -> bool {
        self.undo_reclaims(before, 1)
    }

    /// As [`SlotRef::undo_reclaim`], for a call that named the allocation `times` times: the first
    /// of its reclaims took it from `before`, the others only advanced the sequence.
    pub fn undo_reclaims(&self, before: Word, times: u32) -> bool {
        let written = before.reclaimed_times(times);
        before.state() == State::Offered && self.swap(written, written.offered_again())
    }

    /// Takes the memory of a victim that was seen as `word`, if nothing happened to it since. The
    /// allocation is discarded from that instant.
    #[inline]
    #[must_use]
    pub fn claim(&self, word: Word) -> Option<Detached> {
        if word.state() != State::Offered {
            return None;
        }
        let extent = self.slot.extent();
        self.swap(word, word.claimed()).then_some(Detached {
            extent,
            fresh: word.is_fresh(),
        })
    }

    /// Locks the allocation: its extent stays in place until unlocked as often.
    ///
    /// # Errors
    /// [`Error::Offered`], [`Error::NotCommitted`], [`Error::TooManyLocks`], [`Error::Shared`],
    /// [`Error::BadHandle`].
    #[inline]
    pub fn lock(&self) -> Result<Lock, Error> {
        loop {
            let word = self.lockable()?;
            if word.is_fresh() {
                return Ok(Lock::Fresh);
            }
            let extent = self.slot.extent();
            if self.swap(word, word.locked_once_more()) {
                return Ok(Lock::Locked(extent));
            }
        }
    }

    #[inline]
    fn lockable(&self) -> Result<Word, Error> {
        let word = self.load()?;
        match word.state() {
            State::Committed if word.locks() == Word::MAX_LOCKS => Err(Error::TooManyLocks),
            State::Committed => Ok(word),
            State::Offered | State::Discarded => Err(Error::Offered),
            State::Dead => Err(Error::NotCommitted),
            State::Shared => Err(Error::Shared),
            State::Empty => Err(Error::BadHandle),
        }
    }

    /// The first lock of a fresh allocation: `work` prepares the memory (zeroes it, if owed) while
    /// nobody else can lock, offer or destroy it. If another thread was first, only locks.
    ///
    /// # Errors
    /// As [`SlotRef::lock`].
    pub fn first_lock(&self, work: impl FnOnce(FirstLock)) -> Result<ExtentWord, Error> {
        let _serial = lock(self.shard);
        let (word, extent) = loop {
            let word = self.lockable()?;
            let extent = self.slot.extent();
            // Locked, still fresh: no offer can take the extent away under the work, and a second
            // locker comes to wait for the shard.
            if self.swap(word, word.locked_once_more()) {
                break (word, extent);
            }
        };
        if word.is_fresh() {
            let flags = self.slot.flags.load(Ordering::Relaxed);
            work(FirstLock {
                extent,
                zero_owed: flags & FLAG_ZERO_OWED != 0,
                content_lost: flags & FLAG_CONTENT_LOST != 0,
            });
            let done = flags & !(FLAG_ZERO_OWED | FLAG_CONTENT_LOST);
            self.slot.flags.store(done, Ordering::Relaxed);
            loop {
                let word = Word(self.slot.state.load(Ordering::Relaxed));
                if self.swap(word, word.touched()) {
                    break;
                }
            }
        }
        Ok(extent)
    }

    /// Undoes one lock and says how many are left.
    ///
    /// # Errors
    /// [`Error::NotLocked`], [`Error::Shared`], [`Error::BadHandle`].
    #[inline]
    pub fn unlock(&self) -> Result<u32, Error> {
        loop {
            let word = self.load()?;
            // The lock of a fresh one is that of a first lock at work: nobody else's to undo.
            if word.locks() == 0 || word.is_fresh() {
                return Err(match word.state() {
                    State::Shared => Error::Shared,
                    _ => Error::NotLocked,
                });
            }
            let unlocked = word.unlocked_once();
            if self.swap(word, unlocked) {
                return Ok(unlocked.locks());
            }
        }
    }

    /// Commits a discarded allocation on `extent`.
    ///
    /// # Errors
    /// [`Error::NotCommitted`] or [`Error::BadHandle`] when it died or was destroyed meanwhile.
    /// The extent is the caller's still, as with every answer but [`Installed::Here`].
    pub fn install(&self, extent: ExtentWord) -> Result<Installed, Error> {
        let _serial = lock(self.shard);
        let word = self.load()?;
        match word.state() {
            State::Discarded => {}
            State::Committed => return Ok(Installed::AlreadyCommitted),
            State::Offered => return Ok(Installed::OfferedAgain),
            State::Dead => return Err(Error::NotCommitted),
            State::Shared => return Err(Error::Shared),
            State::Empty => return Err(Error::BadHandle),
        }
        // Every way out of `discarded` takes the shard's lock, so nobody reads or writes the
        // extent now; and it is written before the state that makes it the slot's.
        self.slot.extent.store(extent.0, Ordering::Relaxed);
        let flags = self.slot.flags.load(Ordering::Relaxed);
        self.slot.flags.store(
            (flags & !FLAG_ZERO_OWED) | FLAG_CONTENT_LOST,
            Ordering::Relaxed,
        );
        let installed = self.swap(word, word.committed_fresh());
        debug_assert!(
            installed,
            "a transition out of discarded did not take the shard's lock"
        );
        Ok(Installed::Here)
    }

    /// Gives a discarded allocation the mode of a new offer: whether it may die is as its owner said
    /// last. If it is not discarded any more, the offer was before whatever happened to it.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn renew_discarded(&self, mode: OfferMode) -> Result<(), Error> {
        // Not for the word alone: whoever holds the lock counts on the word to stay.
        let _serial = lock(self.shard);
        let word = self.load()?;
        if word.state() == State::Discarded {
            let renewed = self.swap(word, word.renewed(mode));
            debug_assert!(renewed, "a discarded word changed without the shard's lock");
        }
        Ok(())
    }

    /// Declares a discarded allocation *not committed*, for good. Says whether it did: `false`
    /// when it is not discarded any more, or was not offered with *allow decommit*.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn kill(&self) -> Result<bool, Error> {
        let _serial = lock(self.shard);
        let word = self.load()?;
        Ok(word.state() == State::Discarded
            && word.mode().allow_decommit
            && self.swap(word, word.killed()))
    }

    /// Ends the allocation. The winner gets the extent, if there was one, and must hand the slot
    /// to [`crate::Table::recycle`].
    pub(crate) fn empty(&self) -> Result<Option<Detached>, Error> {
        loop {
            let word = self.load()?;
            match word.state() {
                State::Committed if word.locks() != 0 => return Err(Error::Locked),
                State::Committed | State::Offered => {
                    let extent = self.slot.extent();
                    if self.swap(word, word.emptied()) {
                        return Ok(Some(Detached {
                            extent,
                            fresh: word.is_fresh(),
                        }));
                    }
                }
                State::Discarded | State::Dead => {
                    // An installer may be about to write the extent of this very slot.
                    let _serial = lock(self.shard);
                    let word = self.load()?;
                    let gone = matches!(word.state(), State::Discarded | State::Dead);
                    if gone && self.swap(word, word.emptied()) {
                        return Ok(None);
                    }
                }
                State::Shared => return Err(Error::Shared),
                State::Empty => return Err(Error::BadHandle),
            }
        }
    }

    /// Says that the allocation, which nobody but its maker knows yet, is shared with other
    /// processes: from now on all of the above refuse it ([`Error::Shared`]), and its extent is
    /// whatever its maker finds it by.
    ///
    /// # Errors
    /// [`Error::BadHandle`] if somebody who guessed its handle has destroyed or locked it.
    pub fn make_shared(&self) -> Result<(), Error> {
        loop {
            let word = self.load()?;
            match word.state() {
                State::Committed if word.locks() == 0 => {}
                State::Offered => {}
                _ => return Err(Error::BadHandle),
            }
            if self.swap(word, word.shared()) {
                return Ok(());
            }
        }
    }

    /// The extent of an allocation that is shared with other processes; `None` of any other.
    #[must_use]
    pub fn shared(&self) -> Option<ExtentWord> {
        let word = self.load().ok()?;
        let extent = self.slot.extent();
        // What was read above is older than the word read below: still the same after the look, so
        // the extent was its own.
        fence(Ordering::Acquire);
        let same = self.load().ok()? == word && word.state() == State::Shared;
        same.then_some(extent)
    }

    /// Ends an allocation that is shared with other processes.
    pub(crate) fn empty_shared(&self) -> Result<(), Error> {
        let word = self.load()?;
        let ended = word.state() == State::Shared && self.swap(word, word.emptied());
        ended.then_some(()).ok_or(Error::BadHandle)
    }

    /// As [`SlotRef::empty`], for an allocation of `device`, also while it is locked.
    pub(crate) fn empty_locked(&self, device: u32) -> Result<Option<Detached>, Error> {
        // A first lock holds the shard's lock while it works on the memory: after that.
        let _serial = lock(self.shard);
        loop {
            let word = self.load()?;
            // Like the extent, the device is that of the word if the swap succeeds.
            if self.slot.device() != device {
                return Err(Error::BadHandle);
            }
            let extent = self.slot.extent();
            if self.swap(word, word.emptied()) {
                let attached = matches!(word.state(), State::Committed | State::Offered);
                return Ok(attached.then_some(Detached {
                    extent,
                    fresh: word.is_fresh(),
                }));
            }
        }
    }

    /// Notes that the allocation was offered at `now` (ticks of the miss clock).
    #[inline]
    pub fn note_offer(&self, now_ticks: u32) {
        self.slot.stamp.store(now_ticks, Ordering::Relaxed);
    }

    /// Notes that the allocation was reclaimed at `now` (ticks of the miss clock). Two threads
    /// that do so at once may count one: the words feed a guess, never a rule.
    #[inline]
    pub fn note_reclaim(&self, now_ticks: u32) {
        let slot = self.slot;
        let interval = now_ticks.wrapping_sub(slot.stamp.load(Ordering::Relaxed));
        let before = slot.intervals.load(Ordering::Relaxed);
        let intervals = next_intervals(before, interval);
        slot.intervals.store(intervals, Ordering::Relaxed);
        slot.reclaims.store(
            slot.reclaims.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Takes back one [`SlotRef::note_reclaim`], but for the intervals.
    pub fn unnote_reclaim(&self) {
        let reclaims = &self.slot.reclaims;
        reclaims.store(
            reclaims.load(Ordering::Relaxed).wrapping_sub(1),
            Ordering::Relaxed,
        );
    }

    /// What the slot remembers.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn history(&self) -> Result<History, Error> {
        self.load()?;
        Ok(self.slot.history())
    }

    /// Sets what a rebuild costs, in nanoseconds (kept with 24 significant bits; 0 is unknown).
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn set_rebuild_cost_ns(&self, cost_ns: f32) -> Result<(), Error> {
        self.load()?;
        self.slot.cost.store(cost_ns.to_bits(), Ordering::Relaxed);
        Ok(())
    }

    /// Sets the allocation priority.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn set_priority(&self, priority: u32) -> Result<(), Error> {
        self.load()?;
        // SeqCst: the priority of something offered AUTO is its class; see `offer`.
        self.slot.priority.store(priority, Ordering::SeqCst);
        Ok(())
    }

    /// Puts the allocation into resource `resource`; 0 takes it out.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn set_resource(&self, resource: u32) -> Result<(), Error> {
        self.load()?;
        // Release: a resource has ended before its members are told.
        self.slot.resource.store(resource, Ordering::Release);
        Ok(())
    }
}
