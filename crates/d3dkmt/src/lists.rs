//! The lists that offer and reclaim work on: of allocations, as the caller has it, or of resources,
//! which stand for their members.
//!
//! Members are copied before anything else, so that the list stays what it is while others change
//! the resources. Lists as long as those of allocations can be are copied to the stack: offering and
//! reclaiming resources allocates nothing either.

use vidmm_abi::{D3DKMT_HANDLE, STATUS_NO_MEMORY};
use vidmm_pool::{GroupId, Handle, HandleList, MAX_ALLOCATIONS, Slot};

use crate::caller::{Answer, Array, INVALID, LIST_MAX};
use crate::face::Face;

/// What a call names: exactly one of the two (9.1).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named {
    Allocations(Array<D3DKMT_HANDLE>),
    Resources(Array<D3DKMT_HANDLE>),
}

/// The members of a list of resources, one resource after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'m> {
    handles: &'m [D3DKMT_HANDLE],
    /// How many members there are up to and with each resource.
    pub(crate) ends: &'m [u32],
}

impl Members<'_> {
    /// The members as handles.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.handles.iter().filter_map(|&raw| Handle::from_raw(raw))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

impl HandleList for Members<'_> {
    #[inline]
    fn count(&self) -> usize {
        self.handles.len()
    }

    #[inline]
    fn handle(&self, index: usize) -> Option<Handle> {
        self.handles.get(index).copied().and_then(Handle::from_raw)
    }

    #[inline]
    fn admits(&self, _slot: &Slot) -> bool {
        // Members are of their resource's device, which was looked at.
        true
    }

    fn count_max(&self) -> usize {
        usize::MAX
    }
}

/// A member can be destroyed after the list was copied; then it is copied again, so often at most.
const TRIES: u32 = 8;

/// Hands the members of the resources, which must all be of `device`, to `work`. If it finds that
/// one is wrong, they are looked up again: the resources themselves may be right.
pub(crate) fn with_members(
    face: &Face,
    device: D3DKMT_HANDLE,
    resources: Array<D3DKMT_HANDLE>,
    mut work: impl FnMut(Members<'_>) -> Answer,
) -> Answer {
    for _ in 1..TRIES {
        match once(face, device, resources, &mut work) {
            Err(INVALID) if has_changed(face, device, resources) => {}
            answer => return answer,
        }
    }
    once(face, device, resources, &mut work)
}

/// Whether a member that the resources have now is destroyed already: the sign that somebody is
/// changing them. (A locked or dead member is no such sign.)
fn has_changed(face: &Face, device: D3DKMT_HANDLE, resources: Array<D3DKMT_HANDLE>) -> bool {
    let mut gone = false;
    let looked = once(face, device, resources, &mut |members| {
        gone = members
            .handles()
            .any(|handle| face.pool.state(handle).is_err());
        Ok(())
    });
    looked.is_ok() && gone
}

fn once(
    face: &Face,
    device: D3DKMT_HANDLE,
    resources: Array<D3DKMT_HANDLE>,
    work: &mut impl FnMut(Members<'_>) -> Answer,
) -> Answer {
    const FEW: usize = 64;
    if resources.len() <= FEW {
        let (mut handles, mut ends) = ([0; 4 * FEW], [0; FEW]);
        if let Some(members) = copy(face, device, resources, &mut handles, &mut ends)? {
            return work(members);
        }
    }
    many(face, device, resources, work)
}

/// Apart, so that a call with few members has a small stack.
#[inline(never)]
fn many(
    face: &Face,
    device: D3DKMT_HANDLE,
    resources: Array<D3DKMT_HANDLE>,
    work: &mut impl FnMut(Members<'_>) -> Answer,
) -> Answer {
    const MANY: usize = LIST_MAX as usize;
    let (mut handles, mut ends) = ([0; MANY], [0; MANY]);
    if let Some(members) = copy(face, device, resources, &mut handles, &mut ends)? {
        return work(members);
    }
    let mut handles = Vec::new();
    for shift in 1..u32::BITS {
        // As many as can live; more are the same ones again and again.
        let len = (MANY << shift).min(MAX_ALLOCATIONS as usize);
        handles
            .try_reserve_exact(len)
            .map_err(|_| STATUS_NO_MEMORY)?;
        handles.resize(len, 0);
        if let Some(members) = copy(face, device, resources, &mut handles, &mut ends)? {
            return work(members);
        }
        if len == MAX_ALLOCATIONS as usize {
            break;
        }
    }
    Err(STATUS_NO_MEMORY)
}

/// Copies the members; `None` if they are too many for `handles`.
fn copy<'m>(
    face: &Face,
    device: D3DKMT_HANDLE,
    resources: Array<D3DKMT_HANDLE>,
    handles: &'m mut [D3DKMT_HANDLE],
    ends: &'m mut [u32],
) -> Answer<Option<Members<'m>>> {
    let mut end = 0;
    for (index, place) in ends.iter_mut().enumerate().take(resources.len()) {
        let resource = resource_of(face, device, resources.get(index).unwrap_or(0))?;
        let free = handles.get_mut(end..).unwrap_or_default();
        let free_len = free.len();
        let count = face.pool.members(resource, free).map_err(|_| INVALID)?;
        if count > free_len {
            return Ok(None);
        }
        end += count;
        *place = u32::try_from(end).unwrap_or(u32::MAX);
    }
    Ok(Some(Members {
        handles: &handles[..end],
        ends: &ends[..resources.len()],
    }))
}

/// The resource of this name, if it is of this device.
#[inline]
pub(crate) fn resource_of(
    face: &Face,
    device: D3DKMT_HANDLE,
    resource: D3DKMT_HANDLE,
) -> Answer<GroupId> {
    let resource = GroupId::from_raw(resource).ok_or(INVALID)?;
    match face.pool.device_of_group(resource) {
        Ok(owner) if owner == device && device != 0 => Ok(resource),
        _ => Err(INVALID),
    }
}

/// The members of a resource, in memory of their own.
pub(crate) fn members_of(
    face: &Face,
    resource: GroupId,
) -> Answer<impl Iterator<Item = Handle> + Clone> {
    let mut members = Vec::new();
    loop {
        let count = face
            .pool
            .members(resource, &mut members)
            .map_err(|_| INVALID)?;
        if count <= members.len() {
            members.truncate(count);
            return Ok(members.into_iter().filter_map(Handle::from_raw));
        }
        let room = count.next_power_of_two().min(MAX_ALLOCATIONS as usize);
        let more = room.saturating_sub(members.len());
        members
            .try_reserve_exact(more)
            .map_err(|_| STATUS_NO_MEMORY)?;
        members.resize(room, 0);
    }
}
