//! The functions, as data. Each but one takes a pointer to one structure; all return an
//! [`NTSTATUS`].

use crate::describe::{Described, Type};
use crate::*;

/// A function.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name, which is also that of the symbol.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What it does, in a sentence.
    pub doc: &'static str,
}

/// What a function takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// A pointer to a structure.
    Structure {
        /// What it points to.
        argument: &'static Type,
        /// Whether that is `const` in C. Not all of these functions leave it as it is.
        is_const: bool,
    },
    /// Several arguments, each a name and its type as Rust spells it.
    Arguments(&'static [(&'static str, &'static str)]),
}

impl Takes {
    /// The structure, if it is one, and whether it is `const` in C.
    #[must_use]
    pub fn structure(self) -> Option<(&'static Type, bool)> {
        match self {
            Takes::Structure { argument, is_const } => Some((argument, is_const)),
            Takes::Arguments(_) => None,
        }
    }
}

macro_rules! functions {
    ($($doc:literal $name:ident $takes:tt;)+) => {
        /// The functions, in the order of the header.
        pub const FUNCTIONS: &[Function] = &[$(Function {
            name: stringify!($name),
            takes: functions!(@takes $takes),
            doc: $doc,
        }),+];
    };
    (@takes (*$constness:ident $argument:ident)) => {
        Takes::Structure {
            argument: &<$argument as Described>::TYPE,
            is_const: functions!(@$constness),
        }
    };
    (@takes [$($name:ident: $ty:ty),+]) => {
        Takes::Arguments(&[$((stringify!($name), stringify!($ty))),+])
    };
    (@const) => { true };
    (@mut) => { false };
}

functions! {
    "Finds the adapters."
    D3DKMTEnumAdapters2(*const D3DKMT_ENUMADAPTERS2);
    "Finds the adapters of some kinds."
    D3DKMTEnumAdapters3(*mut D3DKMT_ENUMADAPTERS3);
    "Opens the adapter with a LUID; writes hAdapter all the same."
    D3DKMTOpenAdapterFromLuid(*const D3DKMT_OPENADAPTERFROMLUID);
    "Closes a handle of an adapter; devices made through it live on."
    D3DKMTCloseAdapter(*const D3DKMT_CLOSEADAPTER);
    "Makes a device."
    D3DKMTCreateDevice(*mut D3DKMT_CREATEDEVICE);
    "Ends a device and everything that belongs to it."
    D3DKMTDestroyDevice(*const D3DKMT_DESTROYDEVICE);
    "Makes a paging queue with its fence."
    D3DKMTCreatePagingQueue(*mut D3DKMT_CREATEPAGINGQUEUE);
    "Ends a paging queue and its fence."
    D3DKMTDestroyPagingQueue(*mut D3DDDI_DESTROYPAGINGQUEUE);
    "Makes allocations, each told by a D3DDDI_ALLOCATIONINFO."
    D3DKMTCreateAllocation(*mut D3DKMT_CREATEALLOCATION);
    "Makes allocations, each told by a D3DDDI_ALLOCATIONINFO2."
    D3DKMTCreateAllocation2(*mut D3DKMT_CREATEALLOCATION);
    "Ends allocations, or a resource with its members."
    D3DKMTDestroyAllocation(*const D3DKMT_DESTROYALLOCATION);
    "Ends allocations, or a resource with its members, as flags say."
    D3DKMTDestroyAllocation2(*const D3DKMT_DESTROYALLOCATION2);
    "Gives a descriptor by which other processes can open a resource."
    D3DKMTShareObjects[
        cObjects: UINT,
        hObjects: *const D3DKMT_HANDLE,
        pObjectAttributes: *mut VOID,
        dwDesiredAccess: DWORD,
        phSharedNtHandle: *mut HANDLE
    ];
    "Asks what there is behind a descriptor of a shared resource."
    D3DKMTQueryResourceInfoFromNtHandle(*mut D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE);
    "Opens a shared resource."
    D3DKMTOpenResourceFromNtHandle(*mut D3DKMT_OPENRESOURCEFROMNTHANDLE);
    "Makes the bytes of an allocation usable. Nests."
    D3DKMTLock2(*mut D3DKMT_LOCK2);
    "Takes a lock back."
    D3DKMTUnlock2(*const D3DKMT_UNLOCK2);
    "Says how much allocations matter."
    D3DKMTSetAllocationPriority(*const D3DKMT_SETALLOCATIONPRIORITY);
    "Tells the budget and what is used of it."
    D3DKMTQueryVideoMemoryInfo(*mut D3DKMT_QUERYVIDEOMEMORYINFO);
    "Says how much memory the process needs at least: a hint, which does not raise its budget."
    D3DKMTChangeVideoMemoryReservation(*const D3DKMT_CHANGEVIDEOMEMORYRESERVATION);
    "Has a function called whenever the budget changes."
    D3DKMTRegisterBudgetChangeNotification(*mut D3DKMT_REGISTERBUDGETCHANGENOTIFICATION);
    "Ends that. The function does not run any more when this returns."
    D3DKMTUnregisterBudgetChangeNotification(*mut D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION);
    "Has a function called whenever the process should trim."
    D3DKMTRegisterTrimNotification(*mut D3DKMT_REGISTERTRIMNOTIFICATION);
    "Ends that. The function does not run any more when this returns."
    D3DKMTUnregisterTrimNotification(*mut D3DKMT_UNREGISTERTRIMNOTIFICATION);
    "Says something to the memory manager: a D3DKMT_VIDMM_ESCAPE."
    D3DKMTEscape(*const D3DKMT_ESCAPE);
    "Offers allocations: their content may be lost until they are reclaimed."
    D3DKMTOfferAllocations(*const D3DKMT_OFFERALLOCATIONS);
    "Reclaims what was offered and tells what was lost."
    D3DKMTReclaimAllocations(*const D3DKMT_RECLAIMALLOCATIONS);
    "Reclaims what was offered and tells what was lost, and what is dead."
    D3DKMTReclaimAllocations2(*mut D3DKMT_RECLAIMALLOCATIONS2);
}
