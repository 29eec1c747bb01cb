//! The pool: what it is made of, and the calls on one allocation.

use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use vidmm_arena::{Arena, ArenaError, ArenaOptions, Extent, Kernel, LinuxKernel, Resident, Shape};
use vidmm_machine::MachineError;
use vidmm_policy::{Learned, Policy};
use vidmm_table::{
    Class, Error as SlotError, ExtentWord, Handle, History, Installed, New, OfferMode, Offered,
    PRIORITY_NORMAL, Reclaim, ResourceId as GroupId, Slot, SlotRef, State, Table,
};
use vidmm_trace::{Kind, StartError};

use crate::agent::Agent;
use crate::error::Error;
use crate::explain::Memory;
use crate::fork;
use crate::gate::{Gate, Inside};
use crate::joined::{Lack, Link, Notices};
use crate::options::{ForkMode, PoolOptions};
use crate::protect::Protection;
use crate::reclaimer::Reclaimer;
use crate::record::Recording;
use crate::room::{BYTES_MAX, Room};
use crate::shared::Registry;
use crate::signals::Signals;
use crate::stats::{Cached, Counters};

/// What a reclaim answers, per item. The worst of a group's members is the group's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Byte for byte what was there at the offer.
    Intact,
    /// Committed and usable, but the content is unspecified now.
    Discarded,
    /// *Not committed*: it was offered with *allow decommit* and cannot be supplied again. Only
    /// destroy is left.
    NotCommitted,
}

/// What an allocation is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// The size, in bytes; at least 1.
    pub size_bytes: u64,
    /// The alignment, in bytes: a power of two, or 0 for a page.
    pub align_bytes: u64,
    /// The content may be anything of this process at first, instead of zeroes.
    pub allow_not_zeroed: bool,
    /// The allocation priority: the class of what is offered AUTO.
    pub priority: u32,
    /// What rebuilding the content costs, in nanoseconds; 0 is unknown.
    pub rebuild_cost_ns: f32,
    /// The group it is a member of from the start.
    pub group: Option<GroupId>,
    /// The device it belongs to; 0 is none. Kept for the face that has devices.
    pub device: u32,
}

