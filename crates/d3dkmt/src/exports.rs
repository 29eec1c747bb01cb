//! The functions as C calls them. Each reads its structure, hands it to the room that does the work
//! and answers with a status; what each does is in `docs/d3dkmt/`.
//!
//! # Safety
//!
//! The same for all of them: the address of the structure, and the addresses in it that the call
//! uses, are NULL or those of memory as the structure's documentation says, which nobody else
//! writes during the call. (Misaligned addresses are refused.) They can be called from any thread,
//! at any time, and never unwind.
#![allow(unsafe_code)]
#![allow(
    non_snake_case,
    clippy::missing_safety_doc,
    reason = "the names are those of the Windows headers; the module's page has the contract of all"
)]

use core::ffi::c_void;

use vidmm_abi::{
    D3DDDI_ALLOCATIONINFO, D3DDDI_ALLOCATIONINFO2, D3DDDI_ALLOCATIONINFO2_FLAGS,
    D3DDDI_DESTROYPAGINGQUEUE, D3DDDICB_DESTROYALLOCATION2FLAGS, D3DKMT_ADAPTERINFO,
    D3DKMT_CLOSEADAPTER, D3DKMT_CREATEALLOCATION, D3DKMT_CREATEDEVICE, D3DKMT_CREATEPAGINGQUEUE,
    D3DKMT_DESTROYALLOCATION, D3DKMT_DESTROYALLOCATION2, D3DKMT_DESTROYDEVICE,
    D3DKMT_ENUMADAPTERS2, D3DKMT_ENUMADAPTERS3, D3DKMT_ESCAPE, D3DKMT_HANDLE, D3DKMT_LOCK2,
    D3DKMT_OFFERALLOCATIONS, D3DKMT_OPENADAPTERFROMLUID, D3DKMT_OPENRESOURCEFROMNTHANDLE,
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE, D3DKMT_QUERYVIDEOMEMORYINFO, D3DKMT_RECLAIMALLOCATIONS,
    D3DKMT_RECLAIMALLOCATIONS2, D3DKMT_SETALLOCATIONPRIORITY, D3DKMT_UNLOCK2, D3DKMT_VIDMM_ESCAPE,
    DWORD, HANDLE, NTSTATUS, STATUS_SUCCESS, UINT, VOID,
};

use crate::caller::{
    Answer, Array, INVALID, LIST_MAX, Place, Room, copied, descriptor, private_data,
};
use crate::create::{Info, Infos};
use crate::destroy::Manner;
use crate::face::{Face, guarded, status};
use crate::lists::Named;
use crate::reclaim::Results;
use crate::share::{Kept, Rooms};
use crate::{
    adapter, create, destroy, device, escape, lock, memory, offer, paging, priority, reclaim,
    share, shortcut,
};

/// The structure at the address that C passed.
macro_rules! place {
    ($address:expr) => {
        // SAFETY: the contract of the function: NULL, misaligned, or there.
        unsafe { Place::new($address) }
    };
}

/// An array of C's, if there is one.
macro_rules! array {
    ($address:expr, $len:expr) => {
        if $address.is_null() {
            Ok(None)
        } else {
            // SAFETY: the contract of the function: an array of this length, or misaligned.
            unsafe { Array::new($address, $len) }.map(Some)
        }
    };
}

/// Room of C's for bytes.
macro_rules! room {
    ($address:expr, $size:expr) => {
        // SAFETY: the contract of the function: NULL, or so many bytes.
        unsafe { Room::new($address, $size) }
    };
}

/// Exactly one of two arrays, of 1 to 10,240 items (9.1).
macro_rules! named {
    ($resources:expr, $allocations:expr, $count:expr) => {
        match (array!($resources, $count), array!($allocations, $count)) {
            _ if $count == 0 || $count > LIST_MAX => Err(INVALID),
            (Ok(None), Ok(Some(allocations))) => Ok(Named::Allocations(allocations)),
            (Ok(Some(resources)), Ok(None)) => Ok(Named::Resources(resources)),
            _ => Err(INVALID),
        }
    };
}

