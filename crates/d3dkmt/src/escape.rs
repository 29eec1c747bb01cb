//! Escape: what testers say to the memory manager beside the calls. Four commands of the type VIDMM;
//! everything else is refused.

use std::sync::atomic::Ordering;

use vidmm_abi::{
    D3DKMT_ESCAPE, D3DKMT_ESCAPE_VIDMM, D3DKMT_HANDLE, D3DKMT_VIDMM_ESCAPE,
    D3DKMT_VIDMM_ESCAPE_EVICT, D3DKMT_VIDMM_ESCAPE_GETBUDGET, D3DKMT_VIDMM_ESCAPE_SETBUDGET,
    D3DKMT_VIDMM_ESCAPE_SETFAULT, D3DKMT_VIDMMESCAPETYPE_EVICT, D3DKMT_VIDMMESCAPETYPE_GET_BUDGET,
    D3DKMT_VIDMMESCAPETYPE_SET_BUDGET, D3DKMT_VIDMMESCAPETYPE_SETFAULT,
};
use vidmm_pool::{GroupId, Handle};

use crate::caller::{Answer, INVALID, Place};
use crate::face::{Face, refusal};
use crate::lists::members_of;
use crate::objects::Kind;

/// `data` is the private data, if they have the size of a VIDMM escape.
pub(crate) fn escape(
    face: &Face,
    asked: &D3DKMT_ESCAPE,
    data: Option<Place<D3DKMT_VIDMM_ESCAPE>>,
) -> Answer {
    let data = data.ok_or(INVALID)?;
    if asked.Type != D3DKMT_ESCAPE_VIDMM || asked.Flags.Value != 0 || asked.hContext != 0 {
        return Err(INVALID);
    }
    face.objects.require(Kind::Adapter, asked.hAdapter)?;
    if asked.hDevice != 0 {
        face.objects.require(Kind::Device, asked.hDevice)?;
    }
    let said = data.read();
    match said.Type {
        D3DKMT_VIDMMESCAPETYPE_SETFAULT => set_fault(face, said.set_fault()),
        D3DKMT_VIDMMESCAPETYPE_EVICT => evict(face, asked.hDevice, said.evict()),
        D3DKMT_VIDMMESCAPETYPE_SET_BUDGET => set_budget(face, said.set_budget()),
        D3DKMT_VIDMMESCAPETYPE_GET_BUDGET => {
            let held_bytes = face.pool.held_bytes();
            let excess = D3DKMT_VIDMM_ESCAPE_GETBUDGET {
                NumBytesToTrim: held_bytes.saturating_sub(face.pool.budget_bytes()),
            };
            data.update(|data| data.put_get_budget(excess));
            Ok(())
        }
        _ => Err(INVALID),
    }
}

/// Discard nothing that is offered, or everything at once, or (0) what has to be.
fn set_fault(face: &Face, faults: D3DKMT_VIDMM_ESCAPE_SETFAULT) -> Answer {
    use D3DKMT_VIDMM_ESCAPE_SETFAULT as Fault;
    let (never, always) = (
        faults.contains(Fault::NeverDiscardOfferedAllocation),
        faults.contains(Fault::AlwaysDiscardOfferedAllocation),
    );
    let known = Fault::NeverDiscardOfferedAllocation | Fault::AlwaysDiscardOfferedAllocation;
    if !faults.is_within(known) || never && always {
        return Err(INVALID);
    }
    face.pool.forbid_discards(never).map_err(refusal)?;
    face.set_always_discard(always);
    Ok(())
}

/// Discards what is offered of an allocation, of a resource, or of everything. What is not offered
/// stays where it is: there is nowhere else for it.
fn evict(face: &Face, device: D3DKMT_HANDLE, what: D3DKMT_VIDMM_ESCAPE_EVICT) -> Answer {
    if !what.hProcess.is_null() {
        return Err(INVALID);
    }
    let is_meant = |owner: D3DKMT_HANDLE| owner != 0 && (device == 0 || owner == device);
    match (what.AllocationHandle, what.ResourceHandle) {
        (0, 0) => {
            face.pool.trim(u64::MAX).map_err(refusal)?;
        }
        (allocation, 0) => {
            let handle = Handle::from_raw(allocation).ok_or(INVALID)?;
            if !is_meant(face.pool.device_of(handle).map_err(refusal)?) {
                return Err(INVALID);
            }
            face.pool.evict([handle]).map_err(refusal)?;
        }
        (0, resource) => {
            let resource = GroupId::from_raw(resource).ok_or(INVALID)?;
            if !is_meant(face.pool.device_of_group(resource).map_err(refusal)?) {
                return Err(INVALID);
            }
            let members = members_of(face, resource)?;
            face.pool.evict(members).map_err(refusal)?;
        }
        _ => return Err(INVALID),
    }
    Ok(())
}

fn set_budget(face: &Face, budget: D3DKMT_VIDMM_ESCAPE_SETBUDGET) -> Answer {
    face.pool
        .set_budget_bytes(budget.LocalMemoryBudget)
        .map_err(refusal)?;
    face.system_budget_bytes
        .store(budget.SystemMemoryBudget, Ordering::Relaxed);
    Ok(())
}
