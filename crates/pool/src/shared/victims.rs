//! Shared resources as victims. What the list says of one is looked at again by the claim, as of
//! any other; that it has lost its content is decided by the swap on its file's state word.

use vidmm_arena::Kernel;
use vidmm_machine::Reason;
use vidmm_table::{Class, Handle, SlotRef};

use crate::demand::Demand;
use crate::pool::Pool;
use crate::shared::entry::Local;
use crate::stats::{ClassBytes, Stats};
use crate::victims::{Key, Victims};

/// What a scan finds.
pub(crate) struct Look<'t> {
    /// Those that could be discarded.
    pub(crate) victims: Vec<SharedVictim<'t>>,
    /// Whether any is offered here. Then other processes' doings can change what may go, without a
    /// sign here, so that a list made now serves one need only.
    pub(crate) any_offered: bool,
}

/// A resource that could be discarded.
pub(crate) struct SharedVictim<'t> {
    pub(crate) number: u32,
    pub(crate) class: Class,
    /// What it would free, in bytes of charge.
    pub(crate) bytes: u64,
    /// Of its allocations, whose histories tell how dear it is.
    pub(crate) slots: Vec<SlotRef<'t>>,
}

impl<K: Kernel> Pool<K> {
    fn slots_of(&self, local: &Local) -> Vec<SlotRef<'_>> {
        let handles = local.handles();
        handles
            .filter_map(|handle| self.table.get(handle).ok())
            .collect()
    }

    pub(crate) fn look_at_shared(&self) -> Look<'_> {
        let mut look = Look {
            victims: Vec::new(),
            any_offered: false,
        };
        for (number, entry) in self.shared.all() {
            let mut local = entry.local();
            look.any_offered |= local.is_offered_and_charged();
            if let (Some(found), Ok(number)) = (local.candidate(), u32::try_from(number)) {
                look.victims.push(SharedVictim {
                    number,
                    class: found.class,
                    bytes: found.bytes,
                    slots: self.slots_of(&local),
                });
            }
        }
        look
    }

    /// Claims a shared resource if its key is due; says how much room that gave, in bytes.
    pub(crate) fn claim_shared(
        &self,
        victims: &Victims,
        number: u32,
        demand: &Demand,
        is_due: impl Fn(Key) -> bool,
    ) -> u64 {
        let Some(entry) = self.shared.get(number as usize) else {
            return 0;
        };
        let mut local = entry.local();
        let Some(found) = local.candidate() else {
            return 0;
        };
        let slots = self.slots_of(&local);
        let key = victims.key_of_shared(found.class, &slots, found.bytes);
        if !is_due(key) {
            return 0;
        }
        let Some(room_bytes) = local.discard(found) else {
            return 0;
        };
        if !found.is_stale {
            self.note_shared_discard(&local, key, found.bytes, demand);
        }
        self.room.give(room_bytes);
        room_bytes
    }

    /// A resource was discarded as one: it is remembered under its first allocation.
    fn note_shared_discard(&self, local: &Local, key: Key, bytes: u64, demand: &Demand) {
        self.counters.discarded(key.class(), demand.reason, bytes);
        if let Some(first) = local.handles().next() {
            self.memory.note(first, bytes, key, demand);
            self.record_discard(first, key.class(), bytes);
        }
    }

    /// For tests of programs: discards the resource of this allocation if it can be.
    pub(crate) fn evict_shared(&self, handle: Handle) -> u64 {
        let Ok(found) = self.find_shared(handle) else {
            return 0;
        };
        let mut local = found.entry.local();
        let Some(candidate) = local.candidate() else {
            return 0;
        };
        let Some(room_bytes) = local.discard(candidate) else {
            return 0;
        };
        if !candidate.is_stale {
            // Whatever its rank.
            let key = Key::new(candidate.class, u32::MAX);
            self.note_shared_discard(&local, key, candidate.bytes, &Reason::Trim.into());
        }
        self.room.give(room_bytes);
        room_bytes
    }

    /// Adds what is shared to the figures: each allocation, with its part of the charge.
    pub(crate) fn add_shared(&self, stats: &mut Stats) {
        for (_, entry) in self.shared.all() {
            let mut local = entry.local();
            for (index, member) in local.members().to_vec().into_iter().enumerate() {
                let Some(handle) = member.handle else {
                    continue;
                };
                let bytes = self.shared_charge(member.size_bytes);
                let locks = local.locks(index, handle).unwrap_or(0);
                let add = |to: &mut ClassBytes| to.add(bytes);
                match local.offered_class(index) {
                    None => {
                        add(&mut stats.committed);
                        if locks > 0 {
                            add(&mut stats.locked);
                        }
                    }
                    Some(_) if local.charged_bytes() == 0 => add(&mut stats.discarded_now),
                    Some(class) => {
                        if let Some(offered) = stats.offered.get_mut(class as usize) {
                            add(offered);
                        }
                    }
                }
            }
        }
    }
}
