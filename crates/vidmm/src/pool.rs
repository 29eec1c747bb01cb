//! The pool: one budget, and everything allocated under it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use vidmm_pool::{
    AgentMode, BatchError, EnvironmentError, Error, ForkMode, GlobalError, JoinOptions,
    LinuxKernel, NewPoolError, OfferMode, Outcome, Policy, PoolOptions, PressureMode, Recording,
    Request, Resident, Stats, TraceOptions,
};

use crate::allocation::{Allocation, Item, Listed};
use crate::typed::{
    Committed, OfferBatchError, Offered, ReclaimBatchError, Reclaimed, committed_of, offered_of,
};

pub(crate) type Engine = vidmm_pool::Pool<LinuxKernel>;

/// Memory under one budget. Cloning it is cheap and gives the same pool; every method may be
/// called from any thread.
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) engine: Arc<Engine>,
}

/// How a pool is to be. The default is what suits a library in somebody else's program.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    options: PoolOptions,
}

impl Builder {
    /// The budget in bytes.
    #[must_use]
    pub fn budget_bytes(mut self, bytes: u64) -> Self {
        self.options.budget = vidmm_machine::BudgetSpec::Bytes(bytes);
        self
    }

    /// The budget as people write it: `256M`, `4G`, `25%` (of the smaller of the machine's and
    /// the cgroup's memory), `auto` (a quarter of it, the default).
    ///
    /// # Errors
    /// What is wrong with the text, and what is accepted.
    pub fn budget(mut self, text: &str) -> Result<Self, vidmm_machine::ParseSizeError> {
        self.options.budget = text.parse()?;
        Ok(self)
    }

    /// Fill memory that lost its content with a pattern before it is locked again, so that a
    /// program that forgets to rebuild is found out.
    #[must_use]
    pub fn poison(mut self, on: bool) -> Self {
        self.options.poison = on;
        self
    }

    /// Make memory inaccessible while it is not locked, so that an access through a stale pointer
    /// faults at once. Lock and unlock make system calls then.
    #[must_use]
    pub fn protect(mut self, on: bool) -> Self {
        self.options.protect = on;
        self
    }

    /// Let core dumps contain the memory.
    #[must_use]
    pub fn include_in_core_dumps(mut self, on: bool) -> Self {
        self.options.include_in_core_dumps = on;
        self
    }

    /// What children made by `fork` get.
    #[must_use]
    pub fn fork(mut self, mode: ForkMode) -> Self {
        self.options.fork = mode;
        self
    }

    /// Whether the machine's memory pressure is heeded.
    #[must_use]
    pub fn pressure(mut self, mode: PressureMode) -> Self {
        self.options.pressure = mode;
        self
    }

    /// Who runs the agent.
    #[must_use]
    pub fn agent(mut self, mode: AgentMode) -> Self {
        self.options.agent = mode;
        self
    }

    /// Whether, and where, the pool looks for a manager that shares one budget among processes. The
    /// default for a pool that is built is never; for one from the environment, if there is one.
    #[must_use]
    pub fn join(mut self, join: JoinOptions) -> Self {
        self.options.join = join;
        self
    }

    /// The rule by which victims of one class are chosen, instead of the one that learns what is
    /// worth holding.
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn Policy>) -> Self {
        self.options.policy = Some(policy);
        self
    }

    /// Records what happens in the pool as a trace.
    #[must_use]
    pub fn trace(mut self, trace: TraceOptions) -> Self {
        self.options.trace = Some(trace);
        self
    }

    /// Makes the pool. Nothing is held and no thread runs before the first allocation (but the
    /// recorder's, if a trace is recorded).
    ///
    /// # Errors
    /// The budget cannot be determined, there is no address space, or the trace that was asked for
    /// cannot be recorded.
    pub fn build(self) -> Result<Pool, NewPoolError> {
        Ok(Pool {
            engine: Engine::new(LinuxKernel, self.options)?,
        })
    }
}

impl Pool {
    /// A pool as the options say that are set on the builder.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A builder with what the environment asks for: `VIDMM_BUDGET`, `VIDMM_POISON`,
    /// `VIDMM_DEBUG`, `VIDMM_FORK`, `VIDMM_PRESSURE`, `VIDMM_AGENT`, `VIDMM_COREDUMP`, `VIDMM_MODE`,
    /// `VIDMM_SOCKET`, `XDG_RUNTIME_DIR`, `VIDMM_POLICY`,
    /// `VIDMM_TRACE`.
    ///
    /// # Errors
    /// A variable with a value that it cannot have.
    pub fn from_environment() -> Result<Builder, EnvironmentError> {
        Ok(Builder {
            options: PoolOptions::from_environment()?,
        })
    }