mod budget;

pub use budget::*;

/// `D3DKMTEnumAdapters2`: finds the adapters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTEnumAdapters2(args: *const D3DKMT_ENUMADAPTERS2) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let first = optional(args.read().pAdapters)?;
        adapter::enumerate(face, args, first)
    })
}

/// `D3DKMTEnumAdapters3`: finds the adapters of some kinds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTEnumAdapters3(args: *mut D3DKMT_ENUMADAPTERS3) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let first = optional(args.read().pAdapters)?;
        adapter::enumerate_filtered(face, args, first)
    })
}

fn optional(adapters: *mut D3DKMT_ADAPTERINFO) -> Answer<Option<Place<D3DKMT_ADAPTERINFO>>> {
    match adapters.is_null() {
        true => Ok(None),
        false => Ok(Some(place!(adapters)?)),
    }
}

/// `D3DKMTOpenAdapterFromLuid`: opens the adapter with a LUID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTOpenAdapterFromLuid(
    args: *const D3DKMT_OPENADAPTERFROMLUID,
) -> NTSTATUS {
    guarded(|| adapter::open(Face::get()?, place!(args)?))
}

/// `D3DKMTCloseAdapter`: closes a handle of an adapter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTCloseAdapter(args: *const D3DKMT_CLOSEADAPTER) -> NTSTATUS {
    guarded(|| adapter::close(Face::get()?, place!(args)?))
}

/// `D3DKMTCreateDevice`: makes a device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTCreateDevice(args: *mut D3DKMT_CREATEDEVICE) -> NTSTATUS {
    guarded(|| device::create(Face::get()?, place!(args)?))
}

/// `D3DKMTDestroyDevice`: ends a device and everything that belongs to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTDestroyDevice(args: *const D3DKMT_DESTROYDEVICE) -> NTSTATUS {
    guarded(|| device::destroy(Face::get()?, place!(args)?))
}

/// `D3DKMTCreatePagingQueue`: makes a paging queue with its fence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTCreatePagingQueue(args: *mut D3DKMT_CREATEPAGINGQUEUE) -> NTSTATUS {
    guarded(|| paging::create(Face::get()?, place!(args)?))
}

/// `D3DKMTDestroyPagingQueue`: ends a paging queue and its fence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTDestroyPagingQueue(
    args: *mut D3DDDI_DESTROYPAGINGQUEUE,
) -> NTSTATUS {
    guarded(|| paging::destroy(Face::get()?, place!(args)?))
}

/// `D3DKMTCreateAllocation`: makes allocations, each told by a `D3DDDI_ALLOCATIONINFO`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTCreateAllocation(args: *mut D3DKMT_CREATEALLOCATION) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let asked = args.read();
        let infos = array!(asked.pAllocationInfo, asked.NumAllocations)?;
        create_with(face, args, infos.map(Infos1).as_ref())
    })
}

/// `D3DKMTCreateAllocation2`: makes allocations, each told by a `D3DDDI_ALLOCATIONINFO2`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTCreateAllocation2(args: *mut D3DKMT_CREATEALLOCATION) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let asked = args.read();
        let infos = asked.pAllocationInfo.cast::<D3DDDI_ALLOCATIONINFO2>();
        let infos = array!(infos, asked.NumAllocations)?;
        create_with(face, args, infos.map(Infos2).as_ref())
    })
}

fn create_with(
    face: &Face,
    args: Place<D3DKMT_CREATEALLOCATION>,
    infos: Option<&impl Infos>,
) -> Answer {
    use vidmm_abi::D3DKMT_CREATEALLOCATIONFLAGS as Flags;
    let asked = args.read();
    let standard = match asked.Flags.contains(Flags::StandardAllocation) {
        true => Some(place!(asked.pPrivateDriverData.cast())?.read()),
        false => None,
    };
    // Read only where they are kept for others, and not more than that.
    let kept = || {
        // SAFETY: the contract of the function: NULL, or so many bytes.
        let runtime_data =
            unsafe { copied(asked.pPrivateRuntimeData, asked.PrivateRuntimeDataSize) };
        // SAFETY: as above.
        let driver_data = unsafe { copied(asked.pPrivateDriverData, asked.PrivateDriverDataSize) };
        Ok(Kept {
            runtime_data: runtime_data?,
            driver_data: driver_data?,
        })
    };
    create::create(face, args, infos, standard, kept)
}