impl Request {
    /// Zeroed memory of this size, with nothing special about it.
    #[must_use]
    pub fn of_size(size_bytes: u64) -> Self {
        Request {
            size_bytes,
            align_bytes: 0,
            allow_not_zeroed: false,
            priority: PRIORITY_NORMAL,
            rebuild_cost_ns: 0.0,
            group: None,
            device: 0,
        }
    }
}

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewPoolError {
    /// The budget cannot be found out.
    #[error("the budget cannot be determined: {0}")]
    Budget(#[source] MachineError),
    /// No address space.
    #[error("the address space cannot be had: {0}")]
    Arena(#[source] ArenaError),
    /// A trace was asked for and cannot be recorded.
    #[error(transparent)]
    Trace(#[from] StartError),
}

/// The memory of one process under one budget. Every method may be called from any thread.
#[derive(Debug)]
pub struct Pool<K: Kernel = LinuxKernel> {
    pub(crate) signals: Signals,
    pub(crate) table: Table,
    pub(crate) room: Room,
    pub(crate) arena: Arena<K>,
    pub(crate) gate: Gate,
    pub(crate) reclaimer: Mutex<Reclaimer>,
    pub(crate) counters: Counters,
    pub(crate) cached_stats: Mutex<Option<Cached>>,
    pub(crate) shared: Registry,
    pub(crate) protection: Option<Mutex<Protection>>,
    pub(crate) agent: Agent,
    pub(crate) options: PoolOptions,
    pub(crate) policy: Arc<dyn Policy>,
    /// The way to a manager.
    pub(crate) link: Link,
    pub(crate) notices: Notices,
    /// The newest discards.
    pub(crate) memory: Memory,
    /// What writes a trace, if one does.
    pub(crate) recording: Recording,
    pub(crate) own_budget_bytes: AtomicU64,
    pub(crate) cap_bytes: AtomicU64,
    /// What was asked to be reserved.
    pub(crate) reserved_bytes: AtomicU64,
    /// This is a child, and the arena was left behind.
    pub(crate) left_out: AtomicBool,
    /// A tester's knob: nothing offered is discarded, whoever needs it.
    pub(crate) discards_forbidden: AtomicBool,
}

impl<K: Kernel + 'static> Pool<K> {
    /// A pool on the memory that `kernel` supplies. Nothing is held and no thread runs before the
    /// first allocation (but the recorder's, if a trace is recorded).
    ///
    /// # Errors
    /// No budget, no address space, or no trace though one was asked for.
    pub fn new(kernel: K, options: PoolOptions) -> Result<Arc<Self>, NewPoolError> {
        let budget = options
            .budget
            .resolve(&options.files)
            .map_err(NewPoolError::Budget)?;
        let budget_bytes = budget.min(BYTES_MAX);
        let arena_options = ArenaOptions {
            include_in_core_dumps: options.include_in_core_dumps,
            keep_out_of_children: options.fork == ForkMode::Drop,
            reserve_bytes: options.reserve_bytes,
        };
        let arena = Arena::new(kernel, arena_options).map_err(NewPoolError::Arena)?;
        let protection = options
            .protect
            .then(|| Mutex::new(Protection::within_limit_of(&options.files)));
        let link = Link::new(options.join.clone());
        let recording = Recording::start(&options)?;
        let pool = Arc::new_cyclic(|me: &Weak<Self>| Pool {
            signals: Signals::default(),
            table: Table::new(),
            // What a manager may have to grant is not there yet.
            room: Room::new(if link.begins_alone() { budget_bytes } else { 0 }),
            arena,
            gate: Gate::default(),
            reclaimer: Mutex::default(),
            counters: Counters::default(),
            cached_stats: Mutex::default(),
            shared: Registry::default(),
            protection,
            agent: Agent::new(
                me.clone(),
                options.agent,
                options.pressure,
                options.files.clone(),
            ),
            policy: options
                .policy
                .clone()
                .unwrap_or_else(|| Arc::new(Learned::default())),
            link,
            notices: Notices::default(),
            memory: Memory::default(),
            recording,
            options,
            own_budget_bytes: AtomicU64::new(budget_bytes),
            cap_bytes: AtomicU64::new(BYTES_MAX),
            reserved_bytes: AtomicU64::new(0),
            left_out: AtomicBool::new(false),
            discards_forbidden: AtomicBool::new(false),
        });
        let forks: Weak<Self> = Arc::downgrade(&pool);
        fork::register(forks);
        pool.begin_recording();
        Ok(pool)
    }
}

impl<K: Kernel> Pool<K> {
    /// The beginning of every slow call.
    pub(crate) fn enter(&self) -> Result<Inside<'_>, Error> {
        let inside = self.gate.enter();
        if self.left_out.load(Ordering::Relaxed) {
            return Err(Error::LeftOut);
        }
        self.tend_recording(&inside);
        self.tend_policy(&inside);
        Ok(inside)
    }

    fn shape(&self, size_bytes: u64, align_bytes: u64) -> Result<Shape, Error> {
        self.arena
            .shape(size_bytes, align_bytes)
            .map_err(|error| match error {
                ArenaError::ZeroSize => Error::ZeroSize,
                ArenaError::Alignment { align_bytes } => Error::BadAlignment { align_bytes },
                _ => Error::TooLarge { size_bytes },
            })
    }

    /// The shape of an allocation that has lost its memory.
    pub(crate) fn shape_of(&self, slot: &SlotRef<'_>) -> Result<Shape, Error> {
        let slot = slot.slot();
        let align_bytes = match slot.align_log2() {
            0 => 0,
            log2 => 1 << log2,
        };
        self.shape(slot.size_bytes(), align_bytes)
    }

    /// Creates an allocation: committed, and zeroed unless that is waived (memory that needs it
    /// is zeroed at the first lock).
    ///
    /// # Errors
    /// A bad size, alignment or group; [`Error::NoMemory`]; [`Error::Kernel`];
    /// [`Error::TableFull`].
    pub fn create(&self, request: &Request) -> Result<Handle, Error> {
        let shape = self.shape(request.size_bytes, request.align_bytes)?;
        if shape.charge_bytes() > self.ceiling_bytes() {
            return Err(self.no_memory(shape.charge_bytes()));
        }
        if let Some(group) = request.group
            && !self.table.has_resource(group)
        {
            return Err(Error::BadGroup);
        }
        self.with_credit(|inside, allowance| {
            let extent = self.acquire(inside, shape, allowance)?;
            self.create_on(extent, request).map_err(Lack::Never)
        })
    }

    /// What an allocation will be charged, in bytes.
    ///
    /// # Errors
    /// A bad size or alignment.
    pub fn charge_for(&self, request: &Request) -> Result<u64, Error> {
        let shape = self.shape(request.size_bytes, request.align_bytes)?;
        Ok(shape.charge_bytes())
    }

    /// Whether `charge_bytes` could be had just now, with all that is free or offered. For callers
    /// who want several allocations or none, before the first.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::LeftOut`].
    pub fn check_room(&self, charge_bytes: u64) -> Result<(), Error> {
        if charge_bytes > self.ceiling_bytes() {
            return Err(self.no_memory(charge_bytes));
        }
        self.with_credit(|_inside, allowance| {
            self.check_possible(&mut self.reclaimer(), charge_bytes, allowance)
        })
    }

    /// Creates an allocation on memory that is the caller's and stays so: it is not charged, never
    /// a victim (an offer is accepted and its reclaim is intact), and locked it is at its address.
    /// The memory must stay accessible until the allocation is destroyed.
    ///
    /// # Errors
    /// As [`Pool::create`], but for memory; [`Error::BadAlignment`] for an address that no process
    /// has.
    pub fn create_foreign(&self, request: &Request, memory: NonNull<u8>) -> Result<Handle, Error> {
        let _inside = self.enter()?;
        let extent = Extent::foreign(memory).ok_or(Error::BadAlignment { align_bytes: 0 })?;
        if request.size_bytes == 0 {
            return Err(Error::ZeroSize);
        }
        self.create_on(extent, request)
    }

    /// The allocation of an extent that has just been taken for it.
    pub(crate) fn create_on(&self, extent: Extent, request: &Request) -> Result<Handle, Error> {
        let new = New {
            size_bytes: request.size_bytes,
            align_log2: log2_of(request.align_bytes),
            extent: ExtentWord(extent.to_word()),
            zero_owed: !request.allow_not_zeroed && extent.is_warm(),
            priority: request.priority,
            rebuild_cost_ns: request.rebuild_cost_ns,
            resource: 0,
            device: request.device,
            now_ticks: self.signals.tick(),
        };
        let made = match request.group {
            None => self.table.create(&new).map_err(Error::from),
            Some(group) => match self.table.resources().create_member(group, &new) {
                Err(vidmm_table::Error::BadHandle) => Err(Error::BadGroup),
                made => made.map_err(Error::from),
            },
        };
        match made {
            Ok(handle) => {
                self.record_handle(Kind::Create, handle);
                self.agent.something_is_held();
            }
            // Nobody has touched the extent: it goes back as what it came as.
            Err(_) => self.release(vidmm_table::Detached {
                extent: ExtentWord(extent.to_word()),
                fresh: true,
            }),
        }
        made
    }

    /// Ends an allocation, whatever its state, unless it is locked.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::BadHandle`].
    pub fn destroy(&self, handle: Handle) -> Result<(), Error> {
        let _inside = self.enter()?;
        self.destroy_inside(handle)
    }

    fn destroy_inside(&self, handle: Handle) -> Result<(), Error> {
        let ended = self
            .table
            .destroy_noting(handle, |slot| self.retire(handle, slot));
        let detached = match ended {
            Err(SlotError::Shared) => return self.destroy_shared(handle, false),
            ended => ended?,
        };
        if let Some(detached) = detached {
            self.release(detached);
        }
        Ok(())
    }

    /// What is left to do of a slot that has just lost its allocation.
    pub(crate) fn retire(&self, handle: Handle, slot: &Slot) {
        self.record_end(handle, slot);
        self.counters.retired(slot.history().reclaims);
        if let Some(group) = GroupId::from_raw(slot.resource()) {
            self.table.resources().remove(group, handle);
        }
    }

    /// Ends all allocations and groups of `device`, locked or not. Nobody may create any on it
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn destroy_device(&self, device: u32) -> Result<(), Error> {
        let _inside = self.enter()?;
        {
            let mut resources = self.table.resources();
            for group in resources.of_device(device) {
                // It lives: the lock is held.
                let _ = resources.destroy(group, |_| {});
            }
        }
        self.table.each_of_device(device, |handle| {
            // What is not shared is none of its business.
            if self.device_of(handle) == Ok(device) && self.destroy_shared(handle, true).is_ok() {
                return;
            }
            let ended = self
                .table
                .destroy_locked(handle, device, |slot| self.retire(handle, slot));
            if let Ok(Some(detached)) = ended {
                self.release(detached);
            }
        });
        Ok(())
    }

    /// Offers an allocation: from now on its content may be lost. Offering what is offered renews
    /// class and age; what is discarded stays so.
    ///
    /// No system call, no clock, no lock, no allocation; the same for any size.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotCommitted`], [`Error::BadHandle`].
    #[inline]
    pub fn offer(&self, handle: Handle, mode: impl Into<OfferMode>) -> Result<(), Error> {
        let slot = self.table.get(handle)?;
        self.offer_slot(&slot, mode.into())
    }

    #[inline]
    pub(crate) fn offer_slot(&self, slot: &SlotRef<'_>, mode: OfferMode) -> Result<(), Error> {
        if !slot.offer_at_once(mode) {
            match slot.offer(mode) {
                Ok(Offered::Now) => {}
                Ok(Offered::AlreadyDiscarded) => return self.renew_discarded(slot, mode),
                Err(SlotError::Shared) => return self.offer_shared(slot, mode),
                Err(error) => return Err(error.into()),
            }
        }
        self.note_offer(slot, mode);
        self.record(Kind::Offer, *slot);
        Ok(())
    }

    /// An offer of what is discarded already: it stays so, in the mode of the newest offer.
    #[cold]
    fn renew_discarded(&self, slot: &SlotRef<'_>, mode: OfferMode) -> Result<(), Error> {
        let _inside = self.enter()?;
        slot.renew_discarded(mode)?;
        self.record(Kind::Offer, *slot);
        Ok(())
    }

    #[inline]
    fn note_offer(&self, slot: &SlotRef<'_>, mode: OfferMode) {
        slot.note_offer(self.signals.now_ticks());
        self.signals
            .offered(|| mode.class.effective(slot.slot().priority()));
    }

    /// An intact reclaim is done.
    #[inline]
    pub(crate) fn note_intact(&self, slot: &SlotRef<'_>, now_ticks: u32) {
        slot.note_reclaim(now_ticks);
        self.record(Kind::ReclaimIntact, *slot);
    }

    #[inline]
    fn slot_named(&self, raw: u32, device: u32) -> Option<SlotRef<'_>> {
        self.slot_of(Handle::from_raw(raw)?, device).ok()
    }

    /// The slot of an allocation of `device`; that it still lives is for each operation to see.
    #[inline]
    pub(crate) fn slot_of(&self, handle: Handle, device: u32) -> Result<SlotRef<'_>, Error> {
        let slot = self.table.get(handle)?;
        match slot.slot().device() == device {
            true => Ok(slot),
            false => Err(Error::BadHandle),
        }
    }

    /// Offers the allocation with these 32 bits as its handle in the usual case: it is of this
    /// device, not locked, and nobody else is at it. If it is not so, nothing was changed, and
    /// [`Pool::offer_list`] finds out why. Leaves nothing in a trace: not for pools that are traced
    /// ([`Pool::is_traced`]).
    #[inline]
    pub fn offer_at_once(&self, raw: u32, device: u32, mode: OfferMode) -> bool {
        let Some(slot) = self.slot_named(raw, device) else {
            return false;
        };
        let offered = slot.offer_at_once(mode);
        if offered {
            self.note_offer(&slot, mode);
        }
        offered
    }

    /// Reclaims the allocation with these 32 bits as its handle in the usual case: it is of this
    /// device, offered and intact, and nobody else is at it. If it is not so, nothing was changed,
    /// and [`Pool::reclaim_list`] finds out why. Leaves nothing in a trace: not for pools that are
    /// traced ([`Pool::is_traced`]).
    #[inline]
    pub fn reclaim_at_once(&self, raw: u32, device: u32) -> bool {
        let Some(slot) = self.slot_named(raw, device) else {
            return false;
        };
        let reclaimed = slot.reclaim_at_once().is_some();
        if reclaimed {
            slot.note_reclaim(self.signals.now_ticks());
        }
        reclaimed
    }

    /// Reclaims an allocation: it is committed again, and the answer says whether the content is
    /// what it was. Reclaiming what is not offered answers intact. Never answers
    /// [`Outcome::NotCommitted`] except for what is dead already; see
    /// [`Pool::reclaim_list`] for that.
    ///
    /// Of intact memory: no system call, no clock, no lock, no allocation; the same for any size.
    ///
    /// # Errors
    /// [`Error::NoMemory`] or [`Error::Kernel`]: it stays offered. [`Error::BadHandle`].
    #[inline]
    pub fn reclaim(&self, handle: Handle) -> Result<Outcome, Error> {
        let slot = self.table.get(handle)?;
        if slot.reclaim_at_once().is_none() {
            match slot.reclaim() {
                Ok(Reclaim::Intact(_)) => {}
                Ok(Reclaim::Discarded(_)) => return self.reclaim_discarded(&slot),
                Ok(Reclaim::Dead) => return Ok(Outcome::NotCommitted),
                Err(SlotError::Shared) => return self.reclaim_shared(&slot),
                Err(error) => return Err(error.into()),
            }
        }
        self.note_intact(&slot, self.signals.now_ticks());
        Ok(Outcome::Intact)
    }

    #[cold]
    pub(crate) fn reclaim_discarded(&self, slot: &SlotRef<'_>) -> Result<Outcome, Error> {
        let shape = self.shape_of(slot)?;
        self.with_credit(|inside, allowance| {
            let extent = self.acquire(inside, shape, allowance)?;
            self.install(slot, extent);
            self.agent.something_is_held();
            Ok(())
        })?;
        self.note_discarded_reclaim(slot);
        Ok(Outcome::Discarded)
    }

    /// Puts an extent behind an allocation that was seen discarded. If somebody else has settled
    /// the allocation's fate meanwhile, it stands as if this call had been before theirs, and the
    /// extent goes back.
    pub(crate) fn install(&self, slot: &SlotRef<'_>, extent: Extent) {
        let word = ExtentWord(extent.to_word());
        if slot.install(word) != Ok(Installed::Here) {
            self.release(vidmm_table::Detached {
                extent: word,
                fresh: true,
            });
        }
    }

    pub(crate) fn note_discarded_reclaim(&self, slot: &SlotRef<'_>) {
        slot.note_reclaim(self.signals.tick());
        self.record(Kind::ReclaimDiscarded, *slot);
        Counters::add(&self.counters.reclaims_discarded, 1);
    }

    /// The state an allocation is in at this instant. Others may change it at once.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn state(&self, handle: Handle) -> Result<State, Error> {
        match self.table.get(handle)?.load()?.state() {
            State::Empty => Err(Error::BadHandle),
            State::Shared => self.shared_state(handle),
            state => Ok(state),
        }
    }

    /// The size that was asked for, in bytes.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn size_bytes(&self, handle: Handle) -> Result<u64, Error> {
        self.state(handle)?;
        Ok(self.table.get(handle)?.slot().size_bytes())
    }

    /// What the allocation counts against the budget while it has memory, in bytes: whole pages,
    /// or whole huge pages.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn charge_bytes(&self, handle: Handle) -> Result<u64, Error> {
        self.state(handle)?;
        let slot = self.table.get(handle)?;
        if slot.shared().is_some() {
            return Ok(self.shared_charge(slot.slot().size_bytes()));
        }
        if Extent::from_word(slot.slot().extent().0).is_foreign() {
            return Ok(0);
        }
        Ok(self.shape_of(&slot)?.charge_bytes())
    }

    /// What is remembered of the allocation's use.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn history(&self, handle: Handle) -> Result<History, Error> {
        self.state(handle)?;
        Ok(self.table.get(handle)?.history()?)
    }

    /// Sets what rebuilding the content costs, in nanoseconds; 0 is unknown.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn set_rebuild_cost_ns(&self, handle: Handle, cost_ns: f32) -> Result<(), Error> {
        self.state(handle)?;
        self.table.get(handle)?.set_rebuild_cost_ns(cost_ns)?;
        self.record_handle(Kind::Rebuild, handle);
        Ok(())
    }

    /// Sets the allocation priority, which is the class of what is offered AUTO.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn set_priority(&self, handle: Handle, priority: u32) -> Result<(), Error> {
        self.state(handle)?;
        self.table.get(handle)?.set_priority(priority)?;
        if self.table.get(handle)?.shared().is_some() {
            self.shared_priority(handle, priority);
        }
        // Something offered AUTO may have moved to a lower class.
        self.signals.offered(|| Class::Low);
        self.signals.offered(|| Class::Normal);
        Ok(())
    }

    /// Whether this is a child made by `fork` while `VIDMM_FORK=drop` kept the memory out of it:
    /// everything is refused.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Everything that is charged to the budget, in bytes: committed, offered, warm.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.room.held_bytes()
    }

    /// For tests of programs: while forbidden, nothing offered is discarded, whoever needs memory
    /// and for whatever reason; what needs it is refused.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn forbid_discards(&self, forbidden: bool) -> Result<(), Error> {
        let _inside = self.enter()?;
        // Claims happen under this lock: none is under way when the call returns.
        let _reclaimer = self.reclaimer();
        self.discards_forbidden.store(forbidden, Ordering::Relaxed);
        Ok(())
    }

    /// What the kernel counts behind the pool's addresses.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn resident(&self) -> std::io::Result<Resident> {
        self.arena.resident()
    }

    /// The addresses that are the pool's, as long as it lives, whether there is memory behind them
    /// or not: what to look at in `/proc/PID/smaps` from another process.
    #[must_use]
    pub fn ranges(&self) -> Vec<std::ops::Range<u64>> {
        self.arena.ranges()
    }

    /// What the kernel counts behind one allocation, in bytes; 0 where it has no memory.
    ///
    /// # Errors
    /// The kernel does not tell; a handle that names nothing is `NotFound`.
    pub fn resident_of(&self, handle: Handle) -> std::io::Result<u64> {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::NotFound);
        let slot = self.table.get(handle).map_err(gone)?;
        match slot.load().map_err(gone)?.state() {
            State::Committed | State::Offered => self
                .arena
                .resident_of(Extent::from_word(slot.slot().extent().0)),
            State::Discarded | State::Dead => Ok(0),
            State::Shared => self.shared_backed_bytes(handle),
            State::Empty => Err(gone(vidmm_table::Error::BadHandle)),
        }
    }

    /// A new group without members. Put allocations into it as they are created.
    ///
    /// # Errors
    /// [`Error::LeftOut`], [`Error::TooManyGroups`].
    pub fn create_group(&self) -> Result<GroupId, Error> {
        self.create_group_of(0)
    }

    /// As [`Pool::create_group`], for a device (0 is none).
    ///
    /// # Errors
    /// [`Error::LeftOut`], [`Error::TooManyGroups`].
    pub fn create_group_of(&self, device: u32) -> Result<GroupId, Error> {
        let _inside = self.enter()?;
        Ok(self.table.resources().create(device)?)
    }

    /// The device that a group was made for; 0 is none.
    ///
    /// # Errors
    /// [`Error::BadGroup`].
    #[inline]
    pub fn device_of_group(&self, group: GroupId) -> Result<u32, Error> {
        self.table.device_of(group).map_err(|_| Error::BadGroup)
    }

    /// Copies the handles of a group's members, in order of creation, to the beginning of
    /// `members` and says how many there are; if they are more than fit, what was copied is of no
    /// use. Takes no lock unless others keep changing the group.
    ///
    /// # Errors
    /// [`Error::BadGroup`].
    #[inline]
    pub fn members(&self, group: GroupId, members: &mut [u32]) -> Result<usize, Error> {
        self.table
            .members(group, members)
            .map_err(|_| Error::BadGroup)
    }

    /// Ends a group; its members live on, each for itself.
    ///
    /// # Errors
    /// [`Error::BadGroup`].
    pub fn destroy_group(&self, group: GroupId) -> Result<(), Error> {
        let _inside = self.enter()?;
        let alone = |member| {
            if let Ok(slot) = self.table.get(member) {
                // A member destroyed meanwhile has no group any more.
                let _ = slot.set_resource(0);
            }
        };
        self.table
            .resources()
            .destroy(group, alone)
            .map_err(|_| Error::BadGroup)
    }

    /// The device of an allocation, as it was named at its creation; 0 is none.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    #[inline]
    pub fn device_of(&self, handle: Handle) -> Result<u32, Error> {
        let slot = self.table.get(handle)?;
        slot.load()?;
        Ok(slot.slot().device())
    }

    /// The group of an allocation.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn group_of(&self, handle: Handle) -> Result<Option<GroupId>, Error> {
        let slot = self.table.get(handle)?;
        slot.load()?;
        Ok(GroupId::from_raw(slot.slot().resource()))
    }

    /// How often an allocation is locked now.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn locks(&self, handle: Handle) -> Result<u32, Error> {
        let word = self.table.get(handle)?.load()?;
        match word.state() {
            State::Shared => self.shared_locks(handle),
            _ => Ok(word.locks()),
        }
    }
}

/// The logarithm of an alignment that was found to be 0 or a power of two.
fn log2_of(align_bytes: u64) -> u8 {
    u8::try_from(align_bytes.checked_ilog2().unwrap_or(0)).unwrap_or(0)
}
