//! The ledger against a disk that fails, and against what may be found at the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;

const LIFE: Life = Life {
    boot: 11,
    namespace: 12,
};

/// A disk in memory, of so many bytes, that refuses some writes.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    bytes: Vec<u8>,
    room: usize,
    refuse: bool,
}

impl Disk {
    fn of(bytes: Vec<u8>) -> Self {
        let room = usize::MAX;
        Disk(Arc::new(Mutex::new(DiskState {
            bytes,
            room,
            refuse: false,
        })))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    fn set_refuse(&self, refuse: bool) {
        self.0.lock().unwrap().refuse = refuse;
    }

    fn open(&self) -> (Ledger, Past) {
        let contents = Contents::of(&self.bytes(), LIFE).unwrap();
        Ledger::begin(Box::new(self.clone()), contents, LIFE).unwrap()
    }
}

impl LedgerFile for Disk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let end = start + bytes.len();
        if state.refuse || end > state.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.bytes.len() < end {
            state.bytes.resize(end, 0);
        }
        state.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn allocate(&mut self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let len = usize::try_from(len_bytes).unwrap();
        if state.refuse || len > state.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.bytes.len() < len {
            state.bytes.resize(len, 0);
        }
        Ok(())
    }
}

fn process(pid: u32) -> ProcessId {
    ProcessId {
        pid,
        started_ticks: 1000 + u64::from(pid),
    }
}

fn charges(past: &Past) -> BTreeMap<u32, u64> {
    let found = past.found.iter();
    found
        .map(|found| (found.process.pid, found.charged_bytes))
        .collect()
}

/// A ledger of three processes with a gap, as bytes.
fn three() -> Vec<u8> {
    let disk = Disk::of(Vec::new());
    let (mut ledger, _) = disk.open();
    for pid in [1, 2, 3, 4] {
        let bytes = u64::from(pid) * 100;
        ledger
            .record(process(pid), 7, Terms::default(), bytes)
            .unwrap();
    }
    ledger.forget(process(2)).unwrap();
    disk.bytes()
}

#[test]
fn what_was_granted_is_found_and_the_incarnation_goes_on() {
    let disk = Disk::of(three());
    let (first, past) = disk.open();
    assert!(past.warnings.is_empty());
    assert_eq!(
        charges(&past),
        BTreeMap::from([(1, 100), (3, 300), (4, 400)])
    );
    assert_eq!(first.charged_bytes(), 800);
    let (second, _) = disk.open();
    assert_eq!(second.incarnation(), first.incarnation() + 1);
    assert_ne!(first.incarnation(), 0);
}

#[test]
fn a_freed_slot_is_used_again_and_the_file_grows_when_there_is_none() {
    let disk = Disk::of(three());
    let (mut ledger, _) = disk.open();
    let before = disk.bytes().len();
    for pid in 10..10 + 253 {
        ledger.record(process(pid), 7, Terms::default(), 1).unwrap();
    }
    assert_eq!(disk.bytes().len(), before, "256 records have room");
    ledger.record(process(9), 7, Terms::default(), 1).unwrap();
    assert!(disk.bytes().len() > before);
    let (_, past) = disk.open();
    assert_eq!(past.found.len(), 3 + 253 + 1);
}

#[test]
fn a_file_that_ends_anywhere_keeps_its_whole_records() {
    let whole = three();
    for length in 0..whole.len().min(64 * 8) {
        let disk = Disk::of(whole[..length].to_vec());
        let (ledger, past) = disk.open();
        let records = (length / 64).saturating_sub(1);
        let expected = [1, 0, 3, 4]
            .into_iter()
            .take(records)
            .filter(|pid| *pid != 0);
        let found: Vec<u32> = charges(&past).into_keys().collect();
        assert_eq!(found, expected.collect::<Vec<_>>(), "of {length} bytes");
        let is_torn = length % 64 != 0;
        assert_eq!(
            past.warnings.len(),
            usize::from(is_torn),
            "of {length} bytes"
        );
        assert_ne!(ledger.incarnation(), 0);
    }
}

