//! Another reading of the Windows headers, Microsoft's own for Rust, agrees.
//!
//! Of `windows-sys` only sizes, offsets and numbers are used; nothing of it is linked.

use std::mem::{offset_of, size_of};
use windows_sys::Wdk::Graphics::Direct3D as theirs;
use windows_sys::Win32::Foundation as foundation;

/// Compares a type's size and the offsets of its fields, given as they are called here and, where
/// that differs, there; and counts the comparisons.
macro_rules! same {
    ($count:ident, $module:ident::$name:ident { $($field:ident $(as $other:ident $(. $inner:ident)*)?),* $(,)? }) => {{
        assert_eq!(
            size_of::<vidmm_abi::$name>(), size_of::<$module::$name>(), stringify!($name));
        $count.0 += 1;
        $(
            assert_eq!(
                offset_of!(vidmm_abi::$name, $field),
                same!(@offset $module::$name, $field $(, $other $(. $inner)*)?),
                stringify!($name.$field),
            );
            $count.1 += 1;
        )*
    }};
    (@offset $module:ident::$name:ident, $field:ident) => { offset_of!($module::$name, $field) };
    (@offset $module:ident::$name:ident, $field:ident, $other:ident $(. $inner:ident)*) => {
        offset_of!($module::$name, $other $(. $inner)*)
    };
}

