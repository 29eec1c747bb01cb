//! Paging queues. Paging work is done when the call that asks for it returns, so a queue is its
//! fence: a number that counts such work.

use vidmm_abi::{
    D3DDDI_DESTROYPAGINGQUEUE, D3DDDI_PAGINGQUEUE_PRIORITY_ABOVE_NORMAL,
    D3DDDI_PAGINGQUEUE_PRIORITY_BELOW_NORMAL, D3DKMT_CREATEPAGINGQUEUE,
};

use crate::caller::{Answer, INVALID, Place};
use crate::face::Face;
use crate::objects::Kind;

pub(crate) fn create(face: &Face, args: Place<D3DKMT_CREATEPAGINGQUEUE>) -> Answer {
    let asked = args.read();
    let priorities =
        D3DDDI_PAGINGQUEUE_PRIORITY_BELOW_NORMAL..=D3DDDI_PAGINGQUEUE_PRIORITY_ABOVE_NORMAL;
    if !priorities.contains(&asked.Priority) || asked.PhysicalAdapterIndex != 0 {
        return Err(INVALID);
    }
    let _pass = face.gate.enter();
    face.objects.require(Kind::Device, asked.hDevice)?;
    let queue = face.objects.make_paging_queue(asked.hDevice)?;
    args.update(|args| {
        args.hPagingQueue = queue.handle;
        args.hSyncObject = queue.sync_object;
        args.FenceValueCPUVirtualAddress =
            std::ptr::with_exposed_provenance_mut(queue.fence_address);
    });
    Ok(())
}

pub(crate) fn destroy(face: &Face, args: Place<D3DDDI_DESTROYPAGINGQUEUE>) -> Answer {
    let _pass = face.gate.enter();
    face.objects.end_paging_queue(args.read().hPagingQueue)
}

pub(crate) fn in_child(face: &Face) {
    face.objects.part_from_parent();
}
