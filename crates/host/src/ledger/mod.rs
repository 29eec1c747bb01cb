//! The ledger: what each process is counted at, on disk before it is told so.
//!
//! A manager that follows one that was killed reads it and counts every living process at its
//! entry, until that reports itself. The ledger is not synced to the disk: it has to survive the
//! manager, and need not survive the machine, with which its processes die.
//!
//! **Owns:** the file's layout, its slots, what damage means.
//!
//! **Must not know:** who may hold how much.
//!
//! # Damage
//!
//! A file in which nothing is a ledger's, or one of another version, is an error at the start: it is
//! not ours to overwrite. Where only the head is damaged, the records are read all the same. A
//! damaged record that names a living process (number and start) counts that process at the larger
//! of what the record says and what the kernel counts for it; one that names none cannot be told
//! from noise and is dropped. Both are told. A piece of a record at the end was never granted: a
//! grant is sent after its record is written.

mod file;
mod record;

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use vidmm_manager::{ProcessId, Terms};

pub(crate) use self::file::LedgerFile;
use self::record::{FREE_SLOT, HeadProblem, Header, RECORD_BYTES, Record, Slot, digest};
use crate::clock;
use crate::error::HostError;

/// The file grows by so many records at once.
const CHUNK_RECORDS: u64 = 256;

/// More records than this are never written or read.
const RECORDS_MAX: u64 = 1 << 20;

/// What is known of the life of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    boot: u64,
    namespace: u64,
}

/// An entry found at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) process: ProcessId,
    pub(crate) uid: u32,
    pub(crate) charged_bytes: u64,
    pub(crate) terms: Terms,
    /// Its checksum is wrong.
    pub(crate) damaged: bool,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Every entry: to be looked at, then [`Ledger::forget`] or [`Ledger::record`].
    pub(crate) found: Vec<Found>,
    /// What somebody should know.
    pub(crate) warnings: Vec<String>,
}

/// Where a process's entry is, and what it says.
#[derive(Debug, Clone, Copy)]
struct Entry {
    slot: u64,
    record: Record,
}

/// The ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Box<dyn LedgerFile>,
    entries: HashMap<ProcessId, Entry>,
    free: Vec<u64>,
    /// Slots that have room on the disk.
    slots: u64,
    charged_bytes: u64,
    incarnation: u64,
}

impl Life {
    /// This machine's now.
    pub(crate) fn now(proc_root: &Path) -> Self {
        let boot = std::fs::read(proc_root.join("sys/kernel/random/boot_id")).unwrap_or_default();
        let namespace = std::fs::read_link(proc_root.join("self/ns/pid")).unwrap_or_default();
        Life {
            boot: digest(&boot),
            namespace: digest(namespace.as_os_str().as_encoded_bytes()),
        }
    }
}