#[test]
fn structures_have_the_same_layout() {
    let mut count = (0, 0);
    same!(count, foundation::LUID { LowPart, HighPart });
    same!(
        count,
        theirs::D3DKMT_ADAPTERINFO {
            hAdapter,
            AdapterLuid,
            NumOfSources,
            bPrecisePresentRegionsPreferred,
        }
    );
    same!(
        count,
        theirs::D3DKMT_ENUMADAPTERS2 {
            NumAdapters,
            pAdapters
        }
    );
    same!(count, theirs::D3DKMT_ENUMADAPTERS_FILTER { Value });
    same!(
        count,
        theirs::D3DKMT_ENUMADAPTERS3 {
            Filter,
            NumAdapters,
            pAdapters
        }
    );
    same!(
        count,
        theirs::D3DKMT_OPENADAPTERFROMLUID {
            AdapterLuid,
            hAdapter
        }
    );
    same!(count, theirs::D3DKMT_CLOSEADAPTER { hAdapter });
    same!(count, theirs::D3DKMT_CREATEDEVICEFLAGS { Value as _bitfield });
    same!(count, theirs::D3DDDI_ALLOCATIONLIST { hAllocation, Value as Anonymous });
    same!(count, theirs::D3DDDI_PATCHLOCATIONLIST {
        AllocationIndex, Value as Anonymous, DriverId, AllocationOffset, PatchOffset, SplitOffset,
    });
    same!(count, theirs::D3DKMT_CREATEDEVICE {
        hAdapter as Anonymous, Flags, hDevice, pCommandBuffer, CommandBufferSize,
        pAllocationList, AllocationListSize, pPatchLocationList, PatchLocationListSize,
    });
    same!(count, theirs::D3DKMT_DESTROYDEVICE { hDevice });
    same!(
        count,
        theirs::D3DKMT_CREATEPAGINGQUEUE {
            hDevice,
            Priority,
            hPagingQueue,
            hSyncObject,
            FenceValueCPUVirtualAddress,
            PhysicalAdapterIndex,
        }
    );
    same!(count, theirs::D3DDDI_DESTROYPAGINGQUEUE { hPagingQueue });
    same!(
        count,
        theirs::D3DKMT_STANDARDALLOCATION_EXISTINGHEAP { Size }
    );
    same!(count, theirs::D3DKMT_CREATESTANDARDALLOCATIONFLAGS { Value as Anonymous });
    same!(count, theirs::D3DKMT_CREATESTANDARDALLOCATION {
        Type, ExistingHeapData as Anonymous, Flags,
    });
    same!(
        count,
        theirs::D3DDDI_ALLOCATIONINFO {
            hAllocation,
            pSystemMem,
            pPrivateDriverData,
            PrivateDriverDataSize,
            VidPnSourceId,
            Flags,
        }
    );
    same!(count, theirs::D3DDDI_ALLOCATIONINFO2 {
        hAllocation, pSystemMem as Anonymous1, pPrivateDriverData, PrivateDriverDataSize,
        VidPnSourceId, Flags, GpuVirtualAddress, Priority as Anonymous2, Reserved,
    });
    same!(count, theirs::D3DKMT_CREATEALLOCATIONFLAGS { Value as _bitfield });
    same!(count, theirs::D3DKMT_CREATEALLOCATION {
        hDevice, hResource, hGlobalShare, pPrivateRuntimeData, PrivateRuntimeDataSize,
        pPrivateDriverData as Anonymous1, PrivateDriverDataSize, NumAllocations,
        pAllocationInfo as Anonymous2, Flags, hPrivateRuntimeResourceHandle,
    });
    same!(
        count,
        theirs::D3DKMT_DESTROYALLOCATION {
            hDevice,
            hResource,
            phAllocationList,
            AllocationCount,
        }
    );
    same!(count, theirs::D3DDDICB_DESTROYALLOCATION2FLAGS { Value as Anonymous });
    same!(
        count,
        theirs::D3DKMT_DESTROYALLOCATION2 {
            hDevice,
            hResource,
            phAllocationList,
            AllocationCount,
            Flags,
        }
    );
    same!(count, theirs::D3DDDICB_LOCK2FLAGS { Value as Anonymous });
    same!(
        count,
        theirs::D3DKMT_LOCK2 {
            hDevice,
            hAllocation,
            Flags,
            pData
        }
    );
    same!(
        count,
        theirs::D3DKMT_UNLOCK2 {
            hDevice,
            hAllocation
        }
    );
    same!(
        count,
        theirs::D3DKMT_SETALLOCATIONPRIORITY {
            hDevice,
            hResource,
            phAllocationList,
            AllocationCount,
            pPriorities,
        }
    );
    same!(
        count,
        theirs::D3DKMT_QUERYVIDEOMEMORYINFO {
            hProcess,
            hAdapter,
            MemorySegmentGroup,
            Budget,
            CurrentUsage,
            CurrentReservation,
            AvailableForReservation,
            PhysicalAdapterIndex,
        }
    );
    same!(
        count,
        theirs::D3DKMT_CHANGEVIDEOMEMORYRESERVATION {
            hProcess,
            hAdapter,
            MemorySegmentGroup,
            Reservation,
            PhysicalAdapterIndex,
        }
    );
    same!(
        count,
        theirs::D3DKMT_BUDGETCHANGENOTIFICATION { Context, Budget }
    );
    same!(
        count,
        theirs::D3DKMT_REGISTERBUDGETCHANGENOTIFICATION {
            hDevice,
            Callback,
            Context,
            Handle,
        }
    );
    same!(
        count,
        theirs::D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION { Handle }
    );
    same!(count, theirs::D3DDDI_TRIMRESIDENCYSET_FLAGS { Value as Anonymous });
    same!(
        count,
        theirs::D3DKMT_TRIMNOTIFICATION {
            Context,
            Flags,
            NumBytesToTrim
        }
    );
    same!(
        count,
        theirs::D3DKMT_REGISTERTRIMNOTIFICATION {
            AdapterLuid,
            hDevice,
            Callback,
            Context,
            Handle,
        }
    );
    same!(
        count,
        theirs::D3DKMT_UNREGISTERTRIMNOTIFICATION { Handle, Callback }
    );
    same!(count, theirs::D3DDDI_ESCAPEFLAGS { Value as Anonymous });
    same!(
        count,
        theirs::D3DKMT_ESCAPE {
            hAdapter,
            hDevice,
            Type,
            Flags,
            pPrivateDriverData,
            PrivateDriverDataSize,
            hContext,
        }
    );
    same!(count, theirs::D3DKMT_OFFER_FLAGS { Value as Anonymous });
    same!(
        count,
        theirs::D3DKMT_OFFERALLOCATIONS {
            hDevice,
            pResources,
            HandleList,
            NumAllocations,
            Priority,
            Flags,
        }
    );
    same!(
        count,
        theirs::D3DKMT_RECLAIMALLOCATIONS {
            hDevice,
            pResources,
            HandleList,
            pDiscarded,
            NumAllocations,
        }
    );
    same!(count, theirs::D3DKMT_RECLAIMALLOCATIONS2 {
        hPagingQueue, NumAllocations, pResources, HandleList, pDiscarded as Anonymous,
        PagingFenceValue,
    });
    same!(count, theirs::D3DKMT_VIDMM_ESCAPE { Type, Payload as Anonymous });
    same!(
        count,
        theirs::D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE {
            hDevice,
            hNtHandle,
            pPrivateRuntimeData,
            PrivateRuntimeDataSize,
            TotalPrivateDriverDataSize,
            ResourcePrivateDriverDataSize,
            NumAllocations,
        }
    );
    same!(
        count,
        theirs::D3DDDI_OPENALLOCATIONINFO2 {
            hAllocation,
            pPrivateDriverData,
            PrivateDriverDataSize,
            GpuVirtualAddress,
            Reserved,
        }
    );
    same!(
        count,
        theirs::D3DKMT_OPENRESOURCEFROMNTHANDLE {
            hDevice,
            hNtHandle,
            NumAllocations,
            pOpenAllocationInfo2,
            PrivateRuntimeDataSize,
            pPrivateRuntimeData,
            ResourcePrivateDriverDataSize,
            pResourcePrivateDriverData,
            TotalPrivateDriverDataBufferSize,
            pTotalPrivateDriverDataBuffer,
            hResource,
            hKeyedMutex,
            pKeyedMutexPrivateRuntimeData,
            KeyedMutexPrivateRuntimeDataSize,
            hSyncObject,
        }
    );
    assert_eq!(count, (47, 181), "structures and fields compared");
}

