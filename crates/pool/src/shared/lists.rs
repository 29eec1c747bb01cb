//! Shared allocations in a list that is reclaimed: held at once, so that nothing of them is taken
//! for the rest of the list, and settled when the room for all is there.

use std::sync::Arc;

use vidmm_arena::Kernel;
use vidmm_table::Handle;

use crate::batch::HandleList;
use crate::error::Error;
use crate::pool::{Outcome, Pool};
use crate::shared::Found;

/// The shared allocations of a list, held.
#[derive(Default)]
pub(crate) struct Begun {
    items: Vec<Item>,
    /// The room that they need in all, in bytes.
    pub(crate) wanted_bytes: u64,
}

struct Item {
    found: Found,
    room_bytes: u64,
}

impl<K: Kernel> Pool<K> {
    /// Holds those of the items at `lost` that are shared; each is named once.
    pub(crate) fn begin_shared<L: HandleList + ?Sized>(
        &self,
        list: &L,
        lost: &[usize],
    ) -> Result<Begun, Error> {
        let mut begun = Begun::default();
        for &index in lost {
            // One that was destroyed meanwhile is as if it had been before.
            let found = list.handle(index).map(|handle| self.find_shared(handle));
            let Some(Ok(found)) = found else { continue };
            let answer = found.entry.local().begin(found.member, found.handle);
            let room_bytes = match answer {
                // Asked for already, by another allocation of the same resource.
                Ok(_) if begun.has(&found) => 0,
                Ok(bytes) => bytes,
                Err(Error::BadHandle) => continue,
                Err(error) => {
                    begun.cancel();
                    return Err(error);
                }
            };
            begun.wanted_bytes += room_bytes;
            begun.items.push(Item { found, room_bytes });
        }
        Ok(begun)
    }

    /// Settles what was held, with the room that was wanted; says what became of each.
    pub(crate) fn finish_shared(&self, begun: Begun) -> Vec<(Handle, Outcome)> {
        let finish = |item: Item| {
            let Item { found, room_bytes } = item;
            let mut local = found.entry.local();
            let (outcome, spare) = local.finish(found.member, found.handle, room_bytes);
            drop(local);
            self.room.give(spare);
            (found.handle, outcome)
        };
        let mut outcomes: Vec<_> = begun.items.into_iter().map(finish).collect();
        outcomes.sort_unstable_by_key(|(handle, _)| *handle);
        outcomes
    }
}

impl Begun {
    fn has(&self, found: &Found) -> bool {
        let mut entries = self.items.iter().map(|item| &item.found.entry);
        entries.any(|entry| Arc::ptr_eq(entry, &found.entry))
    }

    /// Leaves everything as it was.
    pub(crate) fn cancel(self) {
        for item in self.items {
            item.found.entry.local().cancel();
        }
    }
}
