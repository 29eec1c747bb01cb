//! CreateAllocation and CreateAllocation2.
//!
//! A call is looked at whole before anything is made, and what cannot be made whole is not made at
//! all. Flags that mean nothing here are refused, never ignored.

use std::ptr::NonNull;

use vidmm_abi::{
    D3DKMT_CREATEALLOCATION, D3DKMT_CREATEALLOCATIONFLAGS as Flags,
    D3DKMT_CREATESTANDARDALLOCATION, D3DKMT_HANDLE, D3DKMT_STANDARDALLOCATIONTYPE_EXISTINGHEAP,
    STATUS_NO_MEMORY, UINT, VIDMM_ALLOCATION_DATA, VIDMM_ALLOCATION_DATA_VERSION,
};
use vidmm_pool::{
    About, GroupId, Handle, PRIORITY_NORMAL, Request, SHARED_DATA_BYTES_MAX, SharedHint,
};

use crate::caller::{Answer, INVALID, LIST_MAX, Place};
use crate::face::{Face, refusal};
use crate::lists::resource_of;
use crate::objects::Kind;
use crate::share::{self, Kept};

/// What the caller says of one allocation, in whichever of the two structures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) system_memory: *const core::ffi::c_void,
    /// The private driver data; `None` if they have another size or are not there.
    pub(crate) data: Option<VIDMM_ALLOCATION_DATA>,
    pub(crate) data_size_bytes: UINT,
    pub(crate) source_id: UINT,
    /// All flags but the one that comes with a priority.
    pub(crate) other_flags: UINT,
    pub(crate) priority: Option<UINT>,
}

/// The infos of a call, in whichever of the two structures.
pub(crate) trait Infos {
    /// Info `index`, below the number of allocations.
    fn get(&self, index: usize) -> Option<Info>;
    /// Tells the caller which allocation it has become.
    fn answer(&self, index: usize, allocation: D3DKMT_HANDLE);
}

/// `VidPnSourceId` of an allocation that is no primary: `D3DDDI_ID_NOTAPPLICABLE`, or
/// `D3DDDI_ID_UNINITIALIZED`.
const SOURCE_IDS: [UINT; 2] = [0, UINT::MAX];

/// The flags that mean the same here as in Windows, in any call.
const ANYWHERE: UINT =
    Flags::CreateResource | Flags::Zeroed | Flags::AllowNotZeroed | Flags::ExistingSysMem;

/// The flags of a resource that other processes can open.
const SHARED: UINT = Flags::CreateResource | Flags::CreateShared | Flags::NtSecuritySharing;

/// The flags that a standard allocation needs, as it is documented.
const STANDARD: UINT = Flags::StandardAllocation
    | Flags::ExistingSysMem
    | Flags::CreateShared
    | Flags::CrossAdapter
    | Flags::CreateResource;

/// What all allocations of a call have in common.
#[derive(Debug, Clone, Copy)]
struct Common {
    flags: Flags,
    /// The size of a standard allocation, in bytes.
    standard_bytes: Option<u64>,
    /// All infos bring memory of the caller's.
    system_memory: bool,
    /// Other processes will open it.
    shared: bool,
}

/// One allocation that is to be made.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    request: Request,
    /// Memory of the caller's to make it on.
    memory: Option<NonNull<u8>>,
}

/// `infos` are there if the call asks for allocations, `standard` if it has the pointer.
pub(crate) fn create(
    face: &Face,
    args: Place<D3DKMT_CREATEALLOCATION>,
    infos: Option<&impl Infos>,
    standard: Option<D3DKMT_CREATESTANDARDALLOCATION>,
    kept: impl FnOnce() -> Answer<Kept>,
) -> Answer {
    let asked = args.read();
    let common = Common::of(&asked, infos, standard)?;
    let _pass = face.gate.enter();
    face.objects.require(Kind::Device, asked.hDevice)?;
    let group = match asked.hResource {
        0 => None,
        resource => Some(resource_of(face, asked.hDevice, resource)?),
    };
    if group.is_some_and(|group| face.pool.is_shared(group)) {
        // Its file is as long as it is.
        return Err(INVALID);
    }
    let count = asked.NumAllocations as usize;
    let wanted = |index, group| common.wanted(infos?.get(index)?, asked.hDevice, group);
    for index in 0..count {
        wanted(index, group).ok_or(INVALID)?;
    }
    if let (true, Some(infos)) = (common.shared, infos) {
        return create_shared(face, args, infos, &common, kept()?);
    }
    if count > 1 {
        check_room(face, count, |index| wanted(index, group))?;
    }
    let made = if asked.Flags.contains(Flags::CreateResource) {
        let created = face.pool.create_group_of(asked.hDevice);
        Some(created.map_err(refusal)?)
    } else {
        None
    };
    let group = made.or(group);
    let handles = make_all(face, count, |index| wanted(index, group)).inspect_err(|_| {
        if let Some(group) = made {
            // Nobody else has heard of it.
            let _ = face.pool.destroy_group(group);
        }
    })?;
    for (index, handle) in handles.iter().enumerate() {
        if let Some(infos) = infos {
            infos.answer(index, handle.raw());
        }
    }
    if let Some(group) = made {
        args.update(|args| args.hResource = group.raw());
    }
    Ok(())
}

