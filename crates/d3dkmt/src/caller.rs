//! The memory of the caller: the structures and arrays whose addresses a C program passes.
//!
//! What C promises by calling a function is that such memory is there, for as long as the call
//! takes. `NULL` and misaligned addresses are found out here; other wild ones cannot be.
#![allow(unsafe_code)]

use core::ffi::c_void;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::NonNull;

use vidmm_abi::{BOOL, HANDLE, NTSTATUS, STATUS_INVALID_PARAMETER, UINT};
use vidmm_pool::{BATCH_MAX, Handle, HandleList, Slot};

/// What functions here answer.
pub(crate) type Answer<T = ()> = Result<T, NTSTATUS>;

/// A wrong argument.
pub(crate) const INVALID: NTSTATUS = STATUS_INVALID_PARAMETER;

/// The most items of a list (`D3DKMT_MAKERESIDENT_ALLOC_MAX`; decision 9.1).
pub(crate) const LIST_MAX: UINT = 10_240;

const _: () = assert!(LIST_MAX as usize == BATCH_MAX);

/// The address of something of the caller's that is there.
#[derive(Debug)]
pub(crate) struct Place<T>(NonNull<T>);

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T: Copy> Place<T> {
    /// # Safety
    /// If `address` is neither NULL nor misaligned, a `T` is there as long as the place is used:
    /// readable, and writable if the interface says that the call writes it; nobody else writes
    /// it meanwhile.
    #[inline]
    pub(crate) unsafe fn new(address: *const T) -> Answer<Self> {
        match NonNull::new(address.cast_mut()) {
            Some(place) if place.is_aligned() => Ok(Place(place)),
            _ => Err(INVALID),
        }
    }

    #[inline]
    pub(crate) fn read(self) -> T {
        // SAFETY: whoever made the place promised that a `T` is there.
        unsafe { self.0.read() }
    }

    #[inline]
    pub(crate) fn write(self, value: T) {
        // SAFETY: whoever made the place promised that the interface lets the call write it.
        unsafe { self.0.write(value) }
    }

    /// Reads, changes and writes it: for calls that fill in some members.
    pub(crate) fn update(self, change: impl FnOnce(&mut T)) {
        let mut value = self.read();
        change(&mut value);
        self.write(value);
    }
}

/// An array of the caller's.
#[derive(Debug)]
pub(crate) struct Array<T> {
    first: Place<T>,
    len: usize,
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Array<T> {}

impl<T: Copy> Array<T> {
    /// # Safety
    /// As [`Place::new`], for each of `len` things in a row.
    #[inline]
    pub(crate) unsafe fn new(address: *const T, len: UINT) -> Answer<Self> {
        // SAFETY: the caller promises more.
        let first = unsafe { Place::new(address) }?;
        let len = len as usize;
        Ok(Array { first, len })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn at(&self, index: usize) -> Option<Place<T>> {
        (index < self.len).then(|| {
            // SAFETY: below its length the array is there, as its maker promised.
            Place(unsafe { self.first.0.add(index) })
        })
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<T> {
        self.at(index).map(Place::read)
    }

    /// Writes one item; beyond the end: nothing.
    #[inline]
    pub(crate) fn set(&self, index: usize, value: T) {
        if let Some(place) = self.at(index) {
            place.write(value);
        }
    }

    /// Changes one item; beyond the end: nothing.
    pub(crate) fn update(&self, index: usize, change: impl FnOnce(&mut T)) {
        if let Some(place) = self.at(index) {
            place.update(change);
        }
    }
}

impl Array<BOOL> {
    /// Writes a 0 into each.
    pub(crate) fn clear(&self) {
        // SAFETY: the array is there, as its maker promised, and the interface lets the call write
        // it.
        unsafe { self.first.0.write_bytes(0, self.len) };
    }
}

/// A list of handles of allocations of one device, where the caller has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handles {
    handles: Array<UINT>,
    /// Allocations of other devices are as good as none.
    device: UINT,
}

impl Handles {
    /// Allocations of no device are other faces' of this process, and not to be had by C.
    pub(crate) fn of(device: UINT, handles: Array<UINT>) -> Answer<Self> {
        match device {
            0 => Err(INVALID),
            _ => Ok(Handles { handles, device }),
        }
    }
}

impl HandleList for Handles {
    #[inline]
    fn count(&self) -> usize {
        self.handles.len()
    }

