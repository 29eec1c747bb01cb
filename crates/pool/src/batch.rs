//! Calls on lists: validated whole, done whole or not at all.

use vidmm_arena::{Extent, Kernel};
use vidmm_table::{Error as SlotError, Handle, OfferMode, Reclaim, SlotRef, State, Word};

use crate::error::{BatchError, Error};
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

impl<K: Kernel> Pool<K> {
    fn at<L: HandleList + ?Sized>(&self, list: &L, index: usize) -> Result<SlotRef<'_>, SlotError> {
        list.handle(index)
            .ok_or(SlotError::BadHandle)
            .and_then(|handle| self.table.get(handle))
    }

    /// Offers all items, in the mode given; see [`Pool::offer`]. All are checked first: if one is
    /// wrong nothing is offered. An item that another thread locks or destroys meanwhile is
    /// treated as if that had come first, and the rest proceeds.
    ///
    /// # Errors
    /// [`Error::BadCount`]; [`Error::Locked`], [`Error::NotCommitted`], [`Error::BadHandle`] of
    /// the first wrong item.
    pub fn offer_list<L: HandleList + ?Sized>(
        &self,
        list: &L,
        mode: impl Into<OfferMode>,
    ) -> Result<(), BatchError> {
        let mode = mode.into();
        let count = check_count(list)?;
        if count == 1 {
            // Nothing else could be left half done, so it need not be looked at first.
            let offered = self.at(list, 0).map_err(Error::from);
            return offered
                .and_then(|slot| self.offer_slot(&slot, mode))
                .map_err(|error| BatchError::at(0, error));
        }
        for index in 0..count {
            let slot = self
                .at(list, index)
                .map_err(|error| BatchError::at(index, error))?;
            let word = slot.load().map_err(|error| BatchError::at(index, error))?;
            let wrong = match word.state() {
                State::Committed if word.locks() != 0 => SlotError::Locked,
                State::Committed | State::Offered | State::Discarded => continue,
                State::Dead => SlotError::NotCommitted,
                State::Empty => SlotError::BadHandle,
            };
            return Err(BatchError::at(index, wrong));
        }
        for index in 0..count {
            if let Ok(slot) = self.at(list, index) {
                let _ = self.offer_slot(&slot, mode);
            }
        }
        Ok(())
    }

    /// Reclaims all items and calls `answer` for each, in the caller's order, once all is decided.
    /// A handle that appears twice gets the same answer at both places.
    ///
    /// # Errors
    /// [`Error::BadCount`], [`Error::BadHandle`]: nothing was changed. [`Error::NoMemory`],
    /// [`Error::Kernel`]: the items are as they were, with their class and age; other offered
    /// memory may be gone. `answer` was not called.
    pub fn reclaim_list<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        mut answer: impl FnMut(usize, Outcome),
    ) -> Result<(), BatchError> {
        let count = check_count(list)?;
        if count == 1 {
            let slot = self.at(list, 0).map_err(|error| BatchError::at(0, error))?;
            if let Reclaim::Intact(_) = slot.reclaim().map_err(|error| BatchError::at(0, error))? {
                slot.note_reclaim(self.signals.now_ticks());
                answer(0, Outcome::Intact);
                return Ok(());
            }
        }
        for index in 0..count {
            let slot = self
                .at(list, index)
                .map_err(|error| BatchError::at(index, error))?;
            let word = slot.load().map_err(|error| BatchError::at(index, error))?;
            if word.state() == State::Empty {
                return Err(BatchError::at(index, SlotError::BadHandle));
            }
        }
        self.reclaim_from(list, answers, None, 0, true, &mut answer)
    }

    /// Reclaims the items from `first` on, one frame of them in this call and the rest in the
    /// next; the last one settles what was found discarded anywhere.
    fn reclaim_from<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        above: Option<&Frame<'_>>,
        first: usize,
        mut intact: bool,
        answer: &mut impl FnMut(usize, Outcome),
    ) -> Result<(), BatchError> {
        let end = list.count().min(first + FRAME);
        let mut frame = Frame {
            above,
            first,
            words: [Word::default(); FRAME],
        };
        for index in first..end {
            // Destroyed since it was validated: as if it had been discarded before, too.
            match self.at(list, index).and_then(|slot| slot.reclaim()) {
                Ok(Reclaim::Intact(before)) => frame.words[index - first] = before,
                Ok(Reclaim::Discarded(_) | Reclaim::Dead) | Err(_) => intact = false,
            }
        }
        if end < list.count() {
            return self.reclaim_from(list, answers, Some(&frame), end, intact, answer);
        }
        if !intact {
            return self.settle(list, answers, &frame, answer);
        }
        let now_ticks = self.signals.now_ticks();
        for index in 0..list.count() {
            if let Ok(slot) = self.at(list, index) {
                slot.note_reclaim(now_ticks);
            }
            answer(index, Outcome::Intact);
        }
        Ok(())
    }

    /// The rest of a list reclaim that met something discarded.
    #[cold]
    fn settle<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        last: &Frame<'_>,
        answer: &mut impl FnMut(usize, Outcome),
    ) -> Result<(), BatchError> {
        let words = collect(last, list.count());
        let taken = self.take_back(list, &words);
        if let Err(error) = self.supply_and_install(list, answers, &taken) {
            self.undo(list, &taken);
            return Err(BatchError::whole(error));
        }
        self.answer_all(list, &taken, answer);
        Ok(())
    }

    /// Puts memory behind everything that was discarded, or behind nothing. All of it inside the
    /// gate: a child made meanwhile would never see an extent again that is between two owners.
    fn supply_and_install<L: HandleList + ?Sized>(
        &self,
        list: &L,
        answers: Answers,
        taken: &[Taken],
    ) -> Result<(), Error> {
        let inside = self.enter()?;
        let mut extents = Vec::new();
        let supplied = self.supply(&inside, list, answers, taken, &mut extents);
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
        supplied
    }

    /// The distinct allocations of the list with what became of each.
    fn take_back<L: HandleList + ?Sized>(&self, list: &L, words: &[Option<Word>]) -> Vec<Taken> {
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

    /// Finds memory for everything that was discarded, in the caller's order.
    fn supply<L: HandleList + ?Sized>(
        &self,
        inside: &crate::gate::Inside<'_>,
        list: &L,
        answers: Answers,
        taken: &[Taken],
        extents: &mut Vec<(usize, Extent)>,
    ) -> Result<(), Error> {
        let mut firm = Vec::new();
        let mut lossy = Vec::new();
        for t in taken.iter().filter(|t| t.before.is_none()) {
            let Ok(slot) = self.at(list, t.index) else {
                continue;
            };
            let Ok(word) = slot.load() else { continue };
            if word.state() != State::Discarded {
                continue;
            }
            let may_die = answers == Answers::NotCommitted && word.mode().allow_decommit;
            let side = if may_die { &mut lossy } else { &mut firm };
            side.push((t.index, self.shape_of(&slot)?));
        }
        let wanted_bytes = firm.iter().map(|(_, shape)| shape.charge_bytes()).sum();
        let mut reclaimer = self.reclaimer();
        self.check_possible(&mut reclaimer, wanted_bytes)?;
        for (index, shape) in firm {
            let extent = self
                .acquire_by_claims(inside, &mut reclaimer, shape)
                .map_err(|error| whole_call(error, wanted_bytes))?;
            extents.push((index, extent));
        }
        for (index, shape) in lossy {
            match self.acquire_by_claims(inside, &mut reclaimer, shape) {
                Ok(extent) => extents.push((index, extent)),
                Err(_) => {
                    if let Ok(slot) = self.at(list, index) {
                        // Brought back or destroyed by another thread meanwhile: not dead, then.
                        let _ = slot.kill();
                    }
                }
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
        answer: &mut impl FnMut(usize, Outcome),
    ) {
        let mut outcomes: Vec<(Handle, Outcome)> = Vec::with_capacity(taken.len());
        for t in taken {
            let outcome = match (t.before, self.at(list, t.index)) {
                (Some(_), Ok(slot)) => {
                    slot.note_reclaim(self.signals.now_ticks());
                    Outcome::Intact
                }
                (None, Ok(slot)) if slot.load().is_ok_and(|w| w.state() == State::Dead) => {
                    Outcome::NotCommitted
                }
                (None, Ok(slot)) => {
                    self.note_discarded_reclaim(&slot);
                    Outcome::Discarded
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

fn check_count<L: HandleList + ?Sized>(list: &L) -> Result<usize, BatchError> {
    let count = list.count();
    if count == 0 || count > BATCH_MAX {
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
fn whole_call(error: Error, wanted_bytes: u64) -> Error {
    match error {
        Error::NoMemory { budget_bytes, .. } => Error::NoMemory {
            wanted_bytes,
            budget_bytes,
        },
        other => other,
    }
}