/// Makes a resource that other processes can open.
fn create_shared(
    face: &Face,
    args: Place<D3DKMT_CREATEALLOCATION>,
    infos: &impl Infos,
    common: &Common,
    kept: Kept,
) -> Answer {
    let asked = args.read();
    let mut about = About {
        members: Vec::new(),
        runtime_data: kept.runtime_data,
        driver_data: kept.driver_data,
    };
    let mut hints = Vec::new();
    for index in 0..asked.NumAllocations as usize {
        let info = infos.get(index).ok_or(INVALID)?;
        let data = info.data.ok_or(INVALID)?;
        // As the caller's memory is now, not as it was looked at before.
        let wanted = common.wanted(info, asked.hDevice, None).ok_or(INVALID)?;
        about.members.push(share::member(&data));
        hints.push(SharedHint {
            priority: wanted.request.priority,
            rebuild_cost_ns: wanted.request.rebuild_cost_ns,
        });
    }
    let created = face.pool.create_shared(&about, &hints, asked.hDevice);
    let made = created.map_err(refusal)?;
    for (index, handle) in made.handles.iter().enumerate() {
        infos.answer(index, handle.raw());
    }
    args.update(|args| args.hResource = made.group.raw());
    Ok(())
}

impl Common {
    fn of(
        asked: &D3DKMT_CREATEALLOCATION,
        infos: Option<&impl Infos>,
        standard: Option<D3DKMT_CREATESTANDARDALLOCATION>,
    ) -> Answer<Self> {
        let flags = asked.Flags;
        let is_standard = flags.contains(Flags::StandardAllocation);
        let makes_resource = flags.contains(Flags::CreateResource);
        let shared = !is_standard && flags.contains(SHARED);
        let known = match (is_standard, shared) {
            (true, _) => STANDARD | Flags::NtSecuritySharing,
            // Its memory is a file, not the program's.
            (_, true) => (ANYWHERE | SHARED) & !Flags::ExistingSysMem,
            (false, false) => ANYWHERE,
        };
        let contradictory = flags.contains(Flags::Zeroed | Flags::AllowNotZeroed);
        let count_fits = match asked.NumAllocations {
            0 => makes_resource && !shared,
            count => count <= count_max(shared) && infos.is_some(),
        };
        let runtime_data_there =
            asked.PrivateRuntimeDataSize == 0 || !asked.pPrivateRuntimeData.is_null();
        if !flags.is_within(known)
            || contradictory
            || !count_fits
            || !runtime_data_there
            // There is no format for data about a resource that nobody else opens.
            || asked.PrivateDriverDataSize != 0 && !shared
            || shared && !kept_fits(asked)
            // A resource is either made or added to.
            || makes_resource && asked.hResource != 0
        {
            return Err(INVALID);
        }
        let standard_bytes = match (is_standard, standard) {
            (false, _) => None,
            (true, Some(standard)) => Some(standard_bytes(asked, standard)?),
            (true, None) => return Err(INVALID),
        };
        let first = match asked.NumAllocations {
            0 => None,
            _ => infos.and_then(|infos| infos.get(0)),
        };
        let system_memory = first.is_some_and(|info| !info.system_memory.is_null());
        // Memory that is there already has its content.
        let about_content = flags.Value & (Flags::Zeroed | Flags::AllowNotZeroed) != 0;
        if flags.contains(Flags::ExistingSysMem) && !system_memory
            || system_memory && (about_content || shared)
        {
            return Err(INVALID);
        }
        Ok(Common {
            flags,
            standard_bytes,
            system_memory,
            shared,
        })
    }

