//! DestroyAllocation and DestroyAllocation2.

use vidmm_abi::{D3DDDICB_DESTROYALLOCATION2FLAGS, D3DKMT_HANDLE, STATUS_NO_MEMORY};
use vidmm_pool::{Error, Handle};

use crate::caller::{Answer, Array, INVALID};
use crate::face::{Face, refusal};
use crate::lists::{members_of, resource_of};
use crate::lock::allocation_of;

/// How it is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// The memory is back with the kernel when the call returns, not kept for the next allocation.
    give_back: bool,
}

impl Manner {
    /// Nothing uses an allocation when this is called, whether or not the caller says so: there is
    /// no queue of work here that could.
    pub(crate) fn of(flags: D3DDDICB_DESTROYALLOCATION2FLAGS) -> Answer<Self> {
        use D3DDDICB_DESTROYALLOCATION2FLAGS as Flags;
        match flags.is_within(Flags::AssumeNotInUse | Flags::SynchronousDestroy) {
            true => Ok(Manner {
                give_back: flags.contains(Flags::SynchronousDestroy),
            }),
            false => Err(INVALID),
        }
    }
}

/// Ends a resource with its members.
pub(crate) fn resource(
    face: &Face,
    device: D3DKMT_HANDLE,
    resource: D3DKMT_HANDLE,
    manner: Manner,
) -> Answer {
    let _pass = face.gate.enter();
    let resource = resource_of(face, device, resource)?;
    let members = members_of(face, resource)?;
    for member in members.clone() {
        require_unlocked(face, member)?;
    }
    // From here on nobody finds the resource, or adds to it.
    face.pool.destroy_group(resource).map_err(refusal)?;
    end_all(face, members, manner)
}

/// Ends the allocations of a list: all of one resource, or all of none.
pub(crate) fn allocations(
    face: &Face,
    device: D3DKMT_HANDLE,
    list: Array<D3DKMT_HANDLE>,
    manner: Manner,
) -> Answer {
    let _pass = face.gate.enter();
    if let (1, Some(raw)) = (list.len(), list.get(0)) {
        let handle = alone(face, allocation_of(face, device, raw)?)?;
        let bytes = charge_of(face, handle, manner);
        face.pool.destroy(handle).map_err(refusal)?;
        return give_back(face, bytes);
    }
    let mut handles: Vec<Handle> = Vec::new();
    handles
        .try_reserve_exact(list.len())
        .map_err(|_| STATUS_NO_MEMORY)?;
    let mut group = None;
    for index in 0..list.len() {
        let raw = list.get(index).ok_or(INVALID)?;
        let handle = alone(face, allocation_of(face, device, raw)?)?;
        require_unlocked(face, handle)?;
        let of_this = face.pool.group_of(handle).map_err(refusal)?;
        if *group.get_or_insert(of_this) != of_this {
            return Err(INVALID);
        }
        handles.push(handle);
    }
    handles.sort_unstable();
    if handles.windows(2).any(|pair| pair[0] == pair[1]) {
        // The second of them would name nothing.
        return Err(INVALID);
    }
    end_all(face, handles, manner)
}

/// Those of a shared resource end together.
fn alone(face: &Face, handle: Handle) -> Answer<Handle> {
    match face.pool.is_shared_allocation(handle) {
        true => Err(INVALID),
        false => Ok(handle),
    }
}

fn require_unlocked(face: &Face, handle: Handle) -> Answer {
    match face.pool.locks(handle) {
        Ok(0) => Ok(()),
        _ => Err(INVALID),
    }
}

/// What of an allocation's memory is to go back to the kernel.
fn charge_of(face: &Face, handle: Handle, manner: Manner) -> u64 {
    match manner.give_back {
        true => face.pool.charge_bytes(handle).unwrap_or(0),
        false => 0,
    }
}

/// Ends what was found to be in order. One that another thread has locked or destroyed since is
/// treated as if that had come first (2.7).
fn end_all(face: &Face, handles: impl IntoIterator<Item = Handle>, manner: Manner) -> Answer {
    let mut bytes = 0;
    for handle in handles {
        let charge_bytes = charge_of(face, handle, manner);
        match face.pool.destroy(handle) {
            Ok(()) => bytes += charge_bytes,
            Err(Error::Locked | Error::BadHandle) => {}
            Err(error) => return Err(refusal(error)),
        }
    }
    give_back(face, bytes)
}

fn give_back(face: &Face, bytes: u64) -> Answer {
    if bytes > 0 {
        face.pool.return_unused(bytes).map_err(refusal)?;
    }
    Ok(())
}
