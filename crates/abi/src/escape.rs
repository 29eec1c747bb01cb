//! Escapes: what is said to the memory manager beside the calls.

use crate::basic::{D3DKMT_HANDLE, HANDLE, UINT, UINT64, ULONG, ULONGLONG, VOID};

enumeration! {
    /// Whom an escape is for.
    ///
    /// `d3dkmthk.h: D3DKMT_ESCAPETYPE`.
    pub enum D3DKMT_ESCAPETYPE {
        D3DKMT_ESCAPE_DRIVERPRIVATE = 0,
        /// The memory manager: a [`D3DKMT_VIDMM_ESCAPE`].
        D3DKMT_ESCAPE_VIDMM = 1,
        D3DKMT_ESCAPE_TDRDBGCTRL = 2,
        D3DKMT_ESCAPE_VIDSCH = 3,
        D3DKMT_ESCAPE_DEVICE = 4,
        D3DKMT_ESCAPE_DMM = 5,
        D3DKMT_ESCAPE_DEBUG_SNAPSHOT = 6,
        D3DKMT_ESCAPE_DRT_TEST = 8,
        D3DKMT_ESCAPE_DIAGNOSTICS = 9,
        D3DKMT_ESCAPE_OUTPUTDUPL_SNAPSHOT = 10,
        D3DKMT_ESCAPE_OUTPUTDUPL_DIAGNOSTICS = 11,
        D3DKMT_ESCAPE_BDD_PNP = 12,
        D3DKMT_ESCAPE_BDD_FALLBACK = 13,
        D3DKMT_ESCAPE_ACTIVATE_SPECIFIC_DIAG = 14,
        D3DKMT_ESCAPE_MODES_PRUNED_OUT = 15,
        D3DKMT_ESCAPE_WHQL_INFO = 16,
        D3DKMT_ESCAPE_BRIGHTNESS = 17,
        D3DKMT_ESCAPE_EDID_CACHE = 18,
        D3DKMT_ESCAPE_MIRACAST_DISPLAY_REQUEST = 20,
        D3DKMT_ESCAPE_HISTORY_BUFFER_STATUS = 21,
        D3DKMT_ESCAPE_MIRACAST_ADAPTER_DIAG_INFO = 23,
        D3DKMT_ESCAPE_FORCE_BDDFALLBACK_HEADLESS = 24,
        D3DKMT_ESCAPE_REQUEST_MACHINE_CRASH = 25,
        D3DKMT_ESCAPE_SOFTGPU_ENABLE_DISABLE_HMD = 27,
        D3DKMT_ESCAPE_PROCESS_VERIFIER_OPTION = 28,
        D3DKMT_ESCAPE_ADAPTER_VERIFIER_OPTION = 29,
        D3DKMT_ESCAPE_IDD_REQUEST = 30,
        D3DKMT_ESCAPE_DOD_SET_DIRTYRECT_MODE = 31,
        D3DKMT_ESCAPE_LOG_CODEPOINT_PACKET = 32,
        D3DKMT_ESCAPE_LOG_USERMODE_DAIG_PACKET = 33,
        D3DKMT_ESCAPE_GET_EXTERNAL_DIAGNOSTICS = 34,
        D3DKMT_ESCAPE_GET_DISPLAY_CONFIGURATIONS = 36,
        D3DKMT_ESCAPE_QUERY_IOMMU_STATUS = 37,
        D3DKMT_ESCAPE_CCD_DATABASE = 38,
        D3DKMT_ESCAPE_QUERY_DMA_REMAPPING_STATUS = 39,
        D3DKMT_ESCAPE_WIN32K_START = 1024,
        D3DKMT_ESCAPE_WIN32K_HIP_DEVICE_INFO = 1024,
        D3DKMT_ESCAPE_WIN32K_QUERY_CD_ROTATION_BLOCK = 1025,
        D3DKMT_ESCAPE_WIN32K_DPI_INFO = 1026,
        D3DKMT_ESCAPE_WIN32K_PRESENTER_VIEW_INFO = 1027,
        D3DKMT_ESCAPE_WIN32K_SYSTEM_DPI = 1028,
        D3DKMT_ESCAPE_WIN32K_BDD_FALLBACK = 1029,
        D3DKMT_ESCAPE_WIN32K_DDA_TEST_CTL = 1030,
        D3DKMT_ESCAPE_WIN32K_USER_DETECTED_BLACK_SCREEN = 1031,
        D3DKMT_ESCAPE_WIN32K_DISPBROKER_TEST = 1035,
        D3DKMT_ESCAPE_WIN32K_COLOR_PROFILE_INFO = 1036,
        D3DKMT_ESCAPE_WIN32K_SET_DIMMED_STATE = 1037,
        D3DKMT_ESCAPE_WIN32K_SPECIALIZED_DISPLAY_TEST = 1038,
    }
}

