//! Who has which extent, and the memory of the extents: plain words, so that Miri sees an access
//! that no order of the protocol allows.
#![allow(unsafe_code)]

use super::{Mutex, MutexGuard};
use std::cell::UnsafeCell;
use std::sync::PoisonError;
// The ledger's own words are never the checker's: it is to explore the table, not the ledger.
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use vidmm_table::ExtentWord;

/// A thread's number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thread(pub(crate) u32);

/// Owners that are no thread.
const POOL: u32 = 0;
const SLOT: u32 = u32::MAX;

/// What an owner outside a slot leaves in the memory: no lock may ever find it.
const OUTSIDE: u64 = 1 << 63;

pub(crate) struct Ledger {
    pool: Mutex<Vec<ExtentWord>>,
    owners: Vec<AtomicU32>,
    memory: Vec<UnsafeCell<u64>>,
}

// SAFETY: a cell is reached through `write`, `read`, `visit` and `prepare` under a lock of the
// slot, and through `take` and `give` by the extent's owner. That these exclude each other is the
// protocol's promise; Miri is here to say when it does not hold.
unsafe impl Sync for Ledger {}

impl Ledger {
    pub(crate) fn new(extents: u64) -> Self {
        Ledger {
            pool: Mutex::new((1..=extents).map(ExtentWord).collect()),
            owners: (0..extents).map(|_| AtomicU32::new(POOL)).collect(),
            memory: (0..extents).map(|_| UnsafeCell::new(OUTSIDE)).collect(),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Vec<ExtentWord>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(extent: ExtentWord) -> usize {
        let number = usize::try_from(extent.0).unwrap();
        number.checked_sub(1).expect("an extent, not none")
    }

    fn cell(&self, extent: ExtentWord) -> *mut u64 {
        self.memory[Self::place(extent)].get()
    }

    /// Moves `extent` from owner `from` to `to`. Relaxed: the ledger must not order what the table
    /// should.
    fn pass(&self, extent: ExtentWord, from: u32, to: u32) {
        let was = self.owners[Self::place(extent)].swap(to, Relaxed);
        assert_eq!(was, from, "{extent:?} was taken from somebody else");
    }

    /// How many extents are in the pool.
    pub(crate) fn resting(&self) -> u64 {
        self.pool().len() as u64
    }

    /// An extent from the pool, if there is one.
    pub(crate) fn take(&self, me: Thread) -> Option<ExtentWord> {
        let extent = self.pool().pop()?;
        self.pass(extent, POOL, me.0);
        self.write(extent, OUTSIDE | u64::from(me.0));
        Some(extent)
    }

    /// `me` is about to bring it to a slot.
    pub(crate) fn attach(&self, extent: ExtentWord, me: Thread) {
        self.write(extent, 0);
        self.pass(extent, me.0, SLOT);
    }

    /// `me` has taken it from a slot.
    pub(crate) fn detach(&self, extent: ExtentWord, me: Thread) {
        self.pass(extent, SLOT, me.0);
        self.write(extent, OUTSIDE | u64::from(me.0));
    }

    /// Back to the pool.
    pub(crate) fn give(&self, extent: ExtentWord, me: Thread) {
        self.pass(extent, me.0, POOL);
        self.pool().push(extent);
    }

    /// Alone, under a lock or as its owner.
    pub(crate) fn write(&self, extent: ExtentWord, value: u64) {
        // SAFETY: nobody else may reach the cell now; see `Sync`.
        unsafe { self.cell(extent).write(value) }
    }

    /// Alone, under a lock.
    pub(crate) fn read(&self, extent: ExtentWord) -> u64 {
        // SAFETY: as in `write`.
        unsafe { self.cell(extent).read() }
    }

    /// The work of a first lock.
    pub(crate) fn prepare(&self, extent: ExtentWord) {
        assert_eq!(self.read(extent) & OUTSIDE, 0, "under the first lock of it");
        self.write(extent, 0);
    }

    /// Under a lock that others may hold too: those change it together, so by atomics.
    pub(crate) fn visit(&self, extent: ExtentWord) {
        // SAFETY: the cell lives as long as `self` and is aligned; while the slot is locked it is
        // reached by `visit` alone.
        let word = unsafe { AtomicU64::from_ptr(self.cell(extent)) };
        let before = word.fetch_add(1, Relaxed);
        assert_eq!(before & OUTSIDE, 0, "under a lock of it");
    }
}