impl Ledger {
    /// Opens the ledger at `path`, or makes it, and reads what the last manager left.
    pub(crate) fn open(path: &Path, life: Life) -> Result<(Self, Past), HostError> {
        let unreadable = |why: &str| HostError::Ledger {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags)
            .open(path)
            .map_err(HostError::file("open the ledger", path))?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(unreadable("it is no ordinary file"));
        }
        let bytes = read(&mut file).map_err(HostError::file("read the ledger", path))?;
        let contents = Contents::of(&bytes, life).map_err(unreadable)?;
        if contents.other_life {
            file.set_len(0)
                .map_err(HostError::file("empty the ledger", path))?;
        }
        Self::begin(Box::new(file), contents, life)
            .map_err(HostError::file("write the ledger", path))
    }

    /// Goes on with what a file had in it.
    fn begin(
        file: Box<dyn LedgerFile>,
        contents: Contents,
        life: Life,
    ) -> io::Result<(Self, Past)> {
        let mut ledger = Ledger {
            file,
            entries: HashMap::new(),
            free: Vec::new(),
            slots: 0,
            charged_bytes: 0,
            incarnation: contents.incarnation,
        };
        ledger.grow(contents.slots.len() as u64)?;
        let header = Header {
            incarnation: ledger.incarnation,
            boot: life.boot,
            namespace: life.namespace,
        };
        ledger.file.write_at(&header.encode(), 0)?;
        let mut past = Past {
            found: Vec::new(),
            warnings: contents.warnings,
        };
        for (slot, what) in (0..).zip(contents.slots) {
            let (record, damaged) = match what {
                Slot::Free => continue,
                Slot::Used(record) => (record, false),
                Slot::Damaged(record) => (record, true),
            };
            if ledger.adopt(slot, record)? {
                past.found.push(Found {
                    process: record.process,
                    uid: record.uid,
                    charged_bytes: record.charged_bytes,
                    terms: record.terms,
                    damaged,
                });
            }
        }
        let used: HashSet<u64> = ledger.entries.values().map(|entry| entry.slot).collect();
        ledger.free = (0..ledger.slots).rev().collect();
        ledger.free.retain(|slot| !used.contains(slot));
        Ok((ledger, past))
    }

    /// Takes over an entry that is on the disk. A process has one; of two the larger counts.
    fn adopt(&mut self, slot: u64, record: Record) -> io::Result<bool> {
        if let Some(known) = self.entries.get(&record.process)
            && known.record.charged_bytes >= record.charged_bytes
        {
            self.clear(slot)?;
            return Ok(false);
        }
        self.charged_bytes = self.charged_bytes.saturating_add(record.charged_bytes);
        if let Some(old) = self.entries.insert(record.process, Entry { slot, record }) {
            self.charged_bytes -= old.record.charged_bytes;
            self.clear(old.slot)?;
        }
        Ok(true)
    }

    /// Which life of the manager this is; never 0.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// All entries together, in bytes.
    pub(crate) fn charged_bytes(&self) -> u64 {
        self.charged_bytes
    }

    /// What a process is counted at on the disk; `None`: it has no entry.
    pub(crate) fn charge_of(&self, process: ProcessId) -> Option<u64> {
        self.entries
            .get(&process)
            .map(|entry| entry.record.charged_bytes)
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Writes that a process is counted at so much. If that fails, what was there before counts -
    /// and may have become unreadable, which the next manager sees.
    pub(crate) fn record(
        &mut self,
        process: ProcessId,
        uid: u32,
        terms: Terms,
        charged_bytes: u64,
    ) -> io::Result<()> {
        let record = Record {
            process,
            uid,
            charged_bytes,
            terms,
        };
        let old = self.entries.get(&process).copied();
        if old.is_some_and(|old| old.record == record) {
            return Ok(());
        }
        let slot = match old {
            Some(old) => old.slot,
            None => self.take_slot()?,
        };
        if let Err(error) = self.file.write_at(&record.encode(), offset(slot)) {
            if old.is_none() {
                self.free.push(slot);
            }
            return Err(error);
        }
        let old_bytes = old.map_or(0, |old| old.record.charged_bytes);
        // All of the entries, or less than what 64 bits count: limits are elsewhere.
        self.charged_bytes = (self.charged_bytes - old_bytes).saturating_add(charged_bytes);
        self.entries.insert(process, Entry { slot, record });
        Ok(())
    }

    /// Writes that a process is counted at less; its terms stay.
    pub(crate) fn lower(&mut self, process: ProcessId, charged_bytes: u64) -> io::Result<()> {
        match self.entries.get(&process).copied() {
            Some(Entry { record, .. }) => {
                self.record(process, record.uid, record.terms, charged_bytes)
            }
            None => Ok(()),
        }
    }

    /// Takes a dead process out. If the disk does not take that, the next manager finds it dead.
    pub(crate) fn forget(&mut self, process: ProcessId) -> io::Result<()> {
        let Some(old) = self.entries.remove(&process) else {
            return Ok(());
        };
        self.charged_bytes -= old.record.charged_bytes;
        self.clear(old.slot)
    }

    fn clear(&mut self, slot: u64) -> io::Result<()> {
        // In use again or not: the next to get the slot writes over it.
        self.free.push(slot);
        self.file.write_at(&FREE_SLOT, offset(slot))
    }

    fn take_slot(&mut self) -> io::Result<u64> {
        if self.free.is_empty() {
            self.grow(self.slots + 1)?;
        }
        self.free
            .pop()
            .ok_or_else(|| io::ErrorKind::StorageFull.into())
    }

    /// Makes room on the disk for at least so many slots.
    fn grow(&mut self, slots: u64) -> io::Result<()> {
        let slots = slots.max(1).next_multiple_of(CHUNK_RECORDS);
        if slots > RECORDS_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.allocate(offset(slots))?;
        // The lowest is taken first.
        self.free.splice(0..0, (self.slots..slots).rev());
        self.slots = slots;
        Ok(())
    }
}

/// Where a slot begins: the head comes before the first.
fn offset(slot: u64) -> u64 {
    (slot + 1) * RECORD_BYTES as u64
}

/// What a file has in it.
#[derive(Debug, Default)]
struct Contents {
    /// Which life of the manager begins.
    incarnation: u64,
    slots: Vec<Slot>,
    warnings: Vec<String>,
    /// Nothing in it can be about a process of now.
    other_life: bool,
}

impl Contents {
    /// `Err`: it is no ledger that could be gone on with; why.
    fn of(bytes: &[u8], life: Life) -> Result<Self, &'static str> {
        let (chunks, rest) = bytes.as_chunks::<RECORD_BYTES>();
        let mut contents = Contents {
            incarnation: clock::realtime_ms().max(1),
            ..Contents::default()
        };
        let mut chunks = chunks.iter();
        let Some(head) = chunks.next() else {
            if !rest.is_empty() {
                contents.warn("it ends within its head; taken for empty");
            }
            return Ok(contents);
        };
        contents.slots = chunks.map(Slot::decode).collect();
        let sealed = |slot: &Slot| matches!(slot, Slot::Used(_));
        let any_record = contents.slots.iter().any(sealed);
        match Header::decode(head) {
            Ok(header) => {
                contents.incarnation = header.incarnation.wrapping_add(1).max(1);
                if header.boot != life.boot || header.namespace != life.namespace {
                    contents.other_life = true;
                    let was_used = contents.slots.iter().any(|slot| *slot != Slot::Free);
                    contents.slots.clear();
                    if header.boot == life.boot && was_used {
                        contents.warn(
                            "it was written in another PID namespace, whose process numbers mean \
                             nothing here; dropped",
                        );
                    }
                }
            }
            Err(HeadProblem::Version) => return Err("it is of another version"),
            Err(HeadProblem::Damaged) => {
                contents.warn("its head is damaged; its records are read one by one");
            }
            Err(HeadProblem::None) if any_record => {
                contents.warn("its head is lost; its records are read one by one");
            }
            Err(HeadProblem::None) => return Err("nothing in it is a ledger's"),
        }
        if !rest.is_empty() && !contents.other_life {
            contents.warn("it ends within a record; that was never granted and is dropped");
        }
        Ok(contents)
    }

    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(offset(RECORDS_MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
