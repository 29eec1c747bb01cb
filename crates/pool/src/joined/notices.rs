//! What a program may want to know: that its budget has changed, that it should trim. Told by the
//! agent, which holds no lock of the pool meanwhile. The lock here is taken before that of the link's
//! state and after all others.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use rustix::event::{EventfdFlags, eventfd};
use vidmm_arena::Kernel;

use crate::pool::Pool;

/// Something that a program may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The budget has changed.
    BudgetChanged {
        /// What it is now, in bytes.
        budget_bytes: u64,
    },
    /// Please trim: what is offered does not suffice for what is needed.
    PleaseTrim {
        /// So many bytes would help.
        bytes: u64,
    },
}

/// Names a subscription; never used again by the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(u64);

type Callback = Arc<dyn Fn(Notice) + Send + Sync>;

/// Who wants to know, and what is not told yet.
#[derive(Default)]
pub(crate) struct Notices {
    inner: Mutex<Inner>,
    /// The subscription whose callback runs now; 0 is none.
    running: AtomicU64,
}

#[derive(Default)]
struct Inner {
    last_id: u64,
    /// In the order of their numbers.
    subscribers: Vec<Subscriber>,
    runner: Option<ThreadId>,
    /// Not yet taken by whoever has the descriptor.
    untaken: Waiting,
    descriptor: Option<OwnedFd>,
}

struct Subscriber {
    id: SubscriptionId,
    callback: Callback,
    /// What it is not told yet. Of its own: what was before it came is no news to it.
    untold: Waiting,
}

/// The newest budget, the largest trim.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    budget_bytes: Option<u64>,
    trim_bytes: Option<u64>,
}

impl Waiting {
    fn add(&mut self, notice: Notice) {
        match notice {
            Notice::BudgetChanged { budget_bytes } => self.budget_bytes = Some(budget_bytes),
            Notice::PleaseTrim { bytes } => self.trim_bytes = self.trim_bytes.max(Some(bytes)),
        }
    }

    fn take_one(&mut self) -> Option<Notice> {
        let budget = self.budget_bytes.take();
        match budget.map(|budget_bytes| Notice::BudgetChanged { budget_bytes }) {
            None => {
                let trim = self.trim_bytes.take();
                trim.map(|bytes| Notice::PleaseTrim { bytes })
            }
            budget => budget,
        }
    }
}

impl Inner {
    /// Where a subscription is; they are in the order of their numbers.
    fn place_of(&self, id: SubscriptionId) -> Option<usize> {
        let place = self.subscribers.binary_search_by_key(&id, |it| it.id);
        place.ok()
    }

    /// Something that is not told yet, and whom to tell: the first after `last`, in a circle, so
    /// that everybody's turn comes.
    fn next_to_tell(&mut self, last: SubscriptionId) -> Option<(SubscriptionId, Callback, Notice)> {
        let start = self.subscribers.partition_point(|it| it.id <= last);
        let (before, after) = self.subscribers.split_at_mut(start);
        after.iter_mut().chain(before).find_map(|it| {
            let notice = it.untold.take_one()?;
            Some((it.id, Arc::clone(&it.callback), notice))
        })
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let subscribers = self.inner().subscribers.len();
        f.debug_struct("Notices")
            .field("subscribers", &subscribers)
            .finish_non_exhaustive()
    }
}

impl Notices {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a child made by `fork`: whoever ran did not come along, nor does the descriptor's reader.
    pub(crate) fn in_child(&self) {
        self.running.store(0, Ordering::Release);
        let mut inner = self.inner();
        inner.runner = None;
        for subscriber in &mut inner.subscribers {
            subscriber.untold = Waiting::default();
        }
        inner.untaken = Waiting::default();
        if let Some(descriptor) = inner.descriptor.take() {
            crate::fork::close_copy(descriptor.as_fd());
            std::mem::forget(descriptor);
        }
    }
}

impl<K: Kernel> Pool<K> {
    /// Calls `callback` with every notice from now on, one at a time, on the agent's thread (or,
    /// without one, in [`Pool::agent_run`]). It may use the pool; it should not take long, since
    /// the agent does nothing else meanwhile.
    ///
    /// # Errors
    /// The agent cannot be started.
    pub fn subscribe(
        &self,
        callback: impl Fn(Notice) + Send + Sync + 'static,
    ) -> std::io::Result<SubscriptionId> {
        let _inside = self.gate.enter();
        self.agent.require()?;
        let mut inner = self.notices.inner();
        inner.last_id += 1;
        let id = SubscriptionId(inner.last_id);
        inner.subscribers.push(Subscriber {
            id,
            callback: Arc::new(callback),
            untold: Waiting::default(),
        });
        Ok(id)
    }

