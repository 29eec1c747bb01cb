//! Shared resources: allocations whose memory is a file that other processes have open too.
//!
//! They are allocations like any other - slots with handles, members of a group - but what they are
//! stands in an [`entry::Entry`], since all of a resource is discarded as one, and only when every
//! opener has offered it. Their slots are in a state that no fast path knows, so each call on one
//! takes the slow way and comes here, at no cost to all others.
//!
//! Each opening is charged the whole size for as long as it is open and, as far as this process
//! knows, not discarded.

mod calls;
mod entry;
mod lists;
mod victims;

use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError, RwLock};

use vidmm_arena::{Extent, Kernel};
use vidmm_shared::{About, Opening};
use vidmm_table::{Handle, PRIORITY_NORMAL, ResourceId as GroupId, SlotRef};

use crate::error::Error;
use crate::joined::Lack;
use crate::pool::{Pool, Request};
use crate::room::Room;
use entry::{Entry, Member};
pub(crate) use victims::Look;

/// What is known of one allocation of a resource that is to be shared, beside its size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharedHint {
    /// The allocation priority.
    pub priority: u32,
    /// What rebuilding the content costs, in nanoseconds; 0 is unknown.
    pub rebuild_cost_ns: f32,
}

impl Default for SharedHint {
    fn default() -> Self {
        SharedHint {
            priority: PRIORITY_NORMAL,
            rebuild_cost_ns: 0.0,
        }
    }
}

/// A shared resource that was just made or opened.
#[derive(Debug, Clone)]
pub struct SharedGroup {
    /// The group of its allocations.
    pub group: GroupId,
    /// They, in order.
    pub handles: Vec<Handle>,
}

/// All shared resources that a pool has open, by number.
#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<Vec<Option<Arc<Entry>>>>);

/// An extent word names an entry and one of its members as if that were an address.
const MEMBER_BITS: u32 = 16;
const _: () = assert!(vidmm_shared::MEMBERS_MAX <= 1 << MEMBER_BITS);

fn extent_of(number: usize, member: usize) -> Option<Extent> {
    let name = NonZeroUsize::new((number + 1) << MEMBER_BITS | member)?;
    Extent::foreign(NonNull::without_provenance(name))
}

impl Registry {
    fn add(&self, entry: Arc<Entry>) -> usize {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match entries.iter().position(Option::is_none) {
            Some(free) => {
                entries[free] = Some(entry);
                free
            }
            None => {
                entries.push(Some(entry));
                entries.len() - 1
            }
        }
    }

    fn remove(&self, number: usize) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(number) {
            *entry = None;
        }
    }

    fn get(&self, number: usize) -> Option<Arc<Entry>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(number)?.clone()
    }

    /// All of them, with their numbers.
    fn all(&self) -> Vec<(usize, Arc<Entry>)> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let numbered = entries.iter().enumerate();
        numbered
            .filter_map(|(number, entry)| Some((number, Arc::clone(entry.as_ref()?))))
            .collect()
    }

    /// In a child made by `fork`: none of them came along. Inside the closed gate, so that nobody
    /// is at an entry.
    pub(crate) fn in_child(&self, room: &Room) {
        for (_, entry) in self.all() {
            room.give(entry.local().close());
        }
    }
}

/// A shared allocation: its resource, and which it is there.
pub(crate) struct Found {
    entry: Arc<Entry>,
    number: usize,
    member: usize,
    handle: Handle,
}

impl<K: Kernel> Pool<K> {
    /// The shared allocation that `handle` names.
    pub(crate) fn find_shared(&self, handle: Handle) -> Result<Found, Error> {
        self.shared_in(&self.table.get(handle)?)
    }