/// The infos of version 1.
struct Infos1(Array<D3DDDI_ALLOCATIONINFO>);

impl Infos for Infos1 {
    fn get(&self, index: usize) -> Option<Info> {
        let info = self.0.get(index)?;
        Some(Info {
            system_memory: info.pSystemMem,
            data: data_of(info.pPrivateDriverData, info.PrivateDriverDataSize),
            data_size_bytes: info.PrivateDriverDataSize,
            source_id: info.VidPnSourceId,
            // `Primary` and `Stereo` are about screens.
            other_flags: info.Flags.Value,
            priority: None,
        })
    }

    fn answer(&self, index: usize, allocation: D3DKMT_HANDLE) {
        self.0.update(index, |info| info.hAllocation = allocation);
    }
}

/// The infos of version 2.
struct Infos2(Array<D3DDDI_ALLOCATIONINFO2>);

impl Infos for Infos2 {
    fn get(&self, index: usize) -> Option<Info> {
        let info = self.0.get(index)?;
        let with_priority = D3DDDI_ALLOCATIONINFO2_FLAGS::OverridePriority;
        Some(Info {
            system_memory: info.pSystemMem,
            data: data_of(info.pPrivateDriverData, info.PrivateDriverDataSize),
            data_size_bytes: info.PrivateDriverDataSize,
            source_id: info.VidPnSourceId,
            other_flags: info.Flags.Value & !with_priority,
            priority: info.Flags.contains(with_priority).then_some(info.Priority),
        })
    }

    fn answer(&self, index: usize, allocation: D3DKMT_HANDLE) {
        self.0.update(index, |info| info.hAllocation = allocation);
    }
}

fn data_of(address: *const c_void, size_bytes: UINT) -> Option<vidmm_abi::VIDMM_ALLOCATION_DATA> {
    // SAFETY: the contract of the function: NULL, or so many bytes; any bytes are such data.
    unsafe { private_data(address, size_bytes) }
}

/// `D3DKMTDestroyAllocation`: ends allocations, or a resource with its members.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTDestroyAllocation(
    args: *const D3DKMT_DESTROYALLOCATION,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let asked = place!(args)?.read();
        let asked = D3DKMT_DESTROYALLOCATION2 {
            hDevice: asked.hDevice,
            hResource: asked.hResource,
            phAllocationList: asked.phAllocationList,
            AllocationCount: asked.AllocationCount,
            Flags: D3DDDICB_DESTROYALLOCATION2FLAGS::default(),
        };
        destroy_with(face, &asked)
    })
}

/// `D3DKMTDestroyAllocation2`: ends allocations, or a resource with its members, as flags say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTDestroyAllocation2(
    args: *const D3DKMT_DESTROYALLOCATION2,
) -> NTSTATUS {
    guarded(|| destroy_with(Face::get()?, &place!(args)?.read()))
}

fn destroy_with(face: &Face, asked: &D3DKMT_DESTROYALLOCATION2) -> Answer {
    let manner = Manner::of(asked.Flags)?;
    let (device, count) = (asked.hDevice, asked.AllocationCount);
    match (asked.hResource, array!(asked.phAllocationList, count)?) {
        (0, Some(list)) if (1..=LIST_MAX).contains(&count) => {
            destroy::allocations(face, device, list, manner)
        }
        (resource, None) if resource != 0 && count == 0 => {
            destroy::resource(face, device, resource, manner)
        }
        _ => Err(INVALID),
    }
}

