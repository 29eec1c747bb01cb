//! How much of each process's memory is offered and there, and how much was discarded so far.

use std::collections::HashMap;

use vidmm_trace::Kind;

use crate::merge::Recorded;

/// So many allocations are known to be offered at the same time; a process has a fifth of it at most.
const OFFERED_MAX: usize = 8 << 20;
/// So many processes are counted.
const PROCESSES_MAX: usize = 1 << 18;

/// The sums of a process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) offered_bytes: u64,
    pub(super) discarded_bytes: u64,
}

/// The sums of all. What the recorder lost is not in them: an allocation is taken for what the last
/// event of it says.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// The sizes of what is offered, in bytes.
    offered: HashMap<u64, u64>,
    processes: HashMap<u32, Sums>,
}

impl Counters {
    /// Counts an event; the sums of its process, if that changed them.
    pub(super) fn take(&mut self, row: &Recorded) -> Option<Sums> {
        let Recorded { event, id, pid, .. } = *row;
        if self.processes.len() >= PROCESSES_MAX && !self.processes.contains_key(&pid) {
            return None;
        }
        let sums = self.processes.entry(pid).or_default();
        let before = *sums;
        match event.kind {
            Kind::Offer => {
                let is_new = !self.offered.contains_key(&id);
                if is_new && self.offered.len() < OFFERED_MAX {
                    self.offered.insert(id, event.size_bytes);
                    sums.offered_bytes = sums.offered_bytes.saturating_add(event.size_bytes);
                }
            }
            Kind::ReclaimIntact | Kind::ReclaimDiscarded | Kind::Discard | Kind::Destroy => {
                let bytes = self.offered.remove(&id).unwrap_or(0);
                sums.offered_bytes = sums.offered_bytes.saturating_sub(bytes);
                if event.kind == Kind::Discard {
                    sums.discarded_bytes = sums.discarded_bytes.saturating_add(event.size_bytes);
                }
            }
            Kind::Create | Kind::Rebuild => {}
        }
        (*sums != before).then_some(*sums)
    }
}
