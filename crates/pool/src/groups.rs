//! Groups (WDDM's resources): allocations that are offered, reclaimed and discarded together.
//!
//! The slots say which group they belong to; the members' order of creation is kept here, for the
//! reclaimer. Owners keep the list of their own groups and need no lock to offer or reclaim it.

use std::collections::HashMap;

use vidmm_table::Handle;

use crate::error::Error;

/// Names a group of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(pub(crate) u32);

/// Groups are numbered from 1; 31 bits, then numbers come again (those in use are passed over).
const ID_MAX: u32 = (1 << 31) - 1;

/// All groups of a pool.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    members: HashMap<u32, Vec<Handle>>,
    last_id: u32,
}

impl Groups {
    /// A new group without members.
    pub(crate) fn create(&mut self) -> GroupId {
        loop {
            self.last_id = if self.last_id >= ID_MAX {
                1
            } else {
                self.last_id + 1
            };
            if let std::collections::hash_map::Entry::Vacant(place) =
                self.members.entry(self.last_id)
            {
                place.insert(Vec::new());
                return GroupId(self.last_id);
            }
        }
    }

    pub(crate) fn exists(&self, group: GroupId) -> bool {
        self.members.contains_key(&group.0)
    }

    /// The members of a group in order of creation; none if there is no such group.
    pub(crate) fn members(&self, group: u32) -> &[Handle] {
        self.members.get(&group).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn add(&mut self, group: GroupId, member: Handle) -> Result<(), Error> {
        self.members
            .get_mut(&group.0)
            .ok_or(Error::BadGroup)?
            .push(member);
        Ok(())
    }

    /// Takes a member out, wherever it is.
    pub(crate) fn remove(&mut self, group: u32, member: Handle) {
        if let Some(members) = self.members.get_mut(&group) {
            members.retain(|&m| m != member);
        }
    }

    /// Ends a group; its former members are returned.
    pub(crate) fn destroy(&mut self, group: GroupId) -> Result<Vec<Handle>, Error> {
        self.members.remove(&group.0).ok_or(Error::BadGroup)
    }

    /// Bytes of bookkeeping, about.
    pub(crate) fn bytes(&self) -> u64 {
        let lists: usize = self
            .members
            .values()
            .map(|m| m.capacity() * size_of::<Handle>())
            .sum();
        (lists + self.members.capacity() * size_of::<(u32, Vec<Handle>)>()) as u64
    }
}