    /// The shared allocation in this slot.
    pub(crate) fn shared_in(&self, slot: &SlotRef<'_>) -> Result<Found, Error> {
        let word = slot.shared().ok_or(Error::BadHandle)?;
        let name = self.arena.address(Extent::from_word(word.0)).addr().get();
        let number = (name >> MEMBER_BITS)
            .checked_sub(1)
            .ok_or(Error::BadHandle)?;
        let member = name & ((1 << MEMBER_BITS) - 1);
        let entry = self.shared.get(number).ok_or(Error::BadHandle)?;
        // It may have ended since, and the number be another's.
        let handle = entry.local().members().get(member).and_then(|m| m.handle);
        let handle = handle.ok_or(Error::BadHandle)?;
        match std::ptr::eq(self.table.get(handle)?.slot(), slot.slot()) {
            true => Ok(Found {
                entry,
                number,
                member,
                handle,
            }),
            false => Err(Error::BadHandle),
        }
    }

    /// Makes a resource that other processes can open, of allocations that read as zero. They are
    /// offered, reclaimed, locked and destroyed like any others, by this process for itself; the
    /// content is discarded, as a whole, only while every process that has it open has offered all
    /// of it. `hints` are those of the first allocations.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::Shared`] for sizes, counts and data beyond the limits and
    /// whatever keeps the file from being made; [`Error::TableFull`], [`Error::TooManyGroups`].
    pub fn create_shared(
        &self,
        about: &About,
        hints: &[SharedHint],
        device: u32,
    ) -> Result<SharedGroup, Error> {
        let charge_bytes = about.charge_bytes()?;
        self.join(about, hints, device, charge_bytes, || {
            let (opening, look) = Opening::create(about, self.options.include_in_core_dumps)?;
            Ok((opening, look, None))
        })
        .map(|(made, _)| made)
    }

    /// Opens the resource behind `descriptor`, which stays the caller's. Offered or not, nothing is
    /// reclaimed by that; the new opener counts as one that has not offered it. If the content was
    /// discarded and nobody has been told so yet, this opener's first reclaim of each allocation
    /// says it, offered or not.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::Shared`] for whatever keeps it from being opened;
    /// [`Error::TableFull`], [`Error::TooManyGroups`].
    pub fn open_shared(
        &self,
        descriptor: BorrowedFd<'_>,
        device: u32,
    ) -> Result<(SharedGroup, About), Error> {
        let about = Opening::about(descriptor)?;
        let charge_bytes = about.charge_bytes()?;
        self.join(&about, &[], device, charge_bytes, || {
            let (opening, look, about) =
                Opening::open(descriptor, self.options.include_in_core_dumps)?;
            Ok((opening, look, Some(about)))
        })
    }

    fn join(
        &self,
        about: &About,
        hints: &[SharedHint],
        device: u32,
        charge_bytes: u64,
        open: impl FnOnce() -> Result<(Opening, vidmm_shared::Look, Option<About>), vidmm_shared::Error>,
    ) -> Result<(SharedGroup, About), Error> {
        if charge_bytes > self.ceiling_bytes() {
            return Err(self.no_memory(charge_bytes));
        }
        let mut open = Some(open);
        self.with_credit(|inside, allowance| {
            // Before it may be touched.
            self.acquire_room(inside, &mut self.reclaimer(), charge_bytes, allowance)?;
            // Once: what follows has the room, and is not tried again.
            let open = open.take().ok_or(Error::BadHandle)?;
            self.join_with_room(about, hints, device, charge_bytes, open)
                .map_err(Lack::Never)
        })
    }

