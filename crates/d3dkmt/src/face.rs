//! The one adapter of the process, and how the engine's errors are told in statuses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vidmm_abi::{
    NTSTATUS, STATUS_DEVICE_REMOVED, STATUS_GRAPHICS_TOO_MANY_REFERENCES, STATUS_INVALID_PARAMETER,
    STATUS_NO_MEMORY, STATUS_SUCCESS, STATUS_UNSUCCESSFUL,
};
use vidmm_pool::{BatchError, Error, FaceGate, Pool, SharedError};

use crate::caller::Answer;
use crate::notices::Notices;
use crate::objects::Objects;
use crate::{paging, shortcut};

/// The adapter: the engine, and what WDDM has around it.
#[derive(Debug)]
pub(crate) struct Face {
    pub(crate) pool: &'static Pool,
    pub(crate) gate: Arc<FaceGate>,
    pub(crate) objects: Objects,
    pub(crate) notices: Notices,
    /// A tester's knob: what is offered is discarded at once.
    always_discard: AtomicBool,
    /// This is a child, and the memory was left behind.
    removed: AtomicBool,
    /// What the last SET_BUDGET said of the system segment, in bytes. Nothing is ever in it.
    pub(crate) system_budget_bytes: AtomicU64,
}

/// Opens the shortest way, unless a trace is recorded, which that leaves nothing in.
fn open_shortcut(pool: &'static Pool) {
    if !pool.is_traced() {
        shortcut::open(pool);
    }
}

static FACE: OnceLock<Option<Face>> = OnceLock::new();

impl Face {
    /// The face of this process, made at the first call.
    ///
    /// # Errors
    /// [`STATUS_UNSUCCESSFUL`]: the environment asks for something that cannot be; the first such
    /// call says so on standard error. [`STATUS_DEVICE_REMOVED`] in a child made by `fork` without
    /// the memory (`VIDMM_FORK=drop`).
    #[inline]
    pub(crate) fn get() -> Answer<&'static Face> {
        let face = FACE.get_or_init(Self::make);
        let face = face.as_ref().ok_or(STATUS_UNSUCCESSFUL)?;
        match face.removed.load(Ordering::Relaxed) {
            false => Ok(face),
            true => Err(STATUS_DEVICE_REMOVED),
        }
    }

    #[cold]
    fn make() -> Option<Self> {
        let pool = match vidmm_pool::global() {
            Ok(pool) => pool,
            Err(error) => {
                complain(&format!("vidmm: {error}\n"));
                return None;
            }
        };
        open_shortcut(pool);
        Some(Face {
            pool,
            gate: FaceGate::new(in_child),
            objects: Objects::new(),
            notices: Notices::default(),
            always_discard: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            system_budget_bytes: AtomicU64::new(0),
        })
    }

    /// Sets the tester's knob that everything offered is discarded at once.
    pub(crate) fn set_always_discard(&self, always: bool) {
        self.always_discard.store(always, Ordering::Relaxed);
        match always {
            true => shortcut::close(),
            false => open_shortcut(self.pool),
        }
    }

    /// After an offer: is what was offered to be discarded at once?
    #[inline]
    pub(crate) fn always_discards(&self) -> bool {
        self.always_discard.load(Ordering::Relaxed)
    }
}

/// A status says nothing of the environment; a line on standard error does. Whether anybody reads
/// it is not our business.
fn complain(line: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn in_child() {
    // Not made yet, perhaps just being made by a thread that did not come along: nothing to do.
    if let Some(Some(face)) = FACE.get() {
        if face.pool.is_left_out() {
            face.removed.store(true, Ordering::Relaxed);
            shortcut::close();
        }
        paging::in_child(face);
    }
}

/// Runs a call whose panic, a defect of ours, must not reach C.
pub(crate) fn guarded(call: impl FnOnce() -> Answer) -> NTSTATUS {
    // Whatever the call left half done is behind locks that forgive a panic, or in atomics.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => status(answer),
        Err(_) => STATUS_UNSUCCESSFUL,
    }
}

#[inline]
pub(crate) fn status(answer: Answer) -> NTSTATUS {
    match answer {
        Ok(()) => STATUS_SUCCESS,
        Err(status) => status,
    }
}

/// The engine's refusal as a status (decision 9.23: those that a Linux client of WDDM can get, and
/// for locks the one that the page of the call lists).
#[cold]
pub(crate) fn refusal(error: Error) -> NTSTATUS {
    match error {
        Error::NoMemory { .. }
        | Error::Kernel { .. }
        | Error::TooLarge { .. }
        | Error::TableFull
        | Error::TooManyGroups => STATUS_NO_MEMORY,
        Error::Shared(error) => shared_refusal(error),
        Error::LeftOut => STATUS_DEVICE_REMOVED,
        Error::TooManyLocks => STATUS_GRAPHICS_TOO_MANY_REFERENCES,
        _ => STATUS_INVALID_PARAMETER,
    }
}

fn shared_refusal(error: SharedError) -> NTSTATUS {
    match error {
        SharedError::Descriptors
        | SharedError::Kernel { .. }
        | SharedError::FileLimit { .. }
        | SharedError::TooManyOpeners => STATUS_NO_MEMORY,
        // What a program needs is not there: no `/proc`, no rights.
        SharedError::NoProc | SharedError::NotAllowed => STATUS_UNSUCCESSFUL,
        _ => STATUS_INVALID_PARAMETER,
    }
}

#[cold]
pub(crate) fn list_refusal(refused: BatchError) -> NTSTATUS {
    refusal(refused.error)
}

/// Locks `mutex`, also after a panic of another holder: what these locks guard is whole at every
/// point where one could happen.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
