//! Lock2 and Unlock2. But for the first lock of new memory they take no lock and make no system
//! call.

use vidmm_abi::{D3DKMT_HANDLE, D3DKMT_LOCK2, D3DKMT_UNLOCK2};
use vidmm_pool::Handle;

use crate::caller::{Answer, INVALID, Place};
use crate::face::{Face, refusal};

/// The allocation of this name, if it is of this device.
pub(crate) fn allocation_of(
    face: &Face,
    device: D3DKMT_HANDLE,
    allocation: D3DKMT_HANDLE,
) -> Answer<Handle> {
    let (handle, device) = named(allocation, device)?;
    match face.pool.device_of(handle) {
        Ok(owner) if owner == device => Ok(handle),
        _ => Err(INVALID),
    }
}

#[inline]
pub(crate) fn lock(face: &Face, args: Place<D3DKMT_LOCK2>) -> Answer {
    let asked = args.read();
    if asked.Flags.Value != 0 {
        return Err(INVALID);
    }
    let (handle, device) = named(asked.hAllocation, asked.hDevice)?;
    let mapping = face.pool.lock_of(handle, device).map_err(refusal)?;
    args.update(|args| args.pData = mapping.start.as_ptr().cast());
    Ok(())
}

#[inline]
pub(crate) fn unlock(face: &Face, args: Place<D3DKMT_UNLOCK2>) -> Answer {
    let asked = args.read();
    let (handle, device) = named(asked.hAllocation, asked.hDevice)?;
    face.pool.unlock_of(handle, device).map_err(refusal)
}

/// Names that something could have. Allocations of no device are not to be had by C.
#[inline]
fn named(allocation: D3DKMT_HANDLE, device: D3DKMT_HANDLE) -> Answer<(Handle, D3DKMT_HANDLE)> {
    match (Handle::from_raw(allocation), device) {
        (None, _) | (_, 0) => Err(INVALID),
        (Some(handle), device) => Ok((handle, device)),
    }
}
