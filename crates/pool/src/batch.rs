//! Calls on lists: validated whole, done whole or not at all.

use vidmm_arena::{Extent, Kernel, Shape};
use vidmm_table::{Error as SlotError, Handle, OfferMode, Reclaim, Slot, SlotRef, State, Word};

use crate::error::{BatchError, Error};
use crate::gate::Inside;
use crate::joined::{Allowance, Lack};
use crate::pool::{Outcome, Pool};

/// The most items that a list may have (as `D3DKMT_MAKERESIDENT_ALLOC_MAX`).
pub const BATCH_MAX: usize = 10_240;

/// Items that one stack frame of a list reclaim remembers.
const FRAME: usize = 64;

/// A list of handles, wherever they are.
pub trait HandleList {
    /// How many items.
    fn count(&self) -> usize;

    /// Item `index`, below [`HandleList::count`]; `None` if no allocation can have that name.
    fn handle(&self, index: usize) -> Option<Handle>;

    /// Whether the list may name this allocation; one that it may not is as if it did not exist.
    #[inline]
    fn admits(&self, slot: &Slot) -> bool {
        let _ = slot;
        true
    }

    /// The most items that the list may have.
    #[inline]
    fn count_max(&self) -> usize {
        BATCH_MAX
    }
}

impl HandleList for [Handle] {
    fn count(&self) -> usize {
        self.len()
    }

    fn handle(&self, index: usize) -> Option<Handle> {
        self.get(index).copied()
    }
}

/// Raw handles, as they come through a C interface.
impl HandleList for [u32] {
    fn count(&self) -> usize {
        self.len()
    }

    fn handle(&self, index: usize) -> Option<Handle> {
        self.get(index).copied().and_then(Handle::from_raw)
    }
}

/// Which answers the caller of a list reclaim can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// None: the caller does not need the content, so nobody finds out what became of each item.
    /// A shortage fails the call.
    Unwanted,
    /// Intact or discarded: a shortage fails the call.
    Discarded,
    /// Also *not committed*: what was offered with *allow decommit* and cannot be supplied ends so
    /// instead of failing the call.
    NotCommitted,
}

/// What this call has done so far, a frame of the stack for each [`FRAME`] items: the words that
/// its reclaims replaced. So the list of an intact reclaim costs no allocation, and a call that
/// fails for shortage can put back exactly what it took.
struct Frame<'a> {
    above: Option<&'a Frame<'a>>,
    first: usize,
    /// Empty words stand for what was not there.
    words: [Word; FRAME],
}

/// A list reclaim as a whole.
struct All<'l, L: ?Sized> {
    list: &'l L,
    answers: Answers,
    /// The time to be written into histories on the way; `None`: not on the way.
    notes: Option<u32>,
}