/// What the functions of a program's are given, and that they return nothing. The calling convention
/// of Windows ("system") is C's where there is only one.
#[test]
fn callbacks_take_the_same() {
    type Function<T> = Option<unsafe extern "system" fn(T)>;
    let _: [Function<*const theirs::D3DKMT_BUDGETCHANGENOTIFICATION>; 1] =
        [theirs::PFND3DKMT_BUDGETCHANGENOTIFICATIONCALLBACK::None];
    let _: [Function<*mut theirs::D3DKMT_TRIMNOTIFICATION>; 1] =
        [theirs::PFND3DKMT_TRIMNOTIFICATIONCALLBACK::None];
    type Own<T> = Option<unsafe extern "C" fn(T)>;
    let _: Own<*const vidmm_abi::D3DKMT_BUDGETCHANGENOTIFICATION> =
        vidmm_abi::PFND3DKMT_BUDGETCHANGENOTIFICATIONCALLBACK::default().0;
    let _: Own<*mut vidmm_abi::D3DKMT_TRIMNOTIFICATION> =
        vidmm_abi::PFND3DKMT_TRIMNOTIFICATIONCALLBACK::default().0;
}

#[test]
fn the_union_of_the_memory_managers_escape_is_the_same() {
    assert_eq!(size_of::<vidmm_abi::D3DKMT_VIDMM_ESCAPE>(), 1088);
    assert_eq!(offset_of!(vidmm_abi::D3DKMT_VIDMM_ESCAPE, Payload), 8);
    assert_eq!(
        size_of::<vidmm_abi::VidmmEscapePayload>(),
        size_of::<theirs::D3DKMT_VIDMM_ESCAPE_0>()
    );
    macro_rules! same_member {
        ($ours:ident, $theirs:ident: $($field:ident),*) => {
            assert_eq!(size_of::<vidmm_abi::$ours>(), size_of::<theirs::$theirs>());
            $(assert_eq!(
                offset_of!(vidmm_abi::$ours, $field),
                offset_of!(theirs::$theirs, $field)
            );)*
        };
    }
    same_member!(D3DKMT_VIDMM_ESCAPE_SETFAULT, D3DKMT_VIDMM_ESCAPE_0_0:);
    same_member!(D3DKMT_VIDMM_ESCAPE_EVICT, D3DKMT_VIDMM_ESCAPE_0_1:
        ResourceHandle, AllocationHandle, hProcess);
    same_member!(D3DKMT_VIDMM_ESCAPE_SETBUDGET, D3DKMT_VIDMM_ESCAPE_0_4:
        LocalMemoryBudget, SystemMemoryBudget);
    same_member!(D3DKMT_VIDMM_ESCAPE_GETBUDGET, D3DKMT_VIDMM_ESCAPE_0_7: NumBytesToTrim);
}