flags! {
    /// How an escape is handled.
    ///
    /// `d3dukmdt.h: D3DDDI_ESCAPEFLAGS`.
    pub Valued D3DDDI_ESCAPEFLAGS: UINT {
        /// It touches the hardware.
        HardwareAccess: 0, 1;
        /// It asks for the state of a device.
        DeviceStatusQuery: 1, 1;
        /// It changes how many frames are queued.
        ChangeFrameLatency: 2, 1;
        /// Other work need not wait for it.
        NoAdapterSynchronization: 3, 1;
        /// Must be 0.
        Reserved: 4, 1;
        /// Its data are a virtual machine's.
        VirtualMachineData: 5, 1;
        /// The driver knows it.
        DriverKnownEscape: 6, 1;
        /// All drivers know it.
        DriverCommonEscape: 7, 1;
        /// Must be 0.
        Reserved2: 8, 24;
    }
}

structure! {
    /// Says something to the adapter that no other call says.
    ///
    /// `d3dkmthk.h: D3DKMT_ESCAPE`.
    pub struct D3DKMT_ESCAPE {
        /// The adapter.
        pub hAdapter: D3DKMT_HANDLE,
        /// The device it is about, or 0.
        pub hDevice: D3DKMT_HANDLE,
        /// Whom it is for.
        pub Type: D3DKMT_ESCAPETYPE,
        /// How it is handled.
        pub Flags: D3DDDI_ESCAPEFLAGS,
        /// In and out: what is said; for the memory manager a [`D3DKMT_VIDMM_ESCAPE`].
        pub pPrivateDriverData: *mut VOID,
        /// The size of that, in bytes.
        pub PrivateDriverDataSize: UINT,
        /// The context it is about, or 0.
        pub hContext: D3DKMT_HANDLE,
    }
}

enumeration! {
    /// What is said to the memory manager.
    ///
    /// `d3dkmthk.h: D3DKMT_VIDMMESCAPETYPE`.
    pub enum D3DKMT_VIDMMESCAPETYPE {
        /// Behave so, for tests: [`D3DKMT_VIDMM_ESCAPE_SETFAULT`].
        D3DKMT_VIDMMESCAPETYPE_SETFAULT = 0,
        D3DKMT_VIDMMESCAPETYPE_RUN_COHERENCY_TEST = 1,
        D3DKMT_VIDMMESCAPETYPE_RUN_UNMAP_TO_DUMMY_PAGE_TEST = 2,
        D3DKMT_VIDMMESCAPETYPE_APERTURE_CORRUPTION_CHECK = 3,
        D3DKMT_VIDMMESCAPETYPE_SUSPEND_CPU_ACCESS_TEST = 4,
        /// Discard now: [`D3DKMT_VIDMM_ESCAPE_EVICT`].
        D3DKMT_VIDMMESCAPETYPE_EVICT = 5,
        D3DKMT_VIDMMESCAPETYPE_EVICT_BY_NT_HANDLE = 6,
        D3DKMT_VIDMMESCAPETYPE_GET_VAD_INFO = 7,
        /// Change the budget: [`D3DKMT_VIDMM_ESCAPE_SETBUDGET`].
        D3DKMT_VIDMMESCAPETYPE_SET_BUDGET = 8,
        D3DKMT_VIDMMESCAPETYPE_SUSPEND_PROCESS = 9,
        D3DKMT_VIDMMESCAPETYPE_RESUME_PROCESS = 10,
        /// What is beyond the budget: [`D3DKMT_VIDMM_ESCAPE_GETBUDGET`].
        D3DKMT_VIDMMESCAPETYPE_GET_BUDGET = 11,
        D3DKMT_VIDMMESCAPETYPE_SET_TRIM_INTERVALS = 12,
        D3DKMT_VIDMMESCAPETYPE_EVICT_BY_CRITERIA = 13,
        D3DKMT_VIDMMESCAPETYPE_WAKE = 14,
        D3DKMT_VIDMMESCAPETYPE_DEFRAG = 15,
        D3DKMT_VIDMMESCAPETYPE_DELAYEXECUTION = 16,
        D3DKMT_VIDMMESCAPETYPE_VALIDATE_INTEGRITY = 17,
        D3DKMT_VIDMMESCAPETYPE_SET_EVICTION_CONFIG = 18,
    }
}

