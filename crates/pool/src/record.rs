//! The trace of a pool: when what is recorded. How it is written down is `vidmm-trace`'s.
//!
//! Nothing is recorded unless it was asked for when the pool was made. Then one word of [`Signals`]
//! says so, which the fast path looks at beside the miss clock; all else is out of its way.
//!
//! What happens after the events of a child made by `fork` is the child's: it records nothing, since
//! the rings' threads and the file are the parent's.
//!
//! [`Signals`]: crate::signals::Signals

use std::sync::{Arc, Mutex, Once, TryLockError, Weak};

use vidmm_arena::Kernel;
use vidmm_table::{Class, Handle, Slot, SlotRef, State};
use vidmm_trace::{Class as TraceClass, Event, Kind, Recorder, StartError};

use crate::agent::AgentMode;
use crate::gate::Inside;
use crate::options::PoolOptions;
use crate::pool::Pool;
use crate::process::{at_exit, spawn_without_signals};

/// The recorder of a pool, if it has one. The trace ends with the pool.
#[derive(Debug)]
pub(crate) struct Recording {
    recorder: Option<Arc<Recorder>>,
    /// There is no drainer's thread: slow calls and the host's agent do its work.
    by_host: bool,
}

impl Recording {
    pub(crate) fn start(options: &PoolOptions) -> Result<Self, StartError> {
        let recorder = options.trace.as_ref().map(Recorder::start).transpose()?;
        let mut by_host = options.agent == AgentMode::Host;
        if let Some(recorder) = &recorder {
            finish_at_exit(recorder);
            if !by_host {
                let drained = Arc::clone(recorder);
                // Without a thread it is done as if the program had not wanted one.
                by_host = spawn_without_signals("vidmm-trace", move || drained.serve()).is_err();
            }
        }
        Ok(Recording { recorder, by_host })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(recorder) = &self.recorder {
            recorder.finish();
        }
    }
}

/// What is to be finished when the process ends: its own pool is never dropped.
static UNFINISHED: Mutex<Vec<Weak<Recorder>>> = Mutex::new(Vec::new());
static AT_EXIT: Once = Once::new();

fn finish_at_exit(recorder: &Arc<Recorder>) {
    AT_EXIT.call_once(|| at_exit(finish_all));
    let mut unfinished = UNFINISHED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    unfinished.retain(|recorder| recorder.strong_count() > 0);
    unfinished.push(Arc::downgrade(recorder));
}

extern "C" fn finish_all() {
    // In a child made by `fork`, whoever held the lock may not be here; then there is nothing to
    // finish either.
    let unfinished = match UNFINISHED.try_lock() {
        Ok(unfinished) => unfinished,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for recorder in unfinished.iter().filter_map(Weak::upgrade) {
        recorder.finish();
    }
}

fn class_of(class: Class, priority: u32) -> TraceClass {
    match class.effective(priority) {
        Class::Low => TraceClass::Low,
        Class::Normal | Class::Auto => TraceClass::Normal,
        Class::High => TraceClass::High,
    }
}

impl<K: Kernel> Pool<K> {
    /// What is recorded of this pool; `None` if no trace was asked for.
    #[must_use]
    pub fn recording(&self) -> Option<vidmm_trace::Recording> {
        let recorder = self.recording.recorder.as_ref()?;
        Some(recorder.recording())
    }

    /// Whether a trace of this pool is, or was, recorded.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.recording.recorder.is_some()
    }

    /// From here on, what happens is recorded.
    pub(crate) fn begin_recording(&self) {
        self.signals
            .set_recording(self.recording.recorder.is_some());
    }

    /// In a child made by `fork`.
    pub(crate) fn abandon_recording(&self) {
        if let Some(recorder) = &self.recording.recorder {
            self.signals.set_recording(false);
            if recorder.stopped().is_none() {
                recorder.abandon();
            }
        }
    }

    /// At the beginning of slow calls.
    #[inline]
    pub(crate) fn tend_recording(&self, _inside: &Inside<'_>) {
        if self.signals.is_recording() && self.recording.by_host {
            self.drain_recording();
        }
    }

    /// Does the drainer's work where it has no thread. Inside the gate, so that no child is made
    /// meanwhile.
    #[cold]
    pub(crate) fn drain_recording(&self) {
        if let Some(recorder) = &self.recording.recorder
            && self.recording.by_host
        {
            recorder.drain_if_due();
        }
    }

    /// Something happened to an allocation.
    #[inline(always)] // a call would put the fast path's values into memory
    pub(crate) fn record(&self, kind: Kind, slot: SlotRef<'_>) {
        if self.signals.is_recording() {
            self.record_slot(kind, slot);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_slot(&self, kind: Kind, slot: SlotRef<'_>) {
        if let Some(handle) = slot.name() {
            self.record_now(kind, handle, slot.slot(), None);
        }
    }

    /// As [`Pool::record`], for whoever has no slot.
    #[inline]
    pub(crate) fn record_handle(&self, kind: Kind, handle: Handle) {
        if self.signals.is_recording()
            && let Ok(slot) = self.table.get(handle)
        {
            self.record_now(kind, handle, slot.slot(), None);
        }
    }

    /// A shared allocation was offered; its class is not in its slot.
    pub(crate) fn record_shared_offer(&self, handle: Handle, slot: &SlotRef<'_>, class: Class) {
        if self.signals.is_recording() {
            self.record_now(Kind::Offer, handle, slot.slot(), Some(class_of(class, 0)));
        }
    }

    /// An allocation is at its end; its slot still says what it was.
    #[inline]
    pub(crate) fn record_end(&self, handle: Handle, slot: &Slot) {
        if self.signals.is_recording() {
            self.record_now(Kind::Destroy, handle, slot, None);
        }
    }

    /// An allocation, or a shared resource by its first one, was discarded. `charge_bytes`, what
    /// that gave, stands for the size if the allocation has been destroyed since.
    pub(crate) fn record_discard(&self, handle: Handle, class: Class, charge_bytes: u64) {
        if !self.signals.is_recording() {
            return;
        }
        let Ok(slot) = self.table.get(handle) else {
            return;
        };
        let class = class_of(class, 0);
        match slot.load() {
            Ok(_) => self.record_now(Kind::Discard, handle, slot.slot(), Some(class)),
            Err(_) => self.put(Event {
                time_ns: vidmm_trace::now_ns(),
                kind: Kind::Discard,
                class,
                allocation: handle.raw(),
                size_bytes: charge_bytes,
                cost_ns: 0.0,
            }),
        }
    }

    #[cold]
    fn record_now(&self, kind: Kind, handle: Handle, slot: &Slot, class: Option<TraceClass>) {
        let history = slot.history();
        let word = slot.word();
        // What was never offered has a class by its priority only; what is shared has its mode
        // elsewhere.
        let is_by_priority = match kind {
            Kind::Create | Kind::Destroy => true,
            Kind::Rebuild => history.reclaims == 0,
            _ => word.state() == State::Shared,
        };
        let by = match is_by_priority {
            true => Class::Auto,
            false => word.mode().class,
        };
        let class = class.unwrap_or_else(|| class_of(by, history.priority));
        self.put(Event {
            time_ns: vidmm_trace::now_ns(),
            kind,
            class,
            allocation: handle.raw(),
            size_bytes: slot.size_bytes(),
            cost_ns: history.rebuild_cost_ns,
        });
    }

    fn put(&self, event: Event) {
        let Some(recorder) = &self.recording.recorder else {
            return;
        };
        recorder.record(event);
        if recorder.stopped().is_some() {
            self.signals.set_recording(false);
        }
    }
}
