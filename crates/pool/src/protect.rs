//! `VIDMM_DEBUG=protect`: memory is accessible only while it is locked.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{MutexGuard, PoisonError};

use vidmm_arena::{Extent, Kernel};
use vidmm_machine::MachineFiles;

use crate::pool::Pool;

/// Extents that are inaccessible now, each of which may cost two mappings.
#[derive(Debug)]
pub(crate) struct Protection {
    extents: BTreeSet<u64>,
    extents_max: usize,
}

/// The kernel's default for `vm.max_map_count`.
const MAPPINGS_DEFAULT: usize = 65_530;

impl Protection {
    /// As many as cost a quarter of the process's mappings: the host program needs the rest.
    pub(crate) fn within_limit_of(files: &MachineFiles) -> Self {
        let limit = fs::read_to_string(files.proc_root.join("sys/vm/max_map_count"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(MAPPINGS_DEFAULT);
        Protection {
            extents: BTreeSet::new(),
            extents_max: limit / 4 / 2,
        }
    }
}

impl<K: Kernel> Pool<K> {
    /// In protect mode, lock and unlock are serial: else a late protection could hit a new lock.
    pub(crate) fn protection(&self) -> Option<MutexGuard<'_, Protection>> {
        let protection = self.protection.as_ref()?;
        Some(protection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The extent is about to be accessed.
    pub(crate) fn unprotect(&self, protection: &mut Protection, extent: Extent) {
        if protection.extents.remove(&extent.to_word()) {
            // It can fail only where it would need more mappings, not fewer; then the access
            // that follows faults, as in this mode it may.
            let _ = self.arena.unprotect(extent);
        }
    }

    /// The extent was unlocked: nothing may touch it now.
    pub(crate) fn protect(&self, protection: &mut Protection, extent: Extent) {
        if protection.extents.len() < protection.extents_max
            && !extent.is_foreign()
            && self.arena.protect(extent).is_ok()
        {
            protection.extents.insert(extent.to_word());
        }
    }

    /// The extent is leaving its allocation: the next one gets it accessible.
    pub(crate) fn forget_protection(&self, extent: Extent) {
        if let Some(mut protection) = self.protection() {
            self.unprotect(&mut protection, extent);
        }
    }
}