    #[inline]
    fn handle(&self, index: usize) -> Option<Handle> {
        self.handles.get(index).and_then(Handle::from_raw)
    }

    #[inline]
    fn admits(&self, slot: &Slot) -> bool {
        slot.device() == self.device
    }
}

/// Room of the caller's for bytes that it gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    start: *mut u8,
    len: usize,
}

impl Room {
    /// # Safety
    /// If `address` is not NULL, `size_bytes` bytes can be written there as long as the room is
    /// used, and nobody else uses them meanwhile.
    pub(crate) unsafe fn new(address: *mut c_void, size_bytes: UINT) -> Self {
        Room {
            start: address.cast(),
            len: match address.is_null() {
                true => 0,
                false => size_bytes as usize,
            },
        }
    }

    /// Whether the room is there at all.
    pub(crate) fn is_there(&self) -> bool {
        !self.start.is_null()
    }

    /// Whether so many bytes fit.
    pub(crate) fn has(&self, len: usize) -> bool {
        len <= self.len
    }

    /// Writes bytes to its beginning and says where they are, and what room is left; if they do not
    /// fit, nothing is written.
    pub(crate) fn put(self, bytes: &[u8]) -> Option<(*const c_void, Room)> {
        let left = self.len.checked_sub(bytes.len())?;
        if bytes.is_empty() {
            return Some((self.start.cast(), self));
        }
        let from = bytes.as_ptr();
        // SAFETY: they fit, and whoever made the room promised that it can be written.
        unsafe { self.start.copy_from_nonoverlapping(from, bytes.len()) };
        // SAFETY: within the room or just behind it.
        let rest = unsafe { self.start.add(bytes.len()) };
        let rest = Room {
            start: rest,
            len: left,
        };
        Some((self.start.cast(), rest))
    }
}

/// A copy of bytes of the caller's.
///
/// # Safety
/// If `address` is not NULL, `size_bytes` bytes can be read there.
pub(crate) unsafe fn copied(address: *const c_void, size_bytes: UINT) -> Answer<Vec<u8>> {
    let len = size_bytes as usize;
    if len == 0 {
        return Ok(Vec::new());
    }
    if address.is_null() {
        return Err(INVALID);
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| vidmm_abi::STATUS_NO_MEMORY)?;
    // SAFETY: the caller promises that they can be read.
    bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(address.cast::<u8>(), len) });
    Ok(bytes)
}

/// The descriptor that a handle of a shared resource is.
///
/// # Safety
/// Nobody makes it a descriptor of something else while it is used. (If it is none it is refused by
/// the kernel.)
pub(crate) unsafe fn descriptor(handle: HANDLE) -> Answer<BorrowedFd<'static>> {
    let number = RawFd::try_from(handle.addr()).map_err(|_| INVALID)?;
    // SAFETY: not negative, and the caller promises the rest.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// A copy of private data of the caller's, which may lie at any address: `None` if there is none,
/// or not of exactly the size of a `T`.
///
/// # Safety
/// If `address` is not NULL, `size_bytes` bytes can be read there, and all bytes make a `T`.
pub(crate) unsafe fn private_data<T: Copy>(address: *const c_void, size_bytes: UINT) -> Option<T> {
    if address.is_null() || size_bytes as usize != size_of::<T>() {
        return None;
    }
    // SAFETY: the size is that of a `T`, and the caller promises the rest.
    Some(unsafe { address.cast::<T>().read_unaligned() })
}