/// `D3DKMTShareObjects`: gives a descriptor by which other processes can open a resource.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTShareObjects(
    cObjects: UINT,
    hObjects: *const D3DKMT_HANDLE,
    pObjectAttributes: *mut VOID,
    dwDesiredAccess: DWORD,
    phSharedNtHandle: *mut HANDLE,
) -> NTSTATUS {
    // Whoever has the descriptor can do everything.
    let _ = (pObjectAttributes, dwDesiredAccess);
    guarded(|| {
        let face = Face::get()?;
        if cObjects != 1 {
            return Err(INVALID);
        }
        let object = place!(hObjects)?.read();
        share::share(face, object, place!(phSharedNtHandle)?)
    })
}

/// `D3DKMTQueryResourceInfoFromNtHandle`: asks what there is behind a descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTQueryResourceInfoFromNtHandle(
    args: *mut D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let asked = args.read();
        let runtime_data = room!(asked.pPrivateRuntimeData, asked.PrivateRuntimeDataSize);
        // SAFETY: the contract of the function: nobody closes it during the call.
        let descriptor = unsafe { descriptor(asked.hNtHandle) }?;
        share::query(face, args, descriptor, runtime_data)
    })
}

/// `D3DKMTOpenResourceFromNtHandle`: opens a shared resource.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTOpenResourceFromNtHandle(
    args: *mut D3DKMT_OPENRESOURCEFROMNTHANDLE,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let asked = args.read();
        let rooms = Rooms {
            infos: array!(asked.pOpenAllocationInfo2, asked.NumAllocations)?.ok_or(INVALID)?,
            runtime_data: room!(asked.pPrivateRuntimeData, asked.PrivateRuntimeDataSize),
            driver_data: room!(
                asked.pResourcePrivateDriverData,
                asked.ResourcePrivateDriverDataSize
            ),
            members_data: room!(
                asked.pTotalPrivateDriverDataBuffer,
                asked.TotalPrivateDriverDataBufferSize
            ),
        };
        // SAFETY: as of the query.
        let descriptor = unsafe { descriptor(asked.hNtHandle) }?;
        share::open(face, args, descriptor, rooms)
    })
}

/// `D3DKMTLock2`: makes the bytes of an allocation usable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTLock2(args: *mut D3DKMT_LOCK2) -> NTSTATUS {
    status(Face::get().and_then(|face| lock::lock(face, place!(args)?)))
}

/// `D3DKMTUnlock2`: takes a lock back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTUnlock2(args: *const D3DKMT_UNLOCK2) -> NTSTATUS {
    status(Face::get().and_then(|face| lock::unlock(face, place!(args)?)))
}

/// `D3DKMTSetAllocationPriority`: says how much allocations matter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTSetAllocationPriority(
    args: *const D3DKMT_SETALLOCATIONPRIORITY,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let asked = place!(args)?.read();
        let (device, count) = (asked.hDevice, asked.AllocationCount);
        match (asked.hResource, array!(asked.phAllocationList, count)?) {
            (0, Some(list)) if (1..=LIST_MAX).contains(&count) => {
                let priorities = array!(asked.pPriorities, count)?.ok_or(INVALID)?;
                priority::of_allocations(face, device, list, priorities)
            }
            (resource, None) if resource != 0 && count == 0 => {
                let priority = place!(asked.pPriorities)?.read();
                priority::of_resource(face, device, resource, priority)
            }
            _ => Err(INVALID),
        }
    })
}

/// `D3DKMTQueryVideoMemoryInfo`: tells the budget and what is used of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTQueryVideoMemoryInfo(
    args: *mut D3DKMT_QUERYVIDEOMEMORYINFO,
) -> NTSTATUS {
    guarded(|| memory::query(Face::get()?, place!(args)?))
}

/// `D3DKMTEscape`: says something to the memory manager.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTEscape(args: *const D3DKMT_ESCAPE) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let asked = place!(args)?.read();
        let data = match asked.PrivateDriverDataSize as usize {
            size if size == size_of::<D3DKMT_VIDMM_ESCAPE>() => {
                Some(place!(asked.pPrivateDriverData.cast())?)
            }
            _ => None,
        };
        escape::escape(face, &asked, data)
    })
}

