//! QueryVideoMemoryInfo: the budget, and what is used of it.

use std::sync::atomic::Ordering;

use vidmm_abi::{
    D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL, D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL,
    D3DKMT_QUERYVIDEOMEMORYINFO,
};

use crate::caller::{Answer, INVALID, Place};
use crate::face::Face;
use crate::objects::Kind;

/// Offered memory claims no budget, so it is not in use (9.21). Nothing can be reserved yet.
pub(crate) fn query(face: &Face, args: Place<D3DKMT_QUERYVIDEOMEMORYINFO>) -> Answer {
    let asked = args.read();
    if !asked.hProcess.is_null() || asked.PhysicalAdapterIndex != 0 {
        return Err(INVALID);
    }
    face.objects.require(Kind::Adapter, asked.hAdapter)?;
    let (budget, usage) = match asked.MemorySegmentGroup {
        D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL => {
            let stats = face.pool.stats_now();
            (stats.budget_bytes, stats.committed.bytes)
        }
        D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL => {
            (face.system_budget_bytes.load(Ordering::Relaxed), 0)
        }
        _ => return Err(INVALID),
    };
    args.update(|args| {
        args.Budget = budget;
        args.CurrentUsage = usage;
        args.CurrentReservation = 0;
        args.AvailableForReservation = 0;
    });
    Ok(())
}
