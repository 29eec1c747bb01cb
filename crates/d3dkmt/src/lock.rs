//! Lock2 and Unlock2. But for the first lock of new memory they take no lock and make no system
//! call.

use vidmm_abi::{D3DKMT_HANDLE, D3DKMT_LOCK2, D3DKMT_UNLOCK2};
use vidmm_pool::Handle;

use crate::caller::{Answer, INVALID, Place};
use crate::face::{Face, refusal};

/// The allocation of this name, if it is of this device.
#[inline]
pub(crate) fn allocation_of(
    face: &Face,
    device: D3DKMT_HANDLE,
    allocation: D3DKMT_HANDLE,
) -> Answer<Handle> {
    let handle = Handle::from_raw(allocation).ok_or(INVALID)?;
    match face.pool.device_of(handle) {
        Ok(owner) if owner == device && device != 0 => Ok(handle),
        _ => Err(INVALID),
    }
}

#[inline]
pub(crate) fn lock(face: &Face, args: Place<D3DKMT_LOCK2>) -> Answer {
    let asked = args.read();
    if asked.Flags.Value != 0 {
        return Err(INVALID);
    }
    let handle = allocation_of(face, asked.hDevice, asked.hAllocation)?;
    let mapping = face.pool.lock(handle).map_err(refusal)?;
    args.update(|args| args.pData = mapping.start.as_ptr().cast());
    Ok(())
}

#[inline]
pub(crate) fn unlock(face: &Face, args: Place<D3DKMT_UNLOCK2>) -> Answer {
    let asked = args.read();
    let handle = allocation_of(face, asked.hDevice, asked.hAllocation)?;
    face.pool.unlock(handle).map_err(refusal)
}
