//! For what memory is claimed: why, for whom, and how far it may go.

use vidmm_machine::Reason;
use vidmm_wire::Threshold;

use crate::victims::Key;

/// A demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) reason: Reason,
    /// The manager's order; 0 is none.
    pub(crate) order: u32,
    /// For whom, as the manager sees it; 0 is this process, or nobody in particular.
    pub(crate) beneficiary_pid: u32,
    /// What may be discarded: LOW, NORMAL, HIGH.
    pub(crate) thresholds: [Threshold; 3],
    /// Ticks at which the thresholds' ranks were so.
    pub(crate) as_of_ticks: u32,
}

impl Demand {
    /// Whether what has this key may be discarded.
    pub(crate) fn allows(&self, key: Key) -> bool {
        match self.thresholds.get(key.class() as usize) {
            Some(Threshold::All) | None => true,
            Some(Threshold::UpTo(rank)) => key.rank() <= *rank,
            Some(Threshold::Nothing) => false,
        }
    }

    /// When ranks are to be taken, if they matter: as of the time that the thresholds are from, so
    /// that whatever was touched since ranks as new.
    pub(crate) fn ranks_as_of_ticks(&self) -> Option<u32> {
        let by_rank = |threshold: &Threshold| matches!(threshold, Threshold::UpTo(_));
        self.thresholds
            .iter()
            .any(by_rank)
            .then_some(self.as_of_ticks)
    }
}

impl From<Reason> for Demand {
    fn from(reason: Reason) -> Self {
        Demand {
            reason,
            order: 0,
            beneficiary_pid: 0,
            thresholds: [Threshold::All; 3],
            as_of_ticks: 0,
        }
    }
}