/// Compares numbers by their names, and counts them.
macro_rules! same_values {
    ($module:ident: $($name:ident)+) => {{
        let pairs = [$((vidmm_abi::$name.0, $module::$name, stringify!($name))),+];
        for (ours, theirs, name) in pairs {
            assert_eq!(ours, theirs, "{name}");
        }
        pairs.len()
    }};
}

#[test]
fn enumerators_have_the_same_values() {
    let count = same_values!(theirs:
        D3DKMT_ESCAPE_DRIVERPRIVATE
        D3DKMT_ESCAPE_VIDMM
        D3DKMT_ESCAPE_TDRDBGCTRL
        D3DKMT_ESCAPE_VIDSCH
        D3DKMT_ESCAPE_DEVICE
        D3DKMT_ESCAPE_DMM
        D3DKMT_ESCAPE_DEBUG_SNAPSHOT
        D3DKMT_ESCAPE_DRT_TEST
        D3DKMT_ESCAPE_DIAGNOSTICS
        D3DKMT_ESCAPE_OUTPUTDUPL_SNAPSHOT
        D3DKMT_ESCAPE_OUTPUTDUPL_DIAGNOSTICS
        D3DKMT_ESCAPE_BDD_PNP
        D3DKMT_ESCAPE_BDD_FALLBACK
        D3DKMT_ESCAPE_ACTIVATE_SPECIFIC_DIAG
        D3DKMT_ESCAPE_MODES_PRUNED_OUT
        D3DKMT_ESCAPE_WHQL_INFO
        D3DKMT_ESCAPE_BRIGHTNESS
        D3DKMT_ESCAPE_EDID_CACHE
        D3DKMT_ESCAPE_MIRACAST_DISPLAY_REQUEST
        D3DKMT_ESCAPE_HISTORY_BUFFER_STATUS
        D3DKMT_ESCAPE_MIRACAST_ADAPTER_DIAG_INFO
        D3DKMT_ESCAPE_FORCE_BDDFALLBACK_HEADLESS
        D3DKMT_ESCAPE_REQUEST_MACHINE_CRASH
        D3DKMT_ESCAPE_SOFTGPU_ENABLE_DISABLE_HMD
        D3DKMT_ESCAPE_PROCESS_VERIFIER_OPTION
        D3DKMT_ESCAPE_ADAPTER_VERIFIER_OPTION
        D3DKMT_ESCAPE_IDD_REQUEST
        D3DKMT_ESCAPE_DOD_SET_DIRTYRECT_MODE
        D3DKMT_ESCAPE_LOG_CODEPOINT_PACKET
        D3DKMT_ESCAPE_LOG_USERMODE_DAIG_PACKET
        D3DKMT_ESCAPE_GET_EXTERNAL_DIAGNOSTICS
        D3DKMT_ESCAPE_GET_DISPLAY_CONFIGURATIONS
        D3DKMT_ESCAPE_QUERY_IOMMU_STATUS
        D3DKMT_ESCAPE_CCD_DATABASE
        D3DKMT_ESCAPE_QUERY_DMA_REMAPPING_STATUS
        D3DKMT_ESCAPE_WIN32K_START
        D3DKMT_ESCAPE_WIN32K_HIP_DEVICE_INFO
        D3DKMT_ESCAPE_WIN32K_QUERY_CD_ROTATION_BLOCK
        D3DKMT_ESCAPE_WIN32K_DPI_INFO
        D3DKMT_ESCAPE_WIN32K_PRESENTER_VIEW_INFO
        D3DKMT_ESCAPE_WIN32K_SYSTEM_DPI
        D3DKMT_ESCAPE_WIN32K_BDD_FALLBACK
        D3DKMT_ESCAPE_WIN32K_DDA_TEST_CTL
        D3DKMT_ESCAPE_WIN32K_USER_DETECTED_BLACK_SCREEN
        D3DKMT_ESCAPE_WIN32K_DISPBROKER_TEST
        D3DKMT_ESCAPE_WIN32K_COLOR_PROFILE_INFO
        D3DKMT_ESCAPE_WIN32K_SET_DIMMED_STATE
        D3DKMT_ESCAPE_WIN32K_SPECIALIZED_DISPLAY_TEST
        D3DKMT_VIDMMESCAPETYPE_SETFAULT
        D3DKMT_VIDMMESCAPETYPE_RUN_COHERENCY_TEST
        D3DKMT_VIDMMESCAPETYPE_RUN_UNMAP_TO_DUMMY_PAGE_TEST
        D3DKMT_VIDMMESCAPETYPE_APERTURE_CORRUPTION_CHECK
        D3DKMT_VIDMMESCAPETYPE_SUSPEND_CPU_ACCESS_TEST
        D3DKMT_VIDMMESCAPETYPE_EVICT
        D3DKMT_VIDMMESCAPETYPE_EVICT_BY_NT_HANDLE
        D3DKMT_VIDMMESCAPETYPE_GET_VAD_INFO
        D3DKMT_VIDMMESCAPETYPE_SET_BUDGET
        D3DKMT_VIDMMESCAPETYPE_SUSPEND_PROCESS
        D3DKMT_VIDMMESCAPETYPE_RESUME_PROCESS
        D3DKMT_VIDMMESCAPETYPE_GET_BUDGET
        D3DKMT_VIDMMESCAPETYPE_SET_TRIM_INTERVALS
        D3DKMT_VIDMMESCAPETYPE_EVICT_BY_CRITERIA
        D3DKMT_VIDMMESCAPETYPE_WAKE
        D3DKMT_VIDMMESCAPETYPE_DEFRAG
        D3DKMT_VIDMMESCAPETYPE_DELAYEXECUTION
        D3DKMT_VIDMMESCAPETYPE_VALIDATE_INTEGRITY
        D3DKMT_VIDMMESCAPETYPE_SET_EVICTION_CONFIG
        D3DKMT_STANDARDALLOCATIONTYPE_EXISTINGHEAP
        D3DKMT_STANDARDALLOCATIONTYPE_INTERNALBACKINGSTORE
        D3DKMT_STANDARDALLOCATIONTYPE_MAX
        D3DKMT_OFFER_PRIORITY_LOW
        D3DKMT_OFFER_PRIORITY_NORMAL
        D3DKMT_OFFER_PRIORITY_HIGH
        D3DKMT_OFFER_PRIORITY_AUTO
        D3DDDI_RECLAIM_RESULT_OK
        D3DDDI_RECLAIM_RESULT_DISCARDED
        D3DDDI_RECLAIM_RESULT_NOT_COMMITTED
        D3DDDI_PAGINGQUEUE_PRIORITY_BELOW_NORMAL
        D3DDDI_PAGINGQUEUE_PRIORITY_NORMAL
        D3DDDI_PAGINGQUEUE_PRIORITY_ABOVE_NORMAL
        D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL
        D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL
    );
    assert_eq!(count, 82);
}

