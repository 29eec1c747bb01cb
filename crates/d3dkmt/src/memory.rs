//! QueryVideoMemoryInfo: the budget, and what is used of it. ChangeVideoMemoryReservation.

use std::sync::atomic::Ordering;

use vidmm_abi::{
    D3DKMT_CHANGEVIDEOMEMORYRESERVATION, D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL,
    D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL, D3DKMT_QUERYVIDEOMEMORYINFO,
};

use crate::caller::{Answer, INVALID, Place};
use crate::face::{Face, refusal};
use crate::objects::Kind;

/// Offered memory claims no budget, so it is not in use (9.21).
pub(crate) fn query(face: &Face, args: Place<D3DKMT_QUERYVIDEOMEMORYINFO>) -> Answer {
    let asked = args.read();
    if !asked.hProcess.is_null() || asked.PhysicalAdapterIndex != 0 {
        return Err(INVALID);
    }
    face.objects.require(Kind::Adapter, asked.hAdapter)?;
    let (budget, usage, (reserved, available)) = match asked.MemorySegmentGroup {
        D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL => {
            let stats = face.pool.stats_now();
            let reservation = face.pool.reservation_bytes();
            (stats.budget_bytes, stats.committed.bytes, reservation)
        }
        D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL => {
            let budget = face.system_budget_bytes.load(Ordering::Relaxed);
            (budget, 0, (0, 0))
        }
        _ => return Err(INVALID),
    };
    args.update(|args| {
        args.Budget = budget;
        args.CurrentUsage = usage;
        args.CurrentReservation = reserved;
        args.AvailableForReservation = available;
    });
    Ok(())
}

/// Nothing is ever in the system segment, so nothing of it is there to be reserved.
pub(crate) fn reserve(face: &Face, asked: &D3DKMT_CHANGEVIDEOMEMORYRESERVATION) -> Answer {
    if !asked.hProcess.is_null() || asked.PhysicalAdapterIndex != 0 {
        return Err(INVALID);
    }
    face.objects.require(Kind::Adapter, asked.hAdapter)?;
    match (asked.MemorySegmentGroup, asked.Reservation) {
        (D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL, bytes) => {
            face.pool.set_reservation_bytes(bytes).map_err(refusal)
        }
        (D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL, 0) => Ok(()),
        _ => Err(INVALID),
    }
}
