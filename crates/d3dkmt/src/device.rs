//! Devices: what allocations, resources and paging queues belong to.

use vidmm_abi::{D3DKMT_CREATEDEVICE, D3DKMT_CREATEDEVICEFLAGS, D3DKMT_DESTROYDEVICE};

use crate::caller::{Answer, INVALID, Place};
use crate::face::{Face, refusal};
use crate::notices;
use crate::objects::Kind;

pub(crate) fn create(face: &Face, args: Place<D3DKMT_CREATEDEVICE>) -> Answer {
    let asked = args.read();
    // Nothing here times out, so that flag is met.
    if !asked
        .Flags
        .is_within(D3DKMT_CREATEDEVICEFLAGS::DisableGpuTimeout)
    {
        return Err(INVALID);
    }
    let _pass = face.gate.enter();
    face.objects.require(Kind::Adapter, asked.hAdapter)?;
    let device = face.objects.make(Kind::Device)?;
    args.update(|args| {
        args.hDevice = device;
        args.pCommandBuffer = std::ptr::null_mut();
        args.CommandBufferSize = 0;
        args.pAllocationList = std::ptr::null_mut();
        args.AllocationListSize = 0;
        args.pPatchLocationList = std::ptr::null_mut();
        args.PatchLocationListSize = 0;
    });
    Ok(())
}

/// Everything on the device goes with it, locked and offered or not (9.18).
pub(crate) fn destroy(face: &Face, args: Place<D3DKMT_DESTROYDEVICE>) -> Answer {
    let device = args.read().hDevice;
    {
        // Alone: whoever was creating something on the device is done, and nobody begins.
        let _alone = face.gate.close();
        face.objects.end(Kind::Device, device)?;
    }
    let (ended, answer) = {
        let _pass = face.gate.enter();
        face.objects.end_all_of(device);
        let ended = notices::end_all_of(face, device);
        (ended, face.pool.destroy_device(device).map_err(refusal))
    };
    notices::wait_for(face, ended);
    answer
}
