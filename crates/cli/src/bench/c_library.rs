//! The C interface as a C program has it: functions behind addresses, structures, statuses.
//!
//! They are those of `libvidmm.so` beside this program, or in `../lib` of it, as builds and installs
//! leave it; else those linked into this program - the same code, called the same way.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use vidmm_abi::{
    BOOL, D3DDDI_ALLOCATIONINFO2, D3DKMT_ADAPTERINFO, D3DKMT_CREATEALLOCATION, D3DKMT_CREATEDEVICE,
    D3DKMT_DESTROYALLOCATION2, D3DKMT_ENUMADAPTERS2, D3DKMT_ESCAPE, D3DKMT_ESCAPE_VIDMM,
    D3DKMT_HANDLE, D3DKMT_LOCK2, D3DKMT_OFFER_PRIORITY_NORMAL, D3DKMT_OFFERALLOCATIONS,
    D3DKMT_RECLAIMALLOCATIONS, D3DKMT_UNLOCK2, D3DKMT_VIDMM_ESCAPE, D3DKMT_VIDMM_ESCAPE_EVICT,
    D3DKMT_VIDMM_ESCAPE_SETBUDGET, D3DKMT_VIDMMESCAPETYPE_EVICT, D3DKMT_VIDMMESCAPETYPE_SET_BUDGET,
    NTSTATUS, UINT, VIDMM_ALLOCATION_DATA, VIDMM_ALLOCATION_DATA_VERSION,
};

use crate::output::Failure;

/// A function of the interface.
type Function<A> = unsafe extern "C" fn(A) -> NTSTATUS;

macro_rules! functions {
    ($($field:ident: $name:ident($argument:ty);)+) => {
        /// The functions that the rows need.
        #[derive(Debug, Clone, Copy)]
        struct Functions {
            $($field: Function<$argument>,)+
        }

        impl Functions {
            /// Those linked into this program.
            fn linked() -> Self {
                Functions { $($field: vidmm_d3dkmt::$name,)+ }
            }

            /// Those of a library.
            fn of(library: Library) -> Result<Self, Failure> {
                Ok(Functions {
                    $($field: {
                        let address = library.address(stringify!($name))?;
                        // SAFETY: the library's function of this name has this type: its header
                        // says so.
                        unsafe { std::mem::transmute::<*mut c_void, Function<$argument>>(address) }
                    },)+
                })
            }
        }
    };
}

functions! {
    enumerate: D3DKMTEnumAdapters2(*const D3DKMT_ENUMADAPTERS2);
    create_device: D3DKMTCreateDevice(*mut D3DKMT_CREATEDEVICE);
    create: D3DKMTCreateAllocation2(*mut D3DKMT_CREATEALLOCATION);
    destroy: D3DKMTDestroyAllocation2(*const D3DKMT_DESTROYALLOCATION2);
    lock: D3DKMTLock2(*mut D3DKMT_LOCK2);
    unlock: D3DKMTUnlock2(*const D3DKMT_UNLOCK2);
    offer: D3DKMTOfferAllocations(*const D3DKMT_OFFERALLOCATIONS);
    reclaim: D3DKMTReclaimAllocations(*const D3DKMT_RECLAIMALLOCATIONS);
    escape: D3DKMTEscape(*const D3DKMT_ESCAPE);
}

/// A shared library that stays loaded.
#[derive(Clone, Copy)]
struct Library(*mut c_void);

impl Library {
    fn open(file: &Path) -> Result<Self, Failure> {
        let path = CString::new(file.as_os_str().as_bytes())?;
        // SAFETY: a path that ends with a 0; what the library does when it is loaded is ours.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        match handle.is_null() {
            true => Err(format!("{} cannot be loaded", file.display()).into()),
            false => Ok(Library(handle)),
        }
    }

    fn address(self, name: &str) -> Result<*mut c_void, Failure> {
        let symbol = CString::new(name)?;
        // SAFETY: a handle that `open` got, a name that ends with a 0.
        let address = unsafe { libc::dlsym(self.0, symbol.as_ptr()) };
        match address.is_null() {
            true => Err(format!("libvidmm.so has no {name}: is it of another version?").into()),
            false => Ok(address),
        }
    }
}

/// A device of the adapter, called as C calls it.
#[derive(Debug)]
pub(crate) struct Device {
    functions: Functions,
    adapter: D3DKMT_HANDLE,
    device: D3DKMT_HANDLE,
    /// Where the functions are, in words.
    pub(crate) where_from: String,
}

/// The library beside this program.
fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    [folder.to_owned(), folder.join("../lib")]
        .into_iter()
        .map(|folder| folder.join("libvidmm.so"))
        .find(|file| file.exists())
}