#[test]
fn what_is_no_ledger_is_left_alone() {
    for noise in [vec![0xa5; 4096], b"#!/bin/sh\necho precious\n".repeat(9)] {
        assert!(Contents::of(&noise, LIFE).is_err());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    std::fs::write(&path, vec![0xa5; 4096]).unwrap();
    let error = Ledger::open(&path, LIFE).unwrap_err().to_string();
    assert!(error.contains("remove it"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), vec![0xa5; 4096]);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(Ledger::open(&path, LIFE).is_err(), "a link is not followed");
    assert!(!dir.path().join("elsewhere").exists());
}

#[test]
fn another_life_of_the_machine_and_another_namespace_mean_nobody() {
    let bytes = three();
    let reboot = Contents::of(&bytes, Life { boot: 1, ..LIFE }).unwrap();
    assert!(reboot.other_life && reboot.slots.is_empty() && reboot.warnings.is_empty());
    let moved = Life {
        namespace: 1,
        ..LIFE
    };
    let moved = Contents::of(&bytes, moved).unwrap();
    assert!(moved.other_life && moved.warnings.len() == 1);
}

#[test]
fn a_process_found_twice_counts_at_what_is_more() {
    let mut bytes = three();
    // The record of process 4, as if process 1 had a second one.
    let twin = Record {
        process: process(1),
        uid: 7,
        charged_bytes: 999,
        terms: Terms::default(),
    };
    bytes[64 * 4..64 * 5].copy_from_slice(&twin.encode());
    let disk = Disk::of(bytes);
    let (ledger, _) = disk.open();
    assert_eq!(ledger.charge_of(process(1)), Some(999));
    assert_eq!(ledger.charged_bytes(), 999 + 300);
    let (again, _) = disk.open();
    assert_eq!(again.charge_of(process(1)), Some(999));
    assert_eq!(again.count(), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Record(u32, u64),
    Lower(u32, u64),
    Forget(u32),
    Refuse(bool),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..12_u32, 0..1000_u64).prop_map(|(pid, bytes)| Step::Record(pid, bytes)),
        2 => (1..12_u32, 0..1000_u64).prop_map(|(pid, bytes)| Step::Lower(pid, bytes)),
        1 => (1..12_u32).prop_map(Step::Forget),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// Whatever fails: what the next manager finds is what the last write that was taken said, and
    /// who was forgotten (dead) may be found again, never anybody else.
    #[test]
    fn a_failing_disk_loses_nothing(steps in prop::collection::vec(any_step(), 1..60)) {
        let disk = Disk::of(Vec::new());
        let (mut ledger, _) = disk.open();
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        // The dead never come back: a process is its number and its start.
        let mut gone: Vec<u32> = Vec::new();
        let mut dead: Vec<u32> = Vec::new();
        for step in steps {
            match step {
                Step::Record(pid, _) if gone.contains(&pid) => {}
                Step::Record(pid, bytes) => {
                    if ledger.record(process(pid), 7, Terms::default(), bytes).is_ok() {
                        model.insert(pid, bytes);
                    }
                }
                Step::Lower(pid, bytes) => {
                    if ledger.lower(process(pid), bytes).is_ok() && model.contains_key(&pid) {
                        model.insert(pid, bytes);
                    }
                }
                Step::Forget(pid) => {
                    let was = model.remove(&pid).is_some();
                    gone.push(pid);
                    if ledger.forget(process(pid)).is_err() && was {
                        dead.push(pid);
                    }
                }
                Step::Refuse(refuse) => disk.set_refuse(refuse),
                Step::Restart => {
                    disk.set_refuse(false);
                    let (next, past) = disk.open();
                    ledger = next;
                    for pid in charges(&past).into_keys().filter(|pid| !model.contains_key(pid)) {
                        prop_assert!(dead.contains(&pid), "{pid} came from nowhere");
                        ledger.forget(process(pid)).unwrap();
                    }
                    dead.clear();
                }
            }
            let sum: u64 = model.values().sum();
            prop_assert_eq!(ledger.charged_bytes(), sum);
        }
        let contents = Contents::of(&disk.bytes(), LIFE).unwrap();
        for (pid, bytes) in &model {
            let mut slots = contents.slots.iter();
            let is_theirs = |slot: &Slot| matches!(slot, Slot::Used(record)
                if record.process == process(*pid) && record.charged_bytes == *bytes);
            prop_assert!(slots.any(is_theirs), "{pid} is not on the disk");
        }
    }

    /// Bytes that turn anywhere: an error, or a ledger in which every untouched record is found.
    #[test]
    fn turned_bytes_lose_only_themselves(at in 0..64 * 6_usize, with in 1..=255_u8) {
        let mut bytes = three();
        bytes[at] ^= with;
        let Ok(contents) = Contents::of(&bytes, LIFE) else {
            prop_assert!(at < 64, "only a head can be another version's");
            return Ok(());
        };
        let mut sealed: Vec<u32> = contents.slots.iter().filter_map(|slot| match slot {
            Slot::Used(record) => Some(record.process.pid),
            _ => None,
        }).collect();
        sealed.sort_unstable();
        let hit = match at / 64 { 1 => 1, 3 => 3, 4 => 4, _ => 0 };
        let expected: Vec<u32> = [1, 3, 4].into_iter().filter(|pid| *pid != hit).collect();
        prop_assert_eq!(sealed, expected);
        let damaged = contents.slots.iter().filter(|slot| matches!(slot, Slot::Damaged(_))).count();
        prop_assert_eq!(damaged, usize::from(at >= 64));
        prop_assert_eq!(contents.warnings.len(), usize::from(at < 64));
    }
}