flags! {
    /// How the memory manager is to behave, for tests: `SetFault` of [`D3DKMT_VIDMM_ESCAPE`].
    pub Union D3DKMT_VIDMM_ESCAPE_SETFAULT: ULONG {
        /// Not understood here.
        Reserved0: 0, 13;
        /// Nothing that is offered is discarded.
        NeverDiscardOfferedAllocation: 13, 1;
        /// Everything that is offered is discarded at once.
        AlwaysDiscardOfferedAllocation: 14, 1;
        /// Not understood here.
        Reserved: 15, 17;
    }
}

structure! {
    /// What to discard; nothing named: everything. `Evict` of [`D3DKMT_VIDMM_ESCAPE`].
    pub struct D3DKMT_VIDMM_ESCAPE_EVICT {
        /// A resource, or 0.
        pub ResourceHandle: D3DKMT_HANDLE,
        /// An allocation, or 0.
        pub AllocationHandle: D3DKMT_HANDLE,
        /// Of which process: NULL for this one.
        pub hProcess: HANDLE,
    }
}

structure! {
    /// The budgets of the process, in bytes: `SetBudget` of [`D3DKMT_VIDMM_ESCAPE`].
    pub struct D3DKMT_VIDMM_ESCAPE_SETBUDGET {
        /// Of the adapter's own memory.
        pub LocalMemoryBudget: ULONGLONG,
        /// Of other memory.
        pub SystemMemoryBudget: ULONGLONG,
    }
}

structure! {
    /// What the process holds beyond its budget: `GetBudget` of [`D3DKMT_VIDMM_ESCAPE`].
    pub struct D3DKMT_VIDMM_ESCAPE_GETBUDGET {
        /// Out: how many bytes.
        pub NumBytesToTrim: ULONGLONG,
    }
}

structure! {
    /// Something said to the memory manager: the private driver data of a D3DKMT_ESCAPE.
    ///
    /// `d3dkmthk.h: D3DKMT_VIDMM_ESCAPE`; of its union only the members that vidmm understands.
    pub struct D3DKMT_VIDMM_ESCAPE {
        /// Which member of the union it is.
        pub Type: D3DKMT_VIDMMESCAPETYPE,
        /// The union; in C also `SetFault`, `Evict`, `SetBudget` and `GetBudget`. The methods read
        /// and write them.
        pub Payload: VidmmEscapePayload = [
            SetFault: D3DKMT_VIDMM_ESCAPE_SETFAULT => Named,
            Evict: D3DKMT_VIDMM_ESCAPE_EVICT => Named,
            SetBudget: D3DKMT_VIDMM_ESCAPE_SETBUDGET => Named,
            GetBudget: D3DKMT_VIDMM_ESCAPE_GETBUDGET => Named,
            Reserved: [UINT64; 135],
        ],
    }
}

/// The union of a [`D3DKMT_VIDMM_ESCAPE`] as it lies in memory.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VidmmEscapePayload(
    /// Its bytes, eight by eight.
    pub [UINT64; 135],
);

impl Default for VidmmEscapePayload {
    fn default() -> Self {
        VidmmEscapePayload([0; 135])
    }
}

/// Two numbers of 32 bits as they lie in eight bytes.
fn halves(word: UINT64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}

/// The opposite of [`halves`].
fn joined([first, second]: [u32; 2]) -> UINT64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    UINT64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

