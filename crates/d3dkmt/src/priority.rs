//! SetAllocationPriority: the class of what is offered AUTO (9.14).

use vidmm_abi::{D3DKMT_HANDLE, UINT};

use crate::caller::{Answer, Array, INVALID};
use crate::face::{Face, refusal};
use crate::lists::{members_of, resource_of};
use crate::lock::allocation_of;

/// All members of a resource get one priority.
pub(crate) fn of_resource(
    face: &Face,
    device: D3DKMT_HANDLE,
    resource: D3DKMT_HANDLE,
    priority: UINT,
) -> Answer {
    let resource = resource_of(face, device, resource)?;
    for member in members_of(face, resource)? {
        // One that was destroyed meanwhile needs none.
        let _ = face.pool.set_priority(member, priority);
    }
    Ok(())
}

/// Each allocation of a list gets its own.
pub(crate) fn of_allocations(
    face: &Face,
    device: D3DKMT_HANDLE,
    allocations: Array<D3DKMT_HANDLE>,
    priorities: Array<UINT>,
) -> Answer {
    let at = |index| {
        let handle = allocation_of(face, device, allocations.get(index).ok_or(INVALID)?)?;
        Ok((handle, priorities.get(index).ok_or(INVALID)?))
    };
    // All are looked at before any is changed.
    for index in 0..allocations.len() {
        at(index)?;
    }
    for index in 0..allocations.len() {
        let (handle, priority) = at(index)?;
        match face.pool.set_priority(handle, priority) {
            // Destroyed meanwhile, as if before.
            Ok(()) | Err(vidmm_pool::Error::BadHandle) => {}
            Err(error) => return Err(refusal(error)),
        }
    }
    Ok(())
}