    /// The process's own pool, made from the environment at the first call; every other interface
    /// of vidmm in this process uses the same.
    ///
    /// # Errors
    /// As [`Pool::from_environment`] and [`Builder::build`], at every call.
    pub fn global() -> Result<&'static Pool, &'static GlobalError> {
        static GLOBAL: OnceLock<Pool> = OnceLock::new();
        let engine = vidmm_pool::global()?;
        Ok(GLOBAL.get_or_init(|| Pool {
            engine: Arc::clone(engine),
        }))
    }

    /// Zeroed memory of `len_bytes`, committed.
    ///
    /// # Errors
    /// [`Error::ZeroSize`], [`Error::TooLarge`]; [`Error::NoMemory`] when the budget does not
    /// allow it; [`Error::Kernel`]; [`Error::TableFull`].
    pub fn allocate(&self, len_bytes: usize) -> Result<Committed, Error> {
        self.options().allocate(len_bytes)
    }

    /// Memory with more said about it.
    pub fn options(&self) -> AllocationOptions<'_> {
        AllocationOptions {
            pool: self,
            request: Request::of_size(0),
        }
    }

    /// What is recorded of this pool: where, how many events, how many were lost, whether it has
    /// stopped. `None` if no trace was asked for.
    #[must_use]
    pub fn recording(&self) -> Option<Recording> {
        self.engine.recording()
    }

    /// The budget in force, in bytes.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.engine.budget_bytes()
    }

    /// Changes the budget. One below what is committed is accepted: everything offered goes at
    /// once, and nothing new is granted until enough was given back.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn set_budget_bytes(&self, bytes: u64) -> Result<(), Error> {
        self.engine.set_budget_bytes(bytes)
    }

    /// Gives `bytes` back to the kernel now, or as much as is unused and offered; says how much
    /// it was.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn trim(&self, bytes: u64) -> Result<u64, Error> {
        self.engine.trim(bytes)
    }

    /// What the pool holds and has done, at most 100 ms old.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// As [`Pool::stats`], taken now, at the cost of a scan over all allocations.
    #[must_use]
    pub fn stats_now(&self) -> Stats {
        self.engine.stats_now()
    }

    /// The addresses that are the pool's, as long as it lives, whether there is memory behind them
    /// or not: what to look at in `/proc/PID/smaps` from another process.
    #[must_use]
    pub fn ranges(&self) -> Vec<std::ops::Range<u64>> {
        self.engine.ranges()
    }

    /// What the kernel counts behind the pool's addresses, resident and swapped.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn resident(&self) -> std::io::Result<Resident> {
        self.engine.resident()
    }

    /// The sources of memory pressure that are heeded, with what became of each, a line each.
    #[must_use]
    pub fn pressure_sources(&self) -> Vec<String> {
        self.engine
            .pressure_sources()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// For hosts that run the agent themselves ([`AgentMode::Host`]): readable when
    /// [`Pool::agent_run`] has something to do.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn agent_fd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.engine.agent_fd()
    }

    /// Does what the agent has to do now, without waiting.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn agent_run(&self) -> std::io::Result<()> {
        self.engine.agent_run()
    }

    /// Offers all of them, or none if one is wrong (another pool's, locked, dead).
    ///
    /// # Errors
    /// The first wrong item; a list of none or of more than [`crate::BATCH_MAX`].
    pub fn offer_list<T: Item>(
        &self,
        list: &[T],
        mode: impl Into<OfferMode>,
    ) -> Result<(), BatchError> {
        self.engine.offer_list(&Listed { pool: self, list }, mode)
    }

    /// Reclaims all of them and answers for each, in order - or none if one is wrong or memory
    /// does not suffice. What was offered with *allow decommit* and cannot be supplied ends *not
    /// committed* instead of failing the call.
    ///
    /// # Errors
    /// The first wrong item; a list of none or of more than [`crate::BATCH_MAX`];
    /// [`Error::NoMemory`] with all items as they were. `outcomes` is not written then.
    ///
    /// # Panics
    /// If `outcomes` is shorter than `list`.
    pub fn reclaim_list<T: Item>(
        &self,
        list: &[T],
        outcomes: &mut [Outcome],
    ) -> Result<(), BatchError> {
        assert!(
            outcomes.len() >= list.len(),
            "an outcome is needed for each item"
        );
        let answers = vidmm_pool::Answers::NotCommitted;
        let listed = Listed { pool: self, list };
        self.engine
            .reclaim_list(&listed, answers, |index, outcome| outcomes[index] = outcome)
            .map(|lost| {
                if !lost {
                    outcomes[..list.len()].fill(Outcome::Intact);
                }
            })
    }

    /// Offers all of them.
    ///
    /// # Errors
    /// As [`Pool::offer_list`], with the allocations as they were.
    pub fn offer_all(
        &self,
        list: Vec<Committed>,
        mode: impl Into<OfferMode>,
    ) -> Result<Vec<Offered>, OfferBatchError> {
        match self.offer_list(&list, mode) {
            Ok(()) => Ok(list.into_iter().map(offered_of).collect()),
            Err(error) => Err(OfferBatchError {
                error,
                committed: list,
            }),
        }
    }

    /// Reclaims all of them, in order.
    ///
    /// # Errors
    /// As [`Pool::reclaim_list`], with the allocations as they were.
    pub fn reclaim_all(&self, list: Vec<Offered>) -> Result<Vec<Reclaimed>, ReclaimBatchError> {
        let mut outcomes = Vec::with_capacity(list.len());
        let answers = vidmm_pool::Answers::Discarded;
        let listed = Listed {
            pool: self,
            list: &list,
        };
        let answer = |_, outcome| outcomes.push(outcome);
        match self.engine.reclaim_list(&listed, answers, answer) {
            Ok(_) => Ok(list
                .into_iter()
                // If all are intact, none is answered for.
                .zip(
                    outcomes
                        .into_iter()
                        .chain(std::iter::repeat(Outcome::Intact)),
                )
                .map(|(offered, outcome)| match outcome {
                    Outcome::Intact => Reclaimed::Intact(committed_of(offered)),
                    _ => Reclaimed::Discarded(committed_of(offered)),
                })
                .collect()),
            Err(error) => Err(ReclaimBatchError {
                error,
                offered: list,
            }),
        }
    }

    pub(crate) fn is_same(&self, other: &Pool) -> bool {
        Arc::ptr_eq(&self.engine, &other.engine)
    }
}

