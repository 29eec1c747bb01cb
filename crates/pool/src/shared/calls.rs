//! The calls on one shared allocation: where the usual ones end up when they meet one. All are
//! inside the gate, or enter it: `fork` must not find an entry locked.

use vidmm_arena::Kernel;
use vidmm_table::{Handle, OfferMode, SlotRef, State};

use crate::error::Error;
use crate::gate::Inside;
use crate::joined::{Allowance, Lack};
use crate::memory::Mapping;
use crate::pool::{Outcome, Pool};
use crate::reclaimer::Reclaimer;

impl<K: Kernel> Pool<K> {
    #[cold]
    pub(crate) fn offer_shared(&self, slot: &SlotRef<'_>, mode: OfferMode) -> Result<(), Error> {
        let _inside = self.enter()?;
        let found = self.shared_in(slot)?;
        let class = mode.class.effective(slot.slot().priority());
        let mut local = found.entry.local();
        local.offer(found.member, found.handle, mode, class)?;
        drop(local);
        slot.note_offer(self.signals.now_ticks());
        self.signals.offered(|| class);
        self.record_shared_offer(found.handle, slot, class);
        Ok(())
    }

    /// What would be wrong with an offer.
    pub(crate) fn check_shared_offer(&self, slot: &SlotRef<'_>) -> Result<(), Error> {
        let _inside = self.gate.enter();
        let found = self.shared_in(slot)?;
        let mut local = found.entry.local();
        local.check_offer(found.member, found.handle)
    }

    #[cold]
    pub(crate) fn reclaim_shared(&self, slot: &SlotRef<'_>) -> Result<Outcome, Error> {
        let (found, wanted_bytes) = {
            let _inside = self.enter()?;
            let found = self.shared_in(slot)?;
            let wanted_bytes = found.entry.local().begin(found.member, found.handle)?;
            (found, wanted_bytes)
        };
        let reclaimed = self.with_credit(|inside, allowance| {
            self.acquire_room(inside, &mut self.reclaimer(), wanted_bytes, allowance)?;
            let mut local = found.entry.local();
            let (outcome, spare_bytes) = local.finish(found.member, found.handle, wanted_bytes);
            drop(local);
            self.room.give(spare_bytes);
            self.agent.something_is_held();
            Ok(outcome)
        });
        match reclaimed {
            Ok(outcome) => {
                self.note_shared_reclaim(slot, outcome);
                Ok(outcome)
            }
            Err(error) => {
                let _inside = self.gate.enter();
                found.entry.local().cancel();
                Err(error)
            }
        }
    }

    pub(crate) fn note_shared_reclaim(&self, slot: &SlotRef<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Intact => self.note_intact(slot, self.signals.now_ticks()),
            _ => self.note_discarded_reclaim(slot),
        }
    }

    /// Room without memory of the arena's behind it. The caller takes the reclaimer, so that what
    /// it is about to bring back is not taken for it.
    pub(crate) fn acquire_room(
        &self,
        inside: &Inside<'_>,
        reclaimer: &mut Reclaimer,
        bytes: u64,
        allowance: Allowance,
    ) -> Result<(), Lack> {
        while bytes > 0 && !self.room.take(bytes) {
            self.make_room(inside, reclaimer, bytes, allowance)?;
        }
        Ok(())
    }

    /// Apart from the usual lock, which is short.
    #[cold]
    pub(crate) fn lock_shared_entering(&self, slot: &SlotRef<'_>) -> Result<Mapping, Error> {
        self.lock_shared(&self.enter()?, slot)
    }

    #[cold]
    pub(crate) fn unlock_shared_entering(&self, slot: &SlotRef<'_>) -> Result<(), Error> {
        self.unlock_shared(&self.enter()?, slot)
    }

    pub(crate) fn lock_shared(
        &self,
        _inside: &Inside<'_>,
        slot: &SlotRef<'_>,
    ) -> Result<Mapping, Error> {
        let found = self.shared_in(slot)?;
        let start = found.entry.local().lock(found.member, found.handle)?;
        // What could be mapped fits the address space.
        let len_bytes = usize::try_from(slot.slot().size_bytes()).unwrap_or(0);
        Ok(Mapping { start, len_bytes })
    }

    pub(crate) fn unlock_shared(
        &self,
        _inside: &Inside<'_>,
        slot: &SlotRef<'_>,
    ) -> Result<(), Error> {
        let found = self.shared_in(slot)?;
        let mut local = found.entry.local();
        local.unlock(found.member, found.handle)
    }

    pub(crate) fn shared_locks(&self, handle: Handle) -> Result<u32, Error> {
        let _inside = self.gate.enter();
        let found = self.find_shared(handle)?;
        let mut local = found.entry.local();
        local.locks(found.member, handle)
    }

    pub(crate) fn shared_state(&self, handle: Handle) -> Result<State, Error> {
        let _inside = self.gate.enter();
        let found = self.find_shared(handle)?;
        let mut local = found.entry.local();
        local.state(found.member, handle)
    }

    /// What a shared allocation counts as: its part of the resource's charge, in bytes.
    pub(crate) fn shared_charge(&self, size_bytes: u64) -> u64 {
        size_bytes.next_multiple_of(rustix::param::page_size() as u64)
    }

    pub(crate) fn shared_backed_bytes(&self, handle: Handle) -> std::io::Result<u64> {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::NotFound);
        let _inside = self.gate.enter();
        let found = self.find_shared(handle).map_err(gone)?;
        let local = found.entry.local();
        local.backed_bytes(found.member)
    }

    pub(crate) fn shared_priority(&self, handle: Handle, priority: u32) {
        let _inside = self.gate.enter();
        if let Ok(found) = self.find_shared(handle) {
            let mut local = found.entry.local();
            local.set_class(found.member, handle, priority);
        }
    }

    /// Ends a shared allocation, and with the last one of its resource this opening of that.
    pub(crate) fn destroy_shared(&self, handle: Handle, though_locked: bool) -> Result<(), Error> {
        let found = self.find_shared(handle)?;
        let mut local = found.entry.local();
        if local.locks(found.member, handle)? > 0 && !though_locked {
            return Err(Error::Locked);
        }
        let (room_bytes, was_last) = local.end(found.member, handle)?;
        drop(local);
        if was_last {
            self.shared.remove(found.number);
            self.room.give(room_bytes);
        }
        // Only who ended the member comes here, so the slot is still its.
        Ok(self
            .table
            .destroy_shared(handle, |slot| self.retire(handle, slot))?)
    }
}