impl D3DKMT_VIDMM_ESCAPE {
    /// `SetFault`.
    #[must_use]
    pub fn set_fault(&self) -> D3DKMT_VIDMM_ESCAPE_SETFAULT {
        let [Value, _] = halves(self.Payload.0[0]);
        D3DKMT_VIDMM_ESCAPE_SETFAULT { Value }
    }

    /// Writes `SetFault`.
    pub fn put_set_fault(&mut self, bits: D3DKMT_VIDMM_ESCAPE_SETFAULT) {
        let [_, rest] = halves(self.Payload.0[0]);
        self.Payload.0[0] = joined([bits.Value, rest]);
    }

    /// `Evict`.
    #[must_use]
    pub fn evict(&self) -> D3DKMT_VIDMM_ESCAPE_EVICT {
        let [ResourceHandle, AllocationHandle] = halves(self.Payload.0[0]);
        // Compiles only where pointers have 64 bits, as this interface wants.
        let address = usize::from_ne_bytes(self.Payload.0[1].to_ne_bytes());
        let hProcess = core::ptr::with_exposed_provenance_mut(address);
        D3DKMT_VIDMM_ESCAPE_EVICT {
            ResourceHandle,
            AllocationHandle,
            hProcess,
        }
    }

    /// Writes `Evict`.
    pub fn put_evict(&mut self, evict: D3DKMT_VIDMM_ESCAPE_EVICT) {
        self.Payload.0[0] = joined([evict.ResourceHandle, evict.AllocationHandle]);
        self.Payload.0[1] = evict.hProcess.expose_provenance() as UINT64;
    }

    /// `SetBudget`.
    #[must_use]
    pub fn set_budget(&self) -> D3DKMT_VIDMM_ESCAPE_SETBUDGET {
        let [LocalMemoryBudget, SystemMemoryBudget, ..] = self.Payload.0;
        D3DKMT_VIDMM_ESCAPE_SETBUDGET {
            LocalMemoryBudget,
            SystemMemoryBudget,
        }
    }

    /// Writes `SetBudget`.
    pub fn put_set_budget(&mut self, budget: D3DKMT_VIDMM_ESCAPE_SETBUDGET) {
        self.Payload.0[0] = budget.LocalMemoryBudget;
        self.Payload.0[1] = budget.SystemMemoryBudget;
    }

    /// `GetBudget`.
    #[must_use]
    pub fn get_budget(&self) -> D3DKMT_VIDMM_ESCAPE_GETBUDGET {
        D3DKMT_VIDMM_ESCAPE_GETBUDGET {
            NumBytesToTrim: self.Payload.0[0],
        }
    }

    /// Writes `GetBudget`.
    pub fn put_get_budget(&mut self, answer: D3DKMT_VIDMM_ESCAPE_GETBUDGET) {
        self.Payload.0[0] = answer.NumBytesToTrim;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_of_the_union_is_read_as_it_was_written() {
        let mut escape = D3DKMT_VIDMM_ESCAPE::default();
        let evict = D3DKMT_VIDMM_ESCAPE_EVICT {
            ResourceHandle: 0x40,
            AllocationHandle: 0x80,
            hProcess: core::ptr::without_provenance_mut(0x1234),
        };
        escape.put_evict(evict);
        assert_eq!(escape.evict(), evict);

        let budget = D3DKMT_VIDMM_ESCAPE_SETBUDGET {
            LocalMemoryBudget: 1 << 40,
            SystemMemoryBudget: 7,
        };
        escape.put_set_budget(budget);
        assert_eq!(escape.set_budget(), budget);

        let answer = D3DKMT_VIDMM_ESCAPE_GETBUDGET {
            NumBytesToTrim: u64::MAX,
        };
        escape.put_get_budget(answer);
        assert_eq!(escape.get_budget(), answer);

        let never = D3DKMT_VIDMM_ESCAPE_SETFAULT::NeverDiscardOfferedAllocation;
        escape.put_set_fault(D3DKMT_VIDMM_ESCAPE_SETFAULT { Value: never });
        assert_eq!(escape.set_fault().Value, 1 << 13);
        assert_eq!(
            escape.evict().AllocationHandle,
            u32::MAX,
            "the half beside it stays"
        );
    }
}