/// What an allocation is to be.
#[derive(Debug, Clone)]
#[must_use]
pub struct AllocationOptions<'p> {
    pub(crate) pool: &'p Pool,
    pub(crate) request: Request,
}

impl AllocationOptions<'_> {
    /// The content may be anything of this process at first: saves the zeroing of warm memory.
    pub fn allow_not_zeroed(mut self) -> Self {
        self.request.allow_not_zeroed = true;
        self
    }

    /// The alignment in bytes: a power of two. A page without.
    pub fn align_bytes(mut self, align_bytes: u64) -> Self {
        self.request.align_bytes = align_bytes;
        self
    }

    /// The allocation priority: the class of what is offered [`crate::Class::Auto`].
    pub fn priority(mut self, priority: u32) -> Self {
        self.request.priority = priority;
        self
    }

    /// What rebuilding the content costs.
    pub fn rebuild_cost(mut self, cost: Duration) -> Self {
        self.request.rebuild_cost_ns = cost_ns(cost);
        self
    }

    /// Allocates `len_bytes`, committed.
    ///
    /// # Errors
    /// As [`Pool::allocate`], and [`Error::BadAlignment`].
    pub fn allocate(self, len_bytes: usize) -> Result<Committed, Error> {
        self.allocate_shared(len_bytes).map(Committed::new)
    }

    /// Allocates `len_bytes`, committed, to be used through shared references.
    ///
    /// # Errors
    /// As [`AllocationOptions::allocate`].
    pub fn allocate_shared(mut self, len_bytes: usize) -> Result<Allocation, Error> {
        self.request.size_bytes = len_bytes as u64;
        let handle = self.pool.engine.create(&self.request)?;
        Ok(Allocation {
            pool: self.pool.clone(),
            handle,
        })
    }
}

/// A duration as it is kept with an allocation. At least 1: 0 says "unknown".
pub(crate) fn cost_ns(cost: Duration) -> f32 {
    (cost.as_secs_f32() * 1e9).max(1.0)
}
