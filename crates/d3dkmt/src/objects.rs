//! Handles of what is neither an allocation nor a resource: adapters, devices, paging queues, sync
//! objects. Finding one takes no lock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use vidmm_abi::{D3DKMT_HANDLE, STATUS_NO_MEMORY};
use vidmm_pool::{GENERATIONS, OBJECT_INDICES, object_handle, object_number};

use crate::caller::{Answer, INVALID};
use crate::face::locked;
use crate::fence::Fence;

/// What a handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Adapter = 1,
    Device = 2,
    PagingQueue = 3,
    SyncObject = 4,
}

/// One object, or room for one.
#[derive(Debug)]
struct Object {
    /// Kind and handle of what lives here, as [`name`] joins them; 0 is nothing.
    name: AtomicU64,
    /// The device it belongs to; 0 is none.
    device: AtomicU32,
    /// The next of the queue of freed ones.
    link: AtomicU32,
    /// The fence value of a paging queue.
    value: AtomicU64,
    generation: AtomicU16,
}

impl Object {
    const fn new() -> Self {
        Object {
            name: AtomicU64::new(0),
            device: AtomicU32::new(0),
            link: AtomicU32::new(0),
            value: AtomicU64::new(0),
            generation: AtomicU16::new(0),
        }
    }
}

/// All of them, in memory that is touched as they are used: one that is gone is still there to be
/// looked at.
static OBJECTS: [Object; OBJECT_INDICES as usize] =
    [const { Object::new() }; OBJECT_INDICES as usize];

/// The number of a freed object rests until so many others were freed after it.
const REST: u32 = 1024;

/// As many paging queues can live at once: each takes two of the process's mappings.
pub(crate) const PAGING_QUEUES_MAX: usize = 4096;

/// The name of an object in its place.
#[inline]
fn name(kind: Kind, handle: D3DKMT_HANDLE) -> u64 {
    (kind as u64) << 32 | u64::from(handle)
}

/// Which numbers are free, and the fences of the paging queues.
#[derive(Debug, Default)]
struct Books {
    head: u32,
    tail: u32,
    resting: u32,
    /// The lowest number that was never used.
    unused: u32,
    queues: Vec<Queue>,
}

/// A paging queue.
#[derive(Debug)]
struct Queue {
    handle: D3DKMT_HANDLE,
    sync_object: D3DKMT_HANDLE,
    device: D3DKMT_HANDLE,
    fence: Fence,
}

/// A paging queue that was just made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewQueue {
    pub(crate) handle: D3DKMT_HANDLE,
    pub(crate) sync_object: D3DKMT_HANDLE,
    pub(crate) fence_address: usize,
}

/// The objects of the face. Whatever makes or ends one is called inside the face's gate.
#[derive(Debug)]
pub(crate) struct Objects {
    books: Mutex<Books>,
}

impl Objects {
    pub(crate) fn new() -> Self {
        Objects {
            books: Mutex::default(),
        }
    }

    /// Whether `handle` names a living object of this kind.
    #[inline]
    pub(crate) fn require(&self, kind: Kind, handle: D3DKMT_HANDLE) -> Answer {
        find(kind, handle).map(drop)
    }

    /// The device of a paging queue and the value of its fence.
    #[inline]
    pub(crate) fn paging_queue(&self, handle: D3DKMT_HANDLE) -> Answer<(D3DKMT_HANDLE, u64)> {
        let queue = find(Kind::PagingQueue, handle)?;
        let found = (
            queue.device.load(Ordering::Relaxed),
            queue.value.load(Ordering::Acquire),
        );
        // Still the same after the look: what was seen was its own.
        find(Kind::PagingQueue, handle)?;
        Ok(found)
    }

    /// A new object.
    pub(crate) fn make(&self, kind: Kind) -> Answer<D3DKMT_HANDLE> {
        locked(&self.books).make(kind, 0)
    }

    /// Ends an object of this kind.
    pub(crate) fn end(&self, kind: Kind, handle: D3DKMT_HANDLE) -> Answer {
        locked(&self.books).end(kind, handle)
    }

    pub(crate) fn make_paging_queue(&self, device: D3DKMT_HANDLE) -> Answer<NewQueue> {
        let mut books = locked(&self.books);
        if books.queues.len() >= PAGING_QUEUES_MAX || books.queues.try_reserve(1).is_err() {
            return Err(STATUS_NO_MEMORY);
        }
        let fence = Fence::new().map_err(|_| STATUS_NO_MEMORY)?;
        let handle = books.make(Kind::PagingQueue, device)?;
        let Ok(sync_object) = books.make(Kind::SyncObject, device) else {
            books.end(Kind::PagingQueue, handle)?;
            return Err(STATUS_NO_MEMORY);
        };
        let fence_address = fence.address();
        books.queues.push(Queue {
            handle,
            sync_object,
            device,
            fence,
        });
        Ok(NewQueue {
            handle,
            sync_object,
            fence_address,
        })
    }

