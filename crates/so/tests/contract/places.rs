//! What the C program has seen of its allocations: where the memory was when it was last locked.
//!
//! An address is known from a lock on, and nobody says when memory has moved. What is known here is
//! therefore given up as soon as it might be wrong: a place belongs to whoever was seen there last,
//! and to nobody whose memory may be another one since.

use std::collections::BTreeMap;
use std::ops::Range;

use vidmm_contract::{GroupName, Item};

pub(crate) fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

#[derive(Debug)]
struct Known {
    size_bytes: u64,
    group: Option<GroupName>,
    place: Option<Range<u64>>,
}

/// The live allocations.
#[derive(Debug, Default)]
pub(crate) struct Places {
    items: BTreeMap<Item, Known>,
}

impl Places {
    pub(crate) fn created(&mut self, item: Item, size_bytes: u64, group: Option<GroupName>) {
        let known = Known {
            size_bytes,
            group,
            place: None,
        };
        let before = self.items.insert(item, known);
        assert!(before.is_none(), "{item:?} was given out twice");
    }

    pub(crate) fn destroyed(&mut self, item: Item) {
        self.items.remove(&item);
    }

    /// It is locked, and its memory starts here. So nobody else's is here any more.
    pub(crate) fn seen(&mut self, item: Item, start: u64) {
        let Some(known) = self.items.get(&item) else {
            return;
        };
        let place = start..start + known.size_bytes;
        for (&other, known) in &mut self.items {
            let shared = known.place.as_ref().is_some_and(|p| overlap(p, &place));
            if other == item {
                known.place = Some(place.clone());
            } else if shared {
                known.place = None;
            }
        }
    }

    /// Its memory is gone; what it has instead was not seen yet.
    pub(crate) fn lost(&mut self, item: Item) {
        if let Some(known) = self.items.get_mut(&item) {
            known.place = None;
        }
    }

    /// Where its memory was when it was seen, if it is still there for all that is known.
    pub(crate) fn place(&self, item: Item) -> Option<&Range<u64>> {
        self.items.get(&item)?.place.as_ref()
    }

    pub(crate) fn size_bytes(&self, item: Item) -> Option<u64> {
        Some(self.items.get(&item)?.size_bytes)
    }

    pub(crate) fn members(&self, group: GroupName) -> Vec<Item> {
        let of_group =
            |(&item, known): (&Item, &Known)| (known.group == Some(group)).then_some(item);
        self.items.iter().filter_map(of_group).collect()
    }
}
