//! ShareObjects, QueryResourceInfoFromNtHandle and OpenResourceFromNtHandle; and what CreateAllocation
//! makes that can be shared.

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use vidmm_abi::{
    D3DDDI_OPENALLOCATIONINFO2, D3DKMT_HANDLE, D3DKMT_OPENRESOURCEFROMNTHANDLE,
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE, HANDLE, STATUS_NO_MEMORY, UINT, VIDMM_ALLOCATION_DATA,
};
use vidmm_pool::{About, GroupId, SharedGroup, SharedMember, about_shared};

use crate::caller::{Answer, Array, INVALID, Place, Room};
use crate::face::{Face, refusal};
use crate::objects::Kind;

/// What a resource is made with for those who open it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) runtime_data: Vec<u8>,
    pub(crate) driver_data: Vec<u8>,
}

/// An allocation's private driver data as its openers get them: byte for byte.
pub(crate) fn member(data: &VIDMM_ALLOCATION_DATA) -> SharedMember {
    let mut bytes = Vec::with_capacity(size_of::<VIDMM_ALLOCATION_DATA>());
    bytes.extend(data.Version.to_ne_bytes());
    bytes.extend(data.Flags.to_ne_bytes());
    bytes.extend(data.Size.to_ne_bytes());
    bytes.extend(data.Alignment.to_ne_bytes());
    bytes.extend(data.RebuildCostNs.to_ne_bytes());
    SharedMember {
        size_bytes: data.Size,
        data: bytes,
    }
}

/// Gives a descriptor of a shared resource. Who has it can open the resource: attributes and rights
/// asked for add nothing to that, and take nothing away.
pub(crate) fn share(face: &Face, object: D3DKMT_HANDLE, to: Place<HANDLE>) -> Answer {
    let _pass = face.gate.enter();
    let resource = GroupId::from_raw(object).ok_or(INVALID)?;
    match face.pool.device_of_group(resource) {
        Ok(device) if device != 0 && face.pool.is_shared(resource) => {}
        _ => return Err(INVALID),
    }
    let descriptor = face.pool.share(resource).map_err(refusal)?;
    let number = no_standard_one(descriptor)?.into_raw_fd();
    to.write(std::ptr::without_provenance_mut(
        usize::try_from(number).map_err(|_| INVALID)?,
    ));
    Ok(())
}

/// Not one of the first three: a program that has closed those takes 0 for no handle at all.
fn no_standard_one(descriptor: OwnedFd) -> Answer<OwnedFd> {
    const FIRST: i32 = 3;
    match descriptor.as_raw_fd() >= FIRST {
        true => Ok(descriptor),
        false => rustix::io::fcntl_dupfd_cloexec(&descriptor, FIRST).map_err(|_| STATUS_NO_MEMORY),
    }
}

/// Sizes as the structures have them; all are bounded by what a resource may be.
fn size(len: usize) -> UINT {
    UINT::try_from(len).unwrap_or(UINT::MAX)
}

fn total_bytes(about: &About) -> usize {
    about.members.iter().map(|member| member.data.len()).sum()
}

pub(crate) fn query(
    face: &Face,
    args: Place<D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE>,
    descriptor: BorrowedFd<'_>,
    runtime_data: Room,
) -> Answer {
    let _pass = face.gate.enter();
    face.objects.require(Kind::Device, args.read().hDevice)?;
    let about = about_shared(descriptor).map_err(refusal)?;
    if runtime_data.is_there() {
        runtime_data.put(&about.runtime_data).ok_or(INVALID)?;
    }
    args.update(|args| {
        args.PrivateRuntimeDataSize = size(about.runtime_data.len());
        args.TotalPrivateDriverDataSize = size(total_bytes(&about));
        args.ResourcePrivateDriverDataSize = size(about.driver_data.len());
        args.NumAllocations = size(about.members.len());
    });
    Ok(())
}

/// Where the answers of an opening go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rooms {
    pub(crate) infos: Array<D3DDDI_OPENALLOCATIONINFO2>,
    pub(crate) runtime_data: Room,
    pub(crate) driver_data: Room,
    pub(crate) members_data: Room,
}

impl Rooms {
    fn fit(&self, about: &About) -> bool {
        self.infos.len() == about.members.len()
            && self.runtime_data.has(about.runtime_data.len())
            && self.driver_data.has(about.driver_data.len())
            && self.members_data.has(total_bytes(about))
    }

    fn write(&self, about: &About, opened: &SharedGroup) {
        self.runtime_data.put(&about.runtime_data);
        self.driver_data.put(&about.driver_data);
        let mut room = self.members_data;
        for (index, (member, handle)) in about.members.iter().zip(&opened.handles).enumerate() {
            let Some((place, rest)) = room.put(&member.data) else {
                return;
            };
            room = rest;
            self.infos.update(index, |info| {
                info.hAllocation = handle.raw();
                info.pPrivateDriverData = place;
                info.PrivateDriverDataSize = size(member.data.len());
            });
        }
    }
}

pub(crate) fn open(
    face: &Face,
    args: Place<D3DKMT_OPENRESOURCEFROMNTHANDLE>,
    descriptor: BorrowedFd<'_>,
    rooms: Rooms,
) -> Answer {
    let _pass = face.gate.enter();
    let device = args.read().hDevice;
    face.objects.require(Kind::Device, device)?;
    // Before anything is made: a wrong call makes nothing.
    let about = about_shared(descriptor).map_err(refusal)?;
    if !rooms.fit(&about) {
        return Err(INVALID);
    }
    let (opened, about) = face.pool.open_shared(descriptor, device).map_err(refusal)?;
    if !rooms.fit(&about) {
        // Another opener has changed what the file says of itself.
        close(face, &opened);
        return Err(INVALID);
    }
    rooms.write(&about, &opened);
    args.update(|args| {
        args.TotalPrivateDriverDataBufferSize = size(total_bytes(&about));
        args.hResource = opened.group.raw();
        args.hKeyedMutex = 0;
        args.hSyncObject = 0;
    });
    Ok(())
}

/// Ends what was just made, of which nobody has heard.
pub(crate) fn close(face: &Face, made: &SharedGroup) {
    for &handle in &made.handles {
        let _ = face.pool.destroy(handle);
    }
    let _ = face.pool.destroy_group(made.group);
}