    /// Ends a subscription. When the call returns its callback does not run and will not run again
    /// (unless it is the callback itself that calls). Says whether there was such a subscription.
    pub fn unsubscribe(&self, id: SubscriptionId) -> bool {
        let found = self.end_subscription(id);
        self.wait_for_callback(id);
        found
    }

    /// The first half of [`Pool::unsubscribe`], for a face that calls it inside its own gate: the
    /// callback does not begin to run any more, but may still be running.
    pub fn end_subscription(&self, id: SubscriptionId) -> bool {
        let _inside = self.gate.enter();
        let mut inner = self.notices.inner();
        let found = inner.place_of(id);
        if let Some(place) = found {
            inner.subscribers.remove(place);
        }
        found.is_some()
    }

    /// The second half: waits until the callback of an ended subscription does not run any more,
    /// but not for the callback that calls this. Not inside a gate, which callbacks may pass.
    pub fn wait_for_callback(&self, id: SubscriptionId) {
        let runs_here = {
            let _inside = self.gate.enter();
            self.notices.inner().runner == Some(std::thread::current().id())
        };
        while !runs_here && self.notices.running.load(Ordering::Acquire) == id.0 {
            // A callback takes as long as it takes; nothing else tells of its end.
            std::thread::yield_now();
        }
    }

    /// A descriptor that is readable while there are notices that [`Pool::take_notices`] has not
    /// taken. It stays the same for the life of the pool in this process.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn notice_fd(&self) -> std::io::Result<OwnedFd> {
        let _inside = self.gate.enter();
        self.agent.require()?;
        let mut inner = self.notices.inner();
        let descriptor = match inner.descriptor.take() {
            Some(descriptor) => descriptor,
            None => eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        inner.descriptor.insert(descriptor).try_clone()
    }

    /// The notices that came since the last call, for whoever waits for [`Pool::notice_fd`]: at
    /// most one of each kind, the newest budget and the largest trim.
    pub fn take_notices(&self) -> Vec<Notice> {
        let _inside = self.gate.enter();
        let mut inner = self.notices.inner();
        if let Some(descriptor) = &inner.descriptor {
            let _ = rustix::io::read(descriptor, &mut [0; 8]);
        }
        std::iter::from_fn(|| inner.untaken.take_one()).collect()
    }

    /// Something to tell. The agent does it soon. Inside the gate.
    pub(crate) fn notify(&self, notice: Notice) {
        self.notify_of(|| notice);
    }

    /// Tells what the budget is now. Of several changes at the same time the last one to be told is
    /// the one that holds, since it is read under the lock.
    pub(crate) fn notify_budget(&self) {
        self.notify_of(|| Notice::BudgetChanged {
            budget_bytes: self.budget_bytes(),
        });
    }

    /// The program has set another budget: that, and what is held beyond it.
    pub(crate) fn notify_budget_set(&self) {
        self.notify_budget();
        let bytes = self.held_bytes().saturating_sub(self.budget_bytes());
        if bytes > 0 {
            self.notify(Notice::PleaseTrim { bytes });
        }
    }

    fn notify_of(&self, notice: impl FnOnce() -> Notice) {
        let mut inner = self.notices.inner();
        let notice = notice();
        if let Some(descriptor) = &inner.descriptor {
            let _ = rustix::io::write(descriptor, &1_u64.to_ne_bytes());
            inner.untaken.add(notice);
        }
        let is_wanted = !inner.subscribers.is_empty();
        for subscriber in &mut inner.subscribers {
            subscriber.untold.add(notice);
        }
        drop(inner);
        // In a child made by `fork` the agent is not there yet. Where it cannot be started, nobody
        // is told before it can.
        if is_wanted && self.agent.require().is_ok() {
            self.agent.nudge();
        }
    }

    /// The agent's part: tells what is not told yet. Outside the gate, since callbacks may use the
    /// pool.
    pub(crate) fn tell_notices(&self) {
        let mut last = SubscriptionId(0);
        while let Some((id, callback, notice)) = self.begin_to_tell(last) {
            // A panic in it is its program's; the agent goes on.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(notice)));
            self.notices.running.store(0, Ordering::Release);
            last = id;
        }
    }

    /// Announces under the lock which callback runs, so that whoever unsubscribes either finds it
    /// running or has ended it before.
    fn begin_to_tell(&self, last: SubscriptionId) -> Option<(SubscriptionId, Callback, Notice)> {
        let _inside = self.gate.enter();
        let mut inner = self.notices.inner();
        inner.runner = Some(std::thread::current().id());
        let next = inner.next_to_tell(last)?;
        self.notices.running.store(next.0.0, Ordering::Release);
        Some(next)
    }
}