    /// As [`Pool::join`], by a caller that has taken the room.
    fn join_with_room(
        &self,
        about: &About,
        hints: &[SharedHint],
        device: u32,
        charge_bytes: u64,
        open: impl FnOnce() -> Result<(Opening, vidmm_shared::Look, Option<About>), vidmm_shared::Error>,
    ) -> Result<(SharedGroup, About), Error> {
        let opened = open().and_then(|(opening, look, found)| {
            // What was read first must be what is there now: the room was taken for it.
            let about = found.unwrap_or_else(|| about.clone());
            if opening.charge_bytes() != charge_bytes {
                return Err(vidmm_shared::Error::Damaged);
            }
            let map = opening.map(look.generation())?;
            Ok((opening, look, map, about))
        });
        let (opening, look, map, about) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.room.give(charge_bytes);
                return Err(error.into());
            }
        };
        let members = about.members.iter();
        let members = members
            .map(|member| Member::new(member.size_bytes, look.is_lost()))
            .collect();
        let entry = Arc::new(Entry::new(opening, look.generation(), map, members));
        let number = self.shared.add(Arc::clone(&entry));
        let made = self.name_all(number, &entry, &about, hints, device);
        if made.is_err() {
            self.shared.remove(number);
            self.room.give(entry.local().close());
        }
        Ok((made?, about))
    }

    /// Gives the allocations of a resource their slots, or none.
    fn name_all(
        &self,
        number: usize,
        entry: &Entry,
        about: &About,
        hints: &[SharedHint],
        device: u32,
    ) -> Result<SharedGroup, Error> {
        let group = self.table.resources().create(device)?;
        let mut handles = Vec::with_capacity(about.members.len());
        for (index, member) in about.members.iter().enumerate() {
            let hint = hints.get(index).copied().unwrap_or_default();
            let request = Request {
                size_bytes: member.size_bytes,
                align_bytes: 0,
                allow_not_zeroed: true,
                priority: hint.priority,
                rebuild_cost_ns: hint.rebuild_cost_ns,
                group: Some(group),
                device,
            };
            let extent = extent_of(number, index).ok_or(Error::TableFull);
            let made = extent.and_then(|extent| self.create_on(extent, &request));
            let made = made.and_then(|handle| {
                entry.local().name(index, handle);
                self.table.get(handle)?.make_shared()?;
                Ok(handle)
            });
            match made {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    let named: Vec<Handle> = entry.local().handles().collect();
                    for handle in named {
                        let note = |slot: &vidmm_table::Slot| self.retire(handle, slot);
                        if self.table.destroy_shared(handle, note).is_err() {
                            let note = |slot: &vidmm_table::Slot| self.retire(handle, slot);
                            let _ = self.table.destroy_noting(handle, note);
                        }
                    }
                    let _ = self.table.resources().destroy(group, |_| {});
                    return Err(error);
                }
            }
        }
        Ok(SharedGroup { group, handles })
    }

    /// Whether a group is a shared resource.
    #[must_use]
    pub fn is_shared(&self, group: GroupId) -> bool {
        let _inside = self.gate.enter();
        self.shared_entry(group).is_ok()
    }

    /// Whether an allocation is one of a shared resource.
    #[must_use]
    pub fn is_shared_allocation(&self, handle: Handle) -> bool {
        let _inside = self.gate.enter();
        self.find_shared(handle).is_ok()
    }

    fn shared_entry(&self, group: GroupId) -> Result<Arc<Entry>, Error> {
        let mut first = [0];
        self.members(group, &mut first)?;
        let handle = Handle::from_raw(first[0]).ok_or(Error::BadGroup)?;
        let found = self.find_shared(handle).map_err(|_| Error::BadGroup)?;
        Ok(found.entry)
    }

    /// A descriptor by which another process can open a shared resource: to be sent over a Unix
    /// socket, or inherited. It keeps the memory from going back to the kernel when all openers are
    /// gone.
    ///
    /// # Errors
    /// [`Error::BadGroup`] if the group is none; [`Error::Shared`]; [`Error::NotInChild`].
    pub fn share(&self, group: GroupId) -> Result<OwnedFd, Error> {
        let _inside = self.enter()?;
        let entry = self.shared_entry(group)?;
        let local = entry.local();
        Ok(local.opening()?.descriptor()?)
    }
}

/// What a shared resource says of itself; nobody opens it by that.
///
/// # Errors
/// As [`Pool::open_shared`], but for memory.
pub fn about_shared(descriptor: BorrowedFd<'_>) -> Result<About, Error> {
    Ok(Opening::about(descriptor)?)
}