impl<K: Kernel> Pool<K> {
    #[inline]
    fn at<L: HandleList + ?Sized>(&self, list: &L, index: usize) -> Result<SlotRef<'_>, SlotError> {
        list.handle(index)
            .ok_or(SlotError::BadHandle)
            .and_then(|handle| self.table.get(handle))
    }

    /// As [`Pool::at`], if the list may name what is there.
    #[inline]
    fn admitted<L: HandleList + ?Sized>(
        &self,
        list: &L,
        index: usize,
    ) -> Result<SlotRef<'_>, SlotError> {
        let slot = self.at(list, index)?;
        // What the list looks at stays the same as long as the handle is good, and whether it is
        // good is looked at afterwards.
        match list.admits(slot.slot()) {
            true => Ok(slot),
            false => Err(SlotError::BadHandle),
        }
    }

    /// Whether item `index` is one that the list may name, in a state that `fits`.
    #[inline]
    fn is_fit<L: HandleList + ?Sized>(
        &self,
        list: &L,
        index: usize,
        fits: impl Fn(Word) -> bool,
    ) -> bool {
        self.admitted(list, index)
            .and_then(|slot| slot.load())
            .is_ok_and(fits)
    }

    /// What is wrong with offering item `index`, if it still is.
    #[cold]
    fn look_at_offer<L: HandleList + ?Sized>(&self, list: &L, index: usize) -> Result<(), Error> {
        let slot = self.admitted(list, index)?;
        let word = slot.load()?;
        match word.state() {
            State::Committed if word.locks() != 0 => Err(Error::Locked),
            State::Committed | State::Offered | State::Discarded => Ok(()),
            State::Dead => Err(Error::NotCommitted),
            State::Shared => self.check_shared_offer(&slot),
            State::Empty => Err(Error::BadHandle),
        }
    }

    /// Offers all items, in the mode given; see [`Pool::offer`]. All are checked first: if one is
    /// wrong nothing is offered. An item that another thread locks or destroys meanwhile is
    /// treated as if that had come first, and the rest proceeds.
    ///
    /// # Errors
    /// [`Error::BadCount`]; [`Error::Locked`], [`Error::NotCommitted`], [`Error::BadHandle`] of
    /// the first wrong item.
    #[inline]
    pub fn offer_list<L: HandleList + ?Sized>(
        &self,
        list: &L,
        mode: impl Into<OfferMode>,
    ) -> Result<(), BatchError> {
        let mode = mode.into();
        let count = check_count(list)?;
        if count == 1 {
            // Nothing else could be left half done, so it need not be looked at first.
            let offered = self.admitted(list, 0).map_err(Error::from);
            return offered
                .and_then(|slot| self.offer_slot(&slot, mode))
                .map_err(|error| BatchError::at(0, error));
        }
        self.offer_many(list, mode, count)
    }

    fn offer_many<L: HandleList + ?Sized>(
        &self,
        list: &L,
        mode: OfferMode,
        count: usize,
    ) -> Result<(), BatchError> {
        for index in 0..count {
            if !self.is_fit(list, index, Word::is_offerable) {
                self.look_at_offer(list, index)
                    .map_err(|error| BatchError::at(index, error))?;
            }
        }
        for index in 0..count {
            if let Ok(slot) = self.at(list, index) {
                let _ = self.offer_slot(&slot, mode);
            }
        }
        Ok(())
    }

    /// Reclaims all items. Says `false` if all of them were intact. If not, and answers are not
    /// [`Answers::Unwanted`], it has called `answer` for each, in the caller's order, once all was
    /// decided; a handle that appears twice got the same answer at both places.
    ///
    /// # Errors
    /// [`Error::BadCount`], [`Error::BadHandle`]: nothing was changed. [`Error::NoMemory`],
    /// [`Error::Kernel`]: the items are as they were, with their class and age; other offered
    /// memory may be gone. `answer` was not called.
    #[inline]
    pub fn reclaim_list<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        mut answer: impl FnMut(usize, Outcome),
    ) -> Result<bool, BatchError> {
        let count = check_count(list)?;
        if count == 1 {
            let slot = self
                .admitted(list, 0)
                .map_err(|error| BatchError::at(0, error))?;
            let found = slot.reclaim();
            if let Ok(Reclaim::Intact(_)) = found {
                self.note_intact(&slot, self.signals.now_ticks());
                return Ok(false);
            }
            if answers == Answers::Unwanted || found == Err(SlotError::BadHandle) {
                return self.reclaim_lost(&slot, found);
            }
        }
        self.reclaim_many(list, answers, count, &mut answer)
    }

    /// The rest of a reclaim of one item whose content nobody needs.
    #[cold]
    fn reclaim_lost(
        &self,
        slot: &SlotRef<'_>,
        found: Result<Reclaim, SlotError>,
    ) -> Result<bool, BatchError> {
        let outcome = match found {
            Ok(Reclaim::Dead) => return Ok(false),
            Ok(_) => self.reclaim_discarded(slot),
            Err(SlotError::Shared) => self.reclaim_shared(slot),
            Err(error) => return Err(BatchError::at(0, error)),
        };
        Ok(outcome.map_err(BatchError::whole)? != Outcome::Intact)
    }

    fn reclaim_many<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        count: usize,
        answer: &mut impl FnMut(usize, Outcome),
    ) -> Result<bool, BatchError> {
        let mut intact = true;
        for index in 0..count {
            if !self.is_fit(list, index, Word::is_intact) {
                self.admitted(list, index)
                    .and_then(|slot| slot.load())
                    .map_err(|error| BatchError::at(index, error))?;
                intact = false;
            }
        }
        if count > BATCH_MAX {
            return self.reclaim_long(list, answers, answer);
        }
        let all = All {
            list,
            answers,
            // Found intact, nothing is likely to be missing, so histories are written on the way -
            // unless a trace is: nothing can be taken out of that again.
            notes: (intact && !self.signals.is_recording()).then(|| self.signals.now_ticks()),
        };
        self.reclaim_from(&all, None, 0, true, answer)
    }

    /// As [`Pool::reclaim_from`], for lists that are too long for the stack.
    fn reclaim_long<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        answer: &mut impl FnMut(usize, Outcome),
    ) -> Result<bool, BatchError> {
        let mut words = Vec::new();
        if words.try_reserve_exact(list.count()).is_err() {
            return Err(BatchError::whole(Error::Kernel { wanted_bytes: 0 }));
        }
        words.extend((0..list.count()).map(|index| self.reclaim_word(list, index, None)));
        self.settle(list, answers, &words, answer)
    }

    /// Reclaims the items from `first` on, one frame of them in this call and the rest in the
    /// next; the last one settles what was found discarded anywhere.
    fn reclaim_from<L: HandleList + ?Sized>(
        &self,
        all: &All<'_, L>,
        above: Option<&Frame<'_>>,
        first: usize,
        mut intact: bool,
        answer: &mut impl FnMut(usize, Outcome),
    ) -> Result<bool, BatchError> {
        let list = all.list;
        let count = list.count();
        let left = count - first;
        let frame = Frame {
            above,
            first,
            words: std::array::from_fn(|place| {
                if place >= left {
                    return Word::default();
                }
                let before = self.reclaim_word(list, first + place, all.notes);
                intact &= before.is_some();
                before.unwrap_or_default()
            }),
        };
        if left > FRAME {
            return self.reclaim_from(all, Some(&frame), first + FRAME, intact, answer);
        }
        if !intact {
            let words = collect(&frame, count);
            if all.notes.is_some() {
                self.unnote(list, &words);
            }
            return self.settle(list, all.answers, &words, answer);
        }
        if all.notes.is_none() {
            self.note_all(list);
        }
        Ok(false)
    }

    /// Reclaims one item of a list and says which word that replaced; `None` if it is not there.
    #[inline]
    fn reclaim_word<L: HandleList + ?Sized>(
        &self,
        list: &L,
        index: usize,
        notes: Option<u32>,
    ) -> Option<Word> {
        let slot = self.at(list, index).ok()?;
        let before = match slot.reclaim_at_once() {
            Some(before) => before,
            // Destroyed since it was validated: as if it had been discarded before, too.
            None => match slot.reclaim() {
                Ok(Reclaim::Intact(before)) => before,
                Ok(Reclaim::Discarded(_) | Reclaim::Dead) | Err(_) => return None,
            },
        };
        if let Some(now_ticks) = notes {
            slot.note_reclaim(now_ticks);
        }
        Some(before)
    }

    /// The histories of a list that was found intact after all.
    #[cold]
    fn note_all<L: HandleList + ?Sized>(&self, list: &L) {
        let now_ticks = self.signals.now_ticks();
        for index in 0..list.count() {
            if let Ok(slot) = self.at(list, index) {
                self.note_intact(&slot, now_ticks);
            }
        }
    }

    /// Something was discarded after all had been found intact: the histories are written when the
    /// call has succeeded.
    #[cold]
    fn unnote<L: HandleList + ?Sized>(&self, list: &L, words: &[Option<Word>]) {
        for (index, word) in words.iter().enumerate() {
            if let (Some(_), Ok(slot)) = (word, self.at(list, index)) {
                slot.unnote_reclaim();
            }
        }
    }

    /// The rest of a list reclaim that may have met something discarded. `words` are those that
    /// its reclaims replaced.
    #[cold]
    fn settle<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        words: &[Option<Word>],
        answer: &mut impl FnMut(usize, Outcome),
    ) -> Result<bool, BatchError> {
        if answers == Answers::Unwanted {
            return self.settle_unanswered(list, words);
        }
        let taken = take_back(list, words);
        let lost = taken.iter().filter(|t| t.before.is_none());
        match self.supply_and_install(list, answers, lost.map(|t| t.index)) {
            Ok(shared) => self.answer_all(list, &taken, &shared, answer),
            Err(error) => {
                self.undo(list, &taken);
                return Err(BatchError::whole(error));
            }
        }
        Ok(true)
    }

    /// As [`Pool::settle`], where nobody asks what became of which item: only what has lost its
    /// memory needs a look.
    fn settle_unanswered<L: HandleList + ?Sized>(
        &self,
        list: &L,
        words: &[Option<Word>],
    ) -> Result<bool, BatchError> {
        let mut lost: Vec<(Option<Handle>, usize)> = words
            .iter()
            .enumerate()
            .filter(|(_, before)| before.is_none())
            .map(|(index, _)| (list.handle(index), index))
            .collect();
        lost.sort_unstable();
        lost.dedup_by_key(|(handle, _)| *handle);
        let indices = lost.iter().map(|(_, index)| *index);
        let shared = match self.supply_and_install(list, Answers::Unwanted, indices) {
            Ok(shared) => shared,
            Err(error) => {
                self.undo(list, &take_back(list, words));
                return Err(BatchError::whole(error));
            }
        };
        let now_ticks = self.signals.now_ticks();
        for (index, before) in words.iter().enumerate() {
            if let (Some(_), Ok(slot)) = (before, self.at(list, index)) {
                self.note_intact(&slot, now_ticks);
            }
        }
        let mut any_lost = false;
        for (handle, index) in lost {
            if let Ok(slot) = self.at(list, index) {
                let outcome = outcome_of(handle, &shared).unwrap_or(Outcome::Discarded);
                any_lost |= outcome != Outcome::Intact;
                self.note_shared_reclaim(&slot, outcome);
            }
        }
        Ok(any_lost)
    }

    /// Puts memory behind everything that was discarded, or behind nothing. What may die goes last,
    /// each for itself: it cannot fail the call. Says what became of those that are shared.
    fn supply_and_install<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        lost: impl Iterator<Item = usize>,
    ) -> Result<Vec<(Handle, Outcome)>, Error> {
        let lost: Vec<usize> = lost.collect();
        let mut shared = {
            let _inside = self.enter()?;
            Some(self.begin_shared(list, &lost)?)
        };
        let supplied = self.with_credit(|inside, allowance| {
            // From the first extent to its owner inside the gate: a child made meanwhile would
            // never see an extent again that is between two owners.
            let mut extents = Vec::new();
            let firm = self.discarded(list, answers, &lost, false)?;
            let shared_bytes = shared.as_ref().map_or(0, |begun| begun.wanted_bytes);
            let supplied = self.supply(inside, &firm, shared_bytes, allowance, &mut extents);
            for (index, extent) in extents {
                match self.at(list, index) {
                    Ok(slot) if supplied.is_ok() => self.install(&slot, extent),
                    _ => self.release(vidmm_table::Detached {
                        extent: vidmm_table::ExtentWord(extent.to_word()),
                        fresh: true,
                    }),
                }
            }
            self.agent.something_is_held();
            supplied?;
            Ok(shared.take().map(|begun| self.finish_shared(begun)))
        });
        let outcomes = match supplied {
            Ok(outcomes) => outcomes.unwrap_or_default(),
            Err(error) => {
                let _inside = self.gate.enter();
                if let Some(begun) = shared {
                    begun.cancel();
                }
                return Err(error);
            }
        };
        for (index, shape) in self.discarded(list, answers, &lost, true)? {
            self.supply_or_kill(list, index, shape)?;
        }
        Ok(outcomes)
    }

    /// Those of `lost` that are discarded now, in this order, with their shapes: those that may die,
    /// or those that may not.
    fn discarded<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        lost: &[usize],
        may_die: bool,
    ) -> Result<Vec<(usize, Shape)>, Error> {
        let mut found = Vec::new();
        for &index in lost {
            let Ok(slot) = self.at(list, index) else {
                continue;
            };
            let Ok(word) = slot.load() else { continue };
            let dies = answers == Answers::NotCommitted && word.mode().allow_decommit;
            if word.state() == State::Discarded && dies == may_die {
                found.push((index, self.shape_of(&slot)?));
            }
        }
        Ok(found)
    }

    /// Finds memory for all of `firm`, and takes the room that shared ones need.
    fn supply(
        &self,
        inside: &Inside<'_>,
        firm: &[(usize, Shape)],
        shared_bytes: u64,
        allowance: Allowance,
        extents: &mut Vec<(usize, Extent)>,
    ) -> Result<(), Lack> {
        let firm_bytes: u64 = firm.iter().map(|(_, shape)| shape.charge_bytes()).sum();
        let wanted_bytes = firm_bytes.saturating_add(shared_bytes);
        let mut reclaimer = self.reclaimer();
        self.check_possible(&mut reclaimer, wanted_bytes, allowance)?;
        for &(index, shape) in firm {
            let extent = self
                .acquire_by_claims(inside, &mut reclaimer, shape, allowance)
                .map_err(|lack| whole_call(&lack, wanted_bytes))?;
            extents.push((index, extent));
        }
        self.acquire_room(inside, &mut reclaimer, shared_bytes, allowance)
            .map_err(|lack| whole_call(&lack, wanted_bytes))
    }

    /// Puts memory behind an item that may die, which it does if there is none.
    fn supply_or_kill<L: HandleList + ?Sized>(
        &self,
        list: &L,
        index: usize,
        shape: Shape,
    ) -> Result<(), Error> {
        let supplied = self.with_credit(|inside, allowance| {
            let extent = self.acquire(inside, shape, allowance)?;
            match self.at(list, index) {
                Ok(slot) => self.install(&slot, extent),
                Err(_) => self.release(vidmm_table::Detached {
                    extent: vidmm_table::ExtentWord(extent.to_word()),
                    fresh: true,
                }),
            }
            self.agent.something_is_held();
            Ok(())
        });
        if supplied.is_err() {
            let _inside = self.enter()?;
            if let Ok(slot) = self.at(list, index) {
                // Brought back or destroyed by another thread meanwhile: not dead, then.
                let _ = slot.kill();
            }
        }
        Ok(())
    }

    /// Offers again what this call reclaimed, and nothing else.
    fn undo<L: HandleList + ?Sized>(&self, list: &L, taken: &[Taken]) {
        for t in taken {
            if let (Some(before), Ok(slot)) = (t.before, self.at(list, t.index)) {
                slot.undo_reclaims(before, t.times);
            }
        }
    }

    /// Writes the histories and gives the answers.
    fn answer_all<L: HandleList + ?Sized>(
        &self,
        list: &L,
        taken: &[Taken],
        shared: &[(Handle, Outcome)],
        answer: &mut impl FnMut(usize, Outcome),
    ) {
        let mut outcomes: Vec<(Handle, Outcome)> = Vec::with_capacity(taken.len());
        for t in taken {
            let outcome = match (t.before, self.at(list, t.index)) {
                (Some(_), Ok(slot)) => {
                    self.note_intact(&slot, self.signals.now_ticks());
                    Outcome::Intact
                }
                (None, Ok(slot)) if slot.load().is_ok_and(|w| w.state() == State::Dead) => {
                    Outcome::NotCommitted
                }
                (None, Ok(slot)) => {
                    let outcome = outcome_of(Some(t.handle), shared).unwrap_or(Outcome::Discarded);
                    self.note_shared_reclaim(&slot, outcome);
                    outcome
                }
                (_, Err(_)) => Outcome::Discarded,
            };
            outcomes.push((t.handle, outcome));
        }
        outcomes.sort_unstable_by_key(|(handle, _)| *handle);
        for index in 0..list.count() {
            let found = list.handle(index).and_then(|handle| {
                outcomes
                    .binary_search_by_key(&handle, |(handle, _)| *handle)
                    .ok()
            });
            answer(
                index,
                found.map_or(Outcome::Discarded, |place| outcomes[place].1),
            );
        }
    }
}

