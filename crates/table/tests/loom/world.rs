//! A table, and the memory of its extents as cells in which the checker sees data races.
#![allow(unsafe_code)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use vidmm_table::{
    Class, Detached, ExtentWord, Handle, Lock, New, ResourceId, SlotRef, State, Table, Word,
};

/// Preemptions explored when `LOOM_MAX_PREEMPTIONS` says nothing.
const PREEMPTIONS: usize = 3;

/// Extents 1, 2, ... of every world.
pub(crate) const E1: ExtentWord = ExtentWord(1);
pub(crate) const E2: ExtentWord = ExtentWord(2);
pub(crate) const E3: ExtentWord = ExtentWord(3);
const EXTENTS: u64 = 3;

/// What the owner of an allocation writes into it.
pub(crate) const MINE: u64 = 7;
/// What somebody writes who took an extent from its slot.
pub(crate) const TAKEN: u64 = 99;

/// An allocation that belongs to nothing.
const ALONE: New = New {
    size_bytes: 4096,
    align_log2: 0,
    extent: E1,
    zero_owed: false,
    priority: 0,
    rebuild_cost_ns: 0.0,
    resource: 0,
    device: 0,
    now_ticks: 0,
};

pub(crate) struct World {
    pub(crate) table: Table,
    memory: Vec<UnsafeCell<u64>>,
}

// SAFETY: the cells are reached through `read` and `write` only, where the checker fails the run
// if two threads are there without an order between them: that is what is being proven.
unsafe impl Sync for World {}
// SAFETY: as above; nothing in a world belongs to a thread.
unsafe impl Send for World {}

/// Runs `check` under every schedule; it says how each one ended, and exactly `endings` must have
/// been seen: a model in which the race never happens proves nothing.
pub(crate) fn model(
    endings: &[&'static str],
    check: impl Fn(&Arc<World>) -> &'static str + Send + Sync + 'static,
) {
    let seen = std::sync::Arc::new(Mutex::new(BTreeMap::new()));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
    builder.check({
        let seen = seen.clone();
        move || {
            let ending = check(&World::new());
            *seen.lock().unwrap().entry(ending).or_insert(0_u64) += 1;
        }
    });
    let seen = seen.lock().unwrap();
    println!("schedules by ending: {seen:?}");
    let expected: BTreeSet<_> = endings.iter().copied().collect();
    assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), expected);
}

/// `yes` or `no`.
pub(crate) fn pick(which: bool, yes: &'static str, no: &'static str) -> &'static str {
    if which { yes } else { no }
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            table: Table::new(),
            memory: (0..EXTENTS).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    fn cell(&self, extent: ExtentWord) -> &UnsafeCell<u64> {
        let number = usize::try_from(extent.0).unwrap();
        &self.memory[number.checked_sub(1).expect("an extent, not none")]
    }

    pub(crate) fn write(&self, extent: ExtentWord, value: u64) {
        self.cell(extent).with_mut(|cell| {
            // SAFETY: the cell lives as long as `self`; the checker has just made sure that
            // nobody else is in it.
            unsafe { *cell = value }
        });
    }

    pub(crate) fn read(&self, extent: ExtentWord) -> u64 {
        self.cell(extent).with(|cell| {
            // SAFETY: as in `write`.
            unsafe { *cell }
        })
    }

    /// A new allocation that nobody has locked.
    pub(crate) fn create(&self, extent: ExtentWord, zero_owed: bool) -> Handle {
        self.create_like(New {
            extent,
            zero_owed,
            ..ALONE
        })
    }

    /// A new allocation of a device.
    pub(crate) fn create_on(&self, device: u32, extent: ExtentWord) -> Handle {
        self.create_like(New {
            extent,
            device,
            ..ALONE
        })
    }

    /// A new allocation, as the newest member of a resource.
    pub(crate) fn member(&self, extent: ExtentWord, resource: ResourceId) -> Handle {
        let new = New { extent, ..ALONE };
        let made = self.table.resources().create_member(resource, &new);
        made.unwrap()
    }

    /// A new allocation that is to be a member, before it is one.
    pub(crate) fn create_for(&self, extent: ExtentWord, resource: ResourceId) -> Handle {
        self.create_like(New {
            extent,
            resource: resource.raw(),
            ..ALONE
        })
    }

    fn create_like(&self, new: New) -> Handle {
        self.table.create(&new).unwrap()
    }

    /// An allocation that holds `MINE`.
    pub(crate) fn written(&self, extent: ExtentWord) -> Handle {
        self.written_on(0, extent)
    }

    /// The same, of a device.
    pub(crate) fn written_on(&self, device: u32, extent: ExtentWord) -> Handle {
        let handle = self.create_on(device, extent);
        self.write_locked(handle);
        handle
    }

    /// The same, offered; with the word that a scan sees.
    pub(crate) fn offered(&self, extent: ExtentWord) -> (Handle, Word) {
        let handle = self.written(extent);
        self.offer(handle);
        (handle, self.word(handle))
    }

    /// An allocation that was discarded; its extent is the caller's.
    pub(crate) fn discarded(&self, extent: ExtentWord) -> Handle {
        let (handle, word) = self.offered(extent);
        assert_eq!(self.slot(handle).claim(word).unwrap().extent, extent);
        handle
    }

    pub(crate) fn slot(&self, handle: Handle) -> SlotRef<'_> {
        self.table.get(handle).unwrap()
    }

    pub(crate) fn word(&self, handle: Handle) -> Word {
        self.slot(handle).slot().word()
    }

    pub(crate) fn state(&self, handle: Handle) -> State {
        self.word(handle).state()
    }

    pub(crate) fn offer(&self, handle: Handle) {
        self.slot(handle).offer(Class::Normal.into()).unwrap();
    }

    /// Locks whichever way it takes; a first lock zeroes what is owed.
    pub(crate) fn lock(&self, handle: Handle) -> Result<ExtentWord, vidmm_table::Error> {
        let slot = self.slot(handle);
        match slot.lock()? {
            Lock::Locked(extent) => Ok(extent),
            Lock::Fresh => slot.first_lock(|first| {
                if first.zero_owed {
                    self.write(first.extent, 0);
                }
            }),
        }
    }

    /// Locks, writes `MINE`, unlocks.
    pub(crate) fn write_locked(&self, handle: Handle) {
        let extent = self.lock(handle).unwrap();
        self.write(extent, MINE);
        self.slot(handle).unlock().unwrap();
    }

    /// Locks, reads, unlocks.
    pub(crate) fn read_locked(&self, handle: Handle) -> u64 {
        let extent = self.lock(handle).unwrap();
        let value = self.read(extent);
        self.slot(handle).unlock().unwrap();
        value
    }

    /// Looks at the slot as a scan does and claims it if it is offered; the taken extent is
    /// written by its new owner.
    pub(crate) fn look_and_claim(&self, handle: Handle) -> Option<Detached> {
        let word = self.word(handle);
        self.claim(handle, word)
    }

    /// Claims from `word`; the taken extent is written by its new owner.
    pub(crate) fn claim(&self, handle: Handle, word: Word) -> Option<Detached> {
        let taken = self.slot(handle).claim(word)?;
        self.write(taken.extent, TAKEN);
        Some(taken)
    }
}