/// `D3DKMTOfferAllocations`: offers allocations; their content may be lost until they are
/// reclaimed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTOfferAllocations(args: *const D3DKMT_OFFERALLOCATIONS) -> NTSTATUS {
    let place = place!(args).ok();
    if let (Some(engine), Some(place)) = (shortcut::engine(), place) {
        let asked = place.read();
        if let Some(handle) = only_one(asked.pResources, asked.HandleList, asked.NumAllocations)
            && let Ok(mode) = offer::mode_of(asked.Priority, asked.Flags)
            && asked.hDevice != 0
            && engine.offer_at_once(handle, asked.hDevice, mode)
        {
            return STATUS_SUCCESS;
        }
    }
    offer_the_long_way(args)
}

#[inline(never)]
fn offer_the_long_way(args: *const D3DKMT_OFFERALLOCATIONS) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let asked = place!(args)?.read();
        let mode = offer::mode_of(asked.Priority, asked.Flags)?;
        match named!(asked.pResources, asked.HandleList, asked.NumAllocations)? {
            Named::Allocations(handles) => offer::allocations(face, asked.hDevice, handles, mode),
            Named::Resources(resources) => offer::resources(face, asked.hDevice, resources, mode),
        }
    })
}

/// The handle of a list that names one allocation, and is in order.
#[inline]
fn only_one(
    resources: *const D3DKMT_HANDLE,
    allocations: *const D3DKMT_HANDLE,
    count: UINT,
) -> Option<D3DKMT_HANDLE> {
    if count != 1 || !resources.is_null() {
        return None;
    }
    Some(place!(allocations).ok()?.read())
}

/// `D3DKMTReclaimAllocations`: reclaims what was offered and tells what was lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTReclaimAllocations(
    args: *const D3DKMT_RECLAIMALLOCATIONS,
) -> NTSTATUS {
    let place = place!(args).ok();
    if let (Some(engine), Some(place)) = (shortcut::engine(), place) {
        let asked = place.read();
        if let Some(handle) = only_one(asked.pResources, asked.HandleList, asked.NumAllocations)
            && let Ok(discarded) = array!(asked.pDiscarded, 1)
            && asked.hDevice != 0
            && engine.reclaim_at_once(handle, asked.hDevice)
        {
            if let Some(discarded) = discarded {
                discarded.set(0, 0);
            }
            return STATUS_SUCCESS;
        }
    }
    reclaim_the_long_way(args)
}

#[inline(never)]
fn reclaim_the_long_way(args: *const D3DKMT_RECLAIMALLOCATIONS) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let asked = place!(args)?.read();
        let named = named!(asked.pResources, asked.HandleList, asked.NumAllocations)?;
        let results = match array!(asked.pDiscarded, asked.NumAllocations)? {
            Some(results) => Results::Discarded(results),
            None => Results::None,
        };
        reclaim_named(face, asked.hDevice, named, results)?;
        Ok(())
    })
}

/// `D3DKMTReclaimAllocations2`: reclaims what was offered and tells what was lost, and what is dead.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTReclaimAllocations2(
    args: *mut D3DKMT_RECLAIMALLOCATIONS2,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let asked = args.read();
        let (device, value) = face.objects.paging_queue(asked.hPagingQueue)?;
        let named = named!(asked.pResources, asked.HandleList, asked.NumAllocations)?;
        let results = match array!(asked.pDiscarded, asked.NumAllocations)? {
            Some(results) => Results::Full(results),
            None => Results::None,
        };
        let supplied = reclaim_named(face, device, named, results)?;
        let value = reclaim::fence_value(face, asked.hPagingQueue, supplied, value);
        args.update(|args| args.PagingFenceValue = value);
        Ok(())
    })
}

fn reclaim_named(
    face: &Face,
    device: D3DKMT_HANDLE,
    named: Named,
    results: Results,
) -> Answer<bool> {
    match named {
        Named::Allocations(handles) => reclaim::allocations(face, device, handles, results),
        Named::Resources(resources) => reclaim::resources(face, device, resources, results),
    }
}