    /// One allocation, if all that is said of it is in order.
    fn wanted(&self, info: Info, device: D3DKMT_HANDLE, group: Option<GroupId>) -> Option<Wanted> {
        if info.other_flags != 0 || !SOURCE_IDS.contains(&info.source_id) {
            return None;
        }
        // All infos bring memory, or none does.
        if info.system_memory.is_null() == self.system_memory {
            return None;
        }
        let memory = match self.system_memory {
            true => Some(page_aligned(info.system_memory)?),
            false => None,
        };
        let (size_bytes, align_bytes, rebuild_cost_ns) = match (self.standard_bytes, info.data) {
            (Some(bytes), _) if info.data_size_bytes == 0 => (bytes, 0, 0),
            (None, Some(data)) => checked(&data)?,
            _ => return None,
        };
        if self.shared && align_bytes > page_bytes() {
            // Each opener maps it where there is room.
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "a cost is kept with 24 bits")]
        let rebuild_cost_ns = rebuild_cost_ns as f32;
        Some(Wanted {
            request: Request {
                size_bytes,
                align_bytes,
                allow_not_zeroed: self.flags.contains(Flags::AllowNotZeroed),
                priority: info.priority.unwrap_or(PRIORITY_NORMAL),
                rebuild_cost_ns,
                group,
                device,
            },
            memory,
        })
    }
}

fn count_max(shared: bool) -> UINT {
    match shared {
        // As many as a resource of several processes may have (`dxgkrnl` has the same limit).
        true => 1024,
        false => LIST_MAX,
    }
}

/// Whether the data that are kept for other openers are there, and not more than are kept.
fn kept_fits(asked: &D3DKMT_CREATEALLOCATION) -> bool {
    let own = size_of::<VIDMM_ALLOCATION_DATA>() as u64 * u64::from(asked.NumAllocations);
    let others = [asked.PrivateRuntimeDataSize, asked.PrivateDriverDataSize];
    let bytes = others.into_iter().map(u64::from).sum::<u64>() + own;
    bytes <= SHARED_DATA_BYTES_MAX as u64
        && (asked.PrivateDriverDataSize == 0 || !asked.pPrivateDriverData.is_null())
}

/// The size, in bytes, of a standard allocation: memory that the program has already, as a heap.
/// (Sections of the operating system do not exist here.)
fn standard_bytes(
    asked: &D3DKMT_CREATEALLOCATION,
    standard: D3DKMT_CREATESTANDARDALLOCATION,
) -> Answer<u64> {
    let size_bytes = standard.ExistingHeapData.Size;
    let in_order = asked.Flags.contains(STANDARD)
        && asked.NumAllocations == 1
        && standard.Type == D3DKMT_STANDARDALLOCATIONTYPE_EXISTINGHEAP
        && standard.Flags.Value == 0
        && size_bytes != 0
        && size_bytes.is_multiple_of(page_bytes());
    match in_order {
        true => Ok(size_bytes),
        false => Err(INVALID),
    }
}

/// Size, alignment and cost of an allocation as its private data tell them.
fn checked(data: &VIDMM_ALLOCATION_DATA) -> Option<(u64, u64, u64)> {
    let in_order = data.Version == VIDMM_ALLOCATION_DATA_VERSION
        && data.Flags == 0
        && data.Size != 0
        && (data.Alignment == 0 || data.Alignment.is_power_of_two());
    in_order.then_some((data.Size, data.Alignment, data.RebuildCostNs))
}

fn page_aligned(memory: *const core::ffi::c_void) -> Option<NonNull<u8>> {
    let memory = NonNull::new(memory.cast_mut().cast::<u8>())?;
    (memory.addr().get() as u64)
        .is_multiple_of(page_bytes())
        .then_some(memory)
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Whether all of them can be had together, before anything is discarded for one.
fn check_room(face: &Face, count: usize, wanted: impl Fn(usize) -> Option<Wanted>) -> Answer {
    let mut sum_bytes: u64 = 0;
    for index in 0..count {
        let wanted = wanted(index).ok_or(INVALID)?;
        if wanted.memory.is_none() {
            let bytes = face.pool.charge_for(&wanted.request).map_err(refusal)?;
            sum_bytes = sum_bytes.saturating_add(bytes);
        }
    }
    face.pool.check_room(sum_bytes).map_err(refusal)
}

/// Makes all allocations, or none.
fn make_all(
    face: &Face,
    count: usize,
    wanted: impl Fn(usize) -> Option<Wanted>,
) -> Answer<Vec<Handle>> {
    let mut handles = Vec::new();
    handles
        .try_reserve_exact(count)
        .map_err(|_| STATUS_NO_MEMORY)?;
    for index in 0..count {
        let made = wanted(index).ok_or(INVALID).and_then(|wanted| {
            let made = match wanted.memory {
                Some(memory) => face.pool.create_foreign(&wanted.request, memory),
                None => face.pool.create(&wanted.request),
            };
            made.map_err(refusal)
        });
        match made {
            Ok(handle) => handles.push(handle),
            Err(status) => {
                for handle in handles {
                    // Nobody else has heard of it.
                    let _ = face.pool.destroy(handle);
                }
                return Err(status);
            }
        }
    }
    Ok(handles)
}
