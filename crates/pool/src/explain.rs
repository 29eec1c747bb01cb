//! Every discard can be asked after: the newest are remembered, with whose demand they served.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use vidmm_arena::Kernel;
use vidmm_machine::Reason;
use vidmm_table::{Class, Handle};

use crate::demand::Demand;
use crate::pool::Pool;
use crate::victims::Key;

/// So many discards are remembered.
pub const DISCARDS_REMEMBERED: usize = 1024;

/// One discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discard {
    /// Which discard of the pool it was, counted from 1.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// The allocation. It may have been destroyed since.
    pub allocation: Handle,
    /// Its charge, in bytes.
    pub bytes: u64,
    /// The class that it counted as.
    pub class: Class,
    /// Its rank within its class when it was claimed, by the pool's policy; the lower goes first.
    pub rank: u32,
    /// Why.
    pub reason: Reason,
    /// For whom, as the manager sees processes; 0 is this process, or nobody in particular.
    pub beneficiary_pid: u32,
    /// The manager's order that asked for it; 0 is none.
    pub order: u32,
}

/// What is remembered. A leaf among the locks, taken on discards only.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    discards: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    newest: VecDeque<Discard>,
    count: u64,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.discards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, allocation: Handle, bytes: u64, key: Key, demand: &Demand) {
        let at = SystemTime::now();
        let mut remembered = self.lock();
        remembered.count += 1;
        if remembered.newest.len() == DISCARDS_REMEMBERED {
            remembered.newest.pop_front();
        }
        let number = remembered.count;
        remembered.newest.push_back(Discard {
            number,
            at,
            allocation,
            bytes,
            class: key.class(),
            rank: key.rank(),
            reason: demand.reason,
            beneficiary_pid: demand.beneficiary_pid,
            order: demand.order,
        });
    }

    fn newest(&self, most: usize) -> Vec<Discard> {
        let remembered = self.lock();
        let skip = remembered.newest.len().saturating_sub(most);
        remembered.newest.iter().skip(skip).copied().collect()
    }
}

impl<K: Kernel> Pool<K> {
    /// The newest discards, oldest first: at most `most`, and at most [`DISCARDS_REMEMBERED`].
    #[must_use]
    pub fn discards(&self, most: usize) -> Vec<Discard> {
        let _inside = self.gate.enter();
        self.memory.newest(most)
    }

    /// As [`Pool::discards`], by a caller that is inside the gate.
    pub(crate) fn newest_discards(&self, most: usize) -> Vec<Discard> {
        self.memory.newest(most)
    }
}