fn done(call: &str, status: NTSTATUS) -> Result<(), Failure> {
    match status.is_success() {
        true => Ok(()),
        false => Err(format!("{call} answered {status:?}").into()),
    }
}

impl Device {
    /// A device under a budget of `budget_bytes`, which nothing else presses.
    pub(crate) fn open(budget_bytes: u64) -> Result<Self, Failure> {
        heed_the_budget_only();
        let library = beside();
        let (functions, where_from) = match &library {
            Some(file) => (
                Functions::of(Library::open(file)?)?,
                "called in libvidmm.so beside this program".to_owned(),
            ),
            None => (
                Functions::linked(),
                "called in this program, which has no libvidmm.so beside it \
                 (cargo build --release --workspace makes one)"
                    .to_owned(),
            ),
        };
        let mut info = D3DKMT_ADAPTERINFO::default();
        let adapters = D3DKMT_ENUMADAPTERS2 {
            NumAdapters: 1,
            pAdapters: &raw mut info,
        };
        // SAFETY: the structure and the one adapter in it are there.
        done("EnumAdapters2", unsafe {
            (functions.enumerate)(&raw const adapters)
        })?;
        let mut made = D3DKMT_CREATEDEVICE {
            hAdapter: info.hAdapter,
            ..D3DKMT_CREATEDEVICE::default()
        };
        // SAFETY: the structure is there and may be written.
        done("CreateDevice", unsafe {
            (functions.create_device)(&raw mut made)
        })?;
        let device = Device {
            functions,
            adapter: info.hAdapter,
            device: made.hDevice,
            where_from,
        };
        let mut said = D3DKMT_VIDMM_ESCAPE {
            Type: D3DKMT_VIDMMESCAPETYPE_SET_BUDGET,
            ..D3DKMT_VIDMM_ESCAPE::default()
        };
        said.put_set_budget(D3DKMT_VIDMM_ESCAPE_SETBUDGET {
            LocalMemoryBudget: budget_bytes,
            SystemMemoryBudget: 0,
        });
        device.escape(said)?;
        Ok(device)
    }

    fn escape(&self, mut said: D3DKMT_VIDMM_ESCAPE) -> Result<(), Failure> {
        let args = D3DKMT_ESCAPE {
            hAdapter: self.adapter,
            Type: D3DKMT_ESCAPE_VIDMM,
            pPrivateDriverData: (&raw mut said).cast(),
            PrivateDriverDataSize: UINT::try_from(size_of_val(&said))?,
            ..D3DKMT_ESCAPE::default()
        };
        // SAFETY: the structure and the data in it are there.
        done("Escape", unsafe {
            (self.functions.escape)(&raw const args)
        })
    }

    /// Has everything discarded that is offered.
    pub(crate) fn evict_all(&self) -> Result<(), Failure> {
        let mut said = D3DKMT_VIDMM_ESCAPE {
            Type: D3DKMT_VIDMMESCAPETYPE_EVICT,
            ..D3DKMT_VIDMM_ESCAPE::default()
        };
        said.put_evict(D3DKMT_VIDMM_ESCAPE_EVICT::default());
        self.escape(said)
    }

    /// An allocation of `size_bytes`, untouched.
    #[inline]
    pub(crate) fn create(&self, size_bytes: u64) -> Result<D3DKMT_HANDLE, Failure> {
        let mut data = VIDMM_ALLOCATION_DATA {
            Version: VIDMM_ALLOCATION_DATA_VERSION,
            Size: size_bytes,
            ..VIDMM_ALLOCATION_DATA::default()
        };
        let mut info = D3DDDI_ALLOCATIONINFO2 {
            pPrivateDriverData: (&raw mut data).cast(),
            PrivateDriverDataSize: 32,
            ..D3DDDI_ALLOCATIONINFO2::default()
        };
        let mut args = D3DKMT_CREATEALLOCATION {
            hDevice: self.device,
            NumAllocations: 1,
            pAllocationInfo: (&raw mut info).cast(),
            ..D3DKMT_CREATEALLOCATION::default()
        };
        // SAFETY: the structure, the info and the data of 32 bytes are there and may be written.
        done("CreateAllocation2", unsafe {
            (self.functions.create)(&raw mut args)
        })?;
        Ok(info.hAllocation)
    }

    #[inline]
    pub(crate) fn destroy(&self, allocation: D3DKMT_HANDLE) -> Result<(), Failure> {
        let args = D3DKMT_DESTROYALLOCATION2 {
            hDevice: self.device,
            phAllocationList: &raw const allocation,
            AllocationCount: 1,
            ..D3DKMT_DESTROYALLOCATION2::default()
        };
        // SAFETY: the structure and the list of one are there.
        done("DestroyAllocation2", unsafe {
            (self.functions.destroy)(&raw const args)
        })
    }