/// What became of a shared allocation; `None` of any other.
fn outcome_of(handle: Option<Handle>, shared: &[(Handle, Outcome)]) -> Option<Outcome> {
    let place = shared.binary_search_by_key(&handle?, |(handle, _)| *handle);
    Some(shared[place.ok()?].1)
}

/// One allocation of a list, at the first place it is named.
#[derive(Debug, Clone, Copy)]
struct Taken {
    handle: Handle,
    index: usize,
    /// The word that this call's first reclaim of it replaced; `None` if it was not there.
    before: Option<Word>,
    /// How often this call reclaimed it.
    times: u32,
}

/// The distinct allocations of a list with what became of each.
fn take_back<L: HandleList + ?Sized>(list: &L, words: &[Option<Word>]) -> Vec<Taken> {
    let mut taken: Vec<Taken> = words
        .iter()
        .enumerate()
        .filter_map(|(index, &word)| {
            Some(Taken {
                handle: list.handle(index)?,
                index,
                before: word,
                times: 1,
            })
        })
        .collect();
    taken.sort_unstable_by_key(|t| (t.handle, t.index));
    taken.dedup_by(|later, first| {
        let same = later.handle == first.handle;
        if same && later.before.is_some() {
            first.times += 1;
            if first.before.is_none() {
                // Another thread brought it back between our two looks: ours was the first.
                first.times = 1;
            }
        }
        same
    });
    taken.sort_unstable_by_key(|t| t.index);
    taken
}

#[inline]
fn check_count<L: HandleList + ?Sized>(list: &L) -> Result<usize, BatchError> {
    let count = list.count();
    if count == 0 || count > list.count_max() {
        return Err(BatchError::whole(Error::BadCount { count }));
    }
    Ok(count)
}

/// The words of all frames, in order.
fn collect(last: &Frame<'_>, count: usize) -> Vec<Option<Word>> {
    let mut words = vec![None; count];
    let mut frame = Some(last);
    while let Some(f) = frame {
        let end = count.min(f.first + FRAME);
        for (place, &word) in words[f.first..end].iter_mut().zip(&f.words) {
            *place = (word.state() != State::Empty).then_some(word);
        }
        frame = f.above;
    }
    words
}

/// A shortage is told with what the call as a whole wanted.
fn whole_call(lack: &Lack, wanted_bytes: u64) -> Lack {
    let told = |error: &Error| match *error {
        Error::NoMemory { budget_bytes, .. } => Error::NoMemory {
            wanted_bytes,
            budget_bytes,
        },
        other => other,
    };
    match lack {
        Lack::Never(error) => Lack::Never(told(error)),
        Lack::Credit { bytes, error } => Lack::Credit {
            bytes: *bytes,
            error: told(error),
        },
    }
}