#[test]
fn allocation_priorities_have_the_same_values() {
    let pairs = [
        (
            vidmm_abi::D3DDDI_ALLOCATIONPRIORITY_MINIMUM,
            theirs::D3DDDI_ALLOCATIONPRIORITY_MINIMUM,
        ),
        (
            vidmm_abi::D3DDDI_ALLOCATIONPRIORITY_LOW,
            theirs::D3DDDI_ALLOCATIONPRIORITY_LOW,
        ),
        (
            vidmm_abi::D3DDDI_ALLOCATIONPRIORITY_NORMAL,
            theirs::D3DDDI_ALLOCATIONPRIORITY_NORMAL,
        ),
        (
            vidmm_abi::D3DDDI_ALLOCATIONPRIORITY_HIGH,
            theirs::D3DDDI_ALLOCATIONPRIORITY_HIGH,
        ),
        (
            vidmm_abi::D3DDDI_ALLOCATIONPRIORITY_MAXIMUM,
            theirs::D3DDDI_ALLOCATIONPRIORITY_MAXIMUM,
        ),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn statuses_have_the_same_values() {
    let count = same_values!(foundation:
        STATUS_SUCCESS
        STATUS_TIMEOUT
        STATUS_PENDING
        STATUS_BUFFER_OVERFLOW
        STATUS_UNSUCCESSFUL
        STATUS_NOT_IMPLEMENTED
        STATUS_INVALID_HANDLE
        STATUS_INVALID_PARAMETER
        STATUS_NO_MEMORY
        STATUS_ILLEGAL_INSTRUCTION
        STATUS_ACCESS_DENIED
        STATUS_BUFFER_TOO_SMALL
        STATUS_OBJECT_TYPE_MISMATCH
        STATUS_OBJECT_NAME_INVALID
        STATUS_OBJECT_NAME_NOT_FOUND
        STATUS_OBJECT_NAME_COLLISION
        STATUS_INSUFFICIENT_RESOURCES
        STATUS_NOT_SUPPORTED
        STATUS_COMMITMENT_LIMIT
        STATUS_DEVICE_REMOVED
        STATUS_GRAPHICS_NO_VIDEO_MEMORY
        STATUS_GRAPHICS_CANT_LOCK_MEMORY
        STATUS_GRAPHICS_ALLOCATION_BUSY
        STATUS_GRAPHICS_TOO_MANY_REFERENCES
        STATUS_GRAPHICS_TRY_AGAIN_LATER
        STATUS_GRAPHICS_TRY_AGAIN_NOW
        STATUS_GRAPHICS_ALLOCATION_INVALID
        STATUS_GRAPHICS_UNSWIZZLING_APERTURE_UNAVAILABLE
        STATUS_GRAPHICS_UNSWIZZLING_APERTURE_UNSUPPORTED
        STATUS_GRAPHICS_CANT_EVICT_PINNED_ALLOCATION
        STATUS_GRAPHICS_INVALID_ALLOCATION_USAGE
        STATUS_GRAPHICS_CANT_RENDER_LOCKED_ALLOCATION
        STATUS_GRAPHICS_ALLOCATION_CLOSED
        STATUS_GRAPHICS_INVALID_ALLOCATION_INSTANCE
        STATUS_GRAPHICS_INVALID_ALLOCATION_HANDLE
        STATUS_GRAPHICS_ALLOCATION_CONTENT_LOST
        STATUS_GRAPHICS_GPU_EXCEPTION_ON_DEVICE
    );
    assert_eq!((count, vidmm_abi::STATUSES.len()), (37, 37));
}