    /// Locks an allocation of `size_bytes`, writes all of it and unlocks it: so that there is
    /// something that stays intact.
    pub(crate) fn back(&self, allocation: D3DKMT_HANDLE, size_bytes: usize) -> Result<(), Failure> {
        let mut args = D3DKMT_LOCK2 {
            hDevice: self.device,
            hAllocation: allocation,
            ..D3DKMT_LOCK2::default()
        };
        // SAFETY: the structure is there and may be written.
        done("Lock2", unsafe { (self.functions.lock)(&raw mut args) })?;
        // SAFETY: locked by this call, and of that size.
        unsafe { args.pData.cast::<u8>().write_bytes(1, size_bytes) };
        let args = D3DKMT_UNLOCK2 {
            hDevice: self.device,
            hAllocation: allocation,
        };
        // SAFETY: the structure is there.
        done("Unlock2", unsafe {
            (self.functions.unlock)(&raw const args)
        })
    }

    /// What an offer of these allocations passes.
    pub(crate) fn offer_of<'l>(&self, list: &'l [D3DKMT_HANDLE]) -> Offer<'l> {
        Offer {
            function: self.functions.offer,
            args: D3DKMT_OFFERALLOCATIONS {
                hDevice: self.device,
                HandleList: list.as_ptr(),
                NumAllocations: UINT::try_from(list.len()).unwrap_or(UINT::MAX),
                Priority: D3DKMT_OFFER_PRIORITY_NORMAL,
                ..D3DKMT_OFFERALLOCATIONS::default()
            },
            _list: std::marker::PhantomData,
        }
    }

    /// What a reclaim of these allocations passes, with a result for each or with none.
    ///
    /// # Errors
    /// Fewer or more results than allocations.
    pub(crate) fn reclaim_of<'l>(
        &self,
        list: &'l [D3DKMT_HANDLE],
        results: Option<&'l mut [BOOL]>,
    ) -> Result<Reclaim<'l>, Failure> {
        let discarded = match results {
            Some(results) if results.len() == list.len() => results.as_mut_ptr(),
            Some(_) => return Err("there must be a result for each allocation".into()),
            None => std::ptr::null_mut(),
        };
        Ok(Reclaim {
            function: self.functions.reclaim,
            args: D3DKMT_RECLAIMALLOCATIONS {
                hDevice: self.device,
                HandleList: list.as_ptr(),
                pDiscarded: discarded,
                NumAllocations: UINT::try_from(list.len()).unwrap_or(UINT::MAX),
                ..D3DKMT_RECLAIMALLOCATIONS::default()
            },
            _list: std::marker::PhantomData,
        })
    }
}

/// An offer that can be made again and again.
#[derive(Debug)]
pub(crate) struct Offer<'l> {
    function: Function<*const D3DKMT_OFFERALLOCATIONS>,
    args: D3DKMT_OFFERALLOCATIONS,
    _list: std::marker::PhantomData<&'l [D3DKMT_HANDLE]>,
}

impl Offer<'_> {
    #[inline]
    pub(crate) fn call(&self) -> NTSTATUS {
        // SAFETY: the list lives as long as this value.
        unsafe { (self.function)(&raw const self.args) }
    }
}

/// A reclaim that can be made again and again.
#[derive(Debug)]
pub(crate) struct Reclaim<'l> {
    function: Function<*const D3DKMT_RECLAIMALLOCATIONS>,
    args: D3DKMT_RECLAIMALLOCATIONS,
    _list: std::marker::PhantomData<&'l mut [BOOL]>,
}

impl Reclaim<'_> {
    #[inline]
    pub(crate) fn call(&self) -> NTSTATUS {
        // SAFETY: the list and the results, one for each, live as long as this value.
        unsafe { (self.function)(&raw const self.args) }
    }

    /// Whether the last call found all of it intact; without results, nobody knows.
    pub(crate) fn all_intact(&self) -> bool {
        let (results, count) = (self.args.pDiscarded, self.args.NumAllocations as usize);
        if results.is_null() {
            return true;
        }
        // SAFETY: there is a result for each allocation, which nobody writes now.
        let results = unsafe { std::slice::from_raw_parts(results, count) };
        results.iter().all(|&discarded| discarded == 0)
    }
}

/// What else happens on the machine must not take memory out of a measurement, and a manager that
/// happens to be there is none of this program's business - unless it was started to be joined.
fn heed_the_budget_only() {
    // SAFETY: two strings that end with a 0. The benchmark's other threads, if any, are of vidmm or
    // wait in the kernel, and read no variables; the library reads this one at its first call.
    unsafe { libc::setenv(c"VIDMM_PRESSURE".as_ptr(), c"off".as_ptr(), 1) };
    // SAFETY: as above.
    unsafe { libc::setenv(c"VIDMM_MODE".as_ptr(), c"embedded".as_ptr(), 0) };
}