    /// Ends a paging queue, its sync object and its mapping.
    pub(crate) fn end_paging_queue(&self, handle: D3DKMT_HANDLE) -> Answer {
        let mut books = locked(&self.books);
        let found = books.queues.iter().position(|queue| queue.handle == handle);
        let place = found.ok_or(INVALID)?;
        books.end_queue(place);
        Ok(())
    }

    /// Ends what belongs to a device, but for allocations and resources.
    pub(crate) fn end_all_of(&self, device: D3DKMT_HANDLE) {
        let mut books = locked(&self.books);
        while let Some(place) = books.queues.iter().position(|queue| queue.device == device) {
            books.end_queue(place);
        }
    }

    /// Paging work of a queue was done: its fence says so. Says the new value, or for a queue that
    /// is gone, nothing.
    pub(crate) fn advance(&self, handle: D3DKMT_HANDLE) -> Option<u64> {
        let books = locked(&self.books);
        let queue = books.queues.iter().find(|queue| queue.handle == handle)?;
        let object = find(Kind::PagingQueue, handle).ok()?;
        let value = object.value.load(Ordering::Relaxed) + 1;
        queue.fence.set(value);
        object.value.store(value, Ordering::Release);
        Some(value)
    }

    /// In a child made by `fork`: fences of its own at the same addresses.
    pub(crate) fn part_from_parent(&self) {
        for queue in &locked(&self.books).queues {
            if let Ok(object) = find(Kind::PagingQueue, queue.handle) {
                let value = object.value.load(Ordering::Relaxed);
                queue.fence.part_from_parent(value);
            }
        }
    }
}

impl Books {
    fn make(&mut self, kind: Kind, device: D3DKMT_HANDLE) -> Answer<D3DKMT_HANDLE> {
        let number = self.take_number().ok_or(STATUS_NO_MEMORY)?;
        let object = &OBJECTS[number as usize];
        let generation = object.generation.load(Ordering::Relaxed);
        let handle = object_handle(number, generation).ok_or(STATUS_NO_MEMORY)?;
        object.device.store(device, Ordering::Relaxed);
        object.value.store(0, Ordering::Relaxed);
        // Release: whoever finds the name finds the rest.
        object.name.store(name(kind, handle), Ordering::Release);
        Ok(handle)
    }

    fn end(&mut self, kind: Kind, handle: D3DKMT_HANDLE) -> Answer {
        let object = find(kind, handle)?;
        let number = object_number(handle).ok_or(INVALID)?;
        object.name.store(0, Ordering::Relaxed);
        let next = (object.generation.load(Ordering::Relaxed) + 1) % GENERATIONS;
        object.generation.store(next, Ordering::Relaxed);
        if self.resting == 0 {
            self.head = number;
        } else {
            OBJECTS[self.tail as usize]
                .link
                .store(number, Ordering::Relaxed);
        }
        self.tail = number;
        self.resting += 1;
        Ok(())
    }

    fn end_queue(&mut self, place: usize) {
        let queue = self.queues.swap_remove(place);
        // Both live as long as the queue is listed.
        let _ = self.end(Kind::PagingQueue, queue.handle);
        let _ = self.end(Kind::SyncObject, queue.sync_object);
    }

    /// A number that has rested long enough, or one never used, or else the one that rested
    /// longest.
    fn take_number(&mut self) -> Option<u32> {
        if self.resting <= REST && self.unused < OBJECT_INDICES {
            self.unused += 1;
            return Some(self.unused - 1);
        }
        if self.resting == 0 {
            return None;
        }
        let number = self.head;
        self.head = OBJECTS[number as usize].link.load(Ordering::Relaxed);
        self.resting -= 1;
        Some(number)
    }
}

#[inline]
fn find(kind: Kind, handle: D3DKMT_HANDLE) -> Answer<&'static Object> {
    let number = object_number(handle).ok_or(INVALID)?;
    let object = OBJECTS.get(number as usize).ok_or(INVALID)?;
    match object.name.load(Ordering::Acquire) == name(kind, handle) {
        true => Ok(object),
        false => Err(INVALID),
    }
}
