//! Memory that several processes use and offer together.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use vidmm_pool::{
    About, Answers, BatchError, Error, GroupId, Handle, OfferMode, Outcome, SharedGroup,
    SharedMember, State,
};

use crate::pool::{Pool, cost_ns};
use crate::shared_guard::SharedGuard;

/// Allocations that other processes can open: a shared resource of WDDM.
///
/// It is discarded as a whole, and only while *every* process that has it open has offered all of
/// it; then each of them is told by its own next reclaim. A process that dies is as if it had closed
/// it. Each pays for the whole size, as long as it has it open and does not know it to be discarded.
///
/// Whoever has it open can write it at any time: the processes trust each other for the content, and
/// agree among themselves who writes when, and who rebuilds what was discarded.
///
/// ```
/// use std::os::fd::AsFd;
/// use vidmm::{Class, Outcome, Pool, SharedResource};
///
/// let pool = Pool::builder().budget_bytes(16 << 20).build()?;
/// let ours = SharedResource::create(&pool, &[1 << 20, 4096])?;
/// ours.lock(0)?.write_at(b"decoded", 0)?;
///
/// // In another process, which got the descriptor over a socket:
/// let descriptor = ours.share()?;
/// let (theirs, outcome) = SharedResource::open(&pool, descriptor.as_fd())?;
/// assert_eq!(outcome, Outcome::Intact);
/// let mut seen = [0; 7];
/// theirs.lock(0)?.read_at(&mut seen, 0)?;
/// assert_eq!(&seen, b"decoded");
///
/// ours.offer(Class::Low)?;
/// assert_eq!(pool.trim(u64::MAX)?, 0, "the other has not offered it");
/// theirs.offer(Class::Low)?;
/// pool.trim(u64::MAX)?;
/// assert_eq!(ours.reclaim()?, Outcome::Discarded);
/// assert_eq!(theirs.reclaim()?, Outcome::Discarded);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A child made by `fork` does not have it: everything but dropping it is refused there
/// ([`Error::NotInChild`]) until the child opens it itself.
#[derive(Debug)]
pub struct SharedResource {
    pool: Pool,
    group: GroupId,
    handles: Vec<Handle>,
}

impl SharedResource {
    /// Makes a resource of allocations of these sizes, in bytes: 1 to 1,024 of them, committed, and
    /// zeroed.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::Shared`] for sizes that cannot be, and for whatever keeps the
    /// file of memory from being made (no `/proc`, no descriptor left, a limit of file sizes);
    /// [`Error::TableFull`], [`Error::TooManyGroups`], [`Error::LeftOut`].
    pub fn create(pool: &Pool, lens_bytes: &[usize]) -> Result<Self, Error> {
        let member = |&len_bytes: &usize| SharedMember {
            size_bytes: len_bytes as u64,
            data: Vec::new(),
        };
        let about = About {
            members: lens_bytes.iter().map(member).collect(),
            ..About::default()
        };
        let made = pool.engine.create_shared(&about, &[], 0)?;
        Ok(Self::of(pool, made))
    }

    /// Opens the resource behind a descriptor that [`SharedResource::share`] gave, in this process
    /// or another; the descriptor stays the caller's. Whoever opens it has not offered it, whatever
    /// the others did. [`Outcome::Discarded`] says that the content was discarded and no opener has
    /// been told yet: it is this one's to rebuild.
    ///
    /// # Errors
    /// As [`SharedResource::create`]; [`Error::Shared`] also for a descriptor of anything else, or
    /// if 32 openings live already.
    pub fn open(pool: &Pool, descriptor: BorrowedFd<'_>) -> Result<(Self, Outcome), Error> {
        let (opened, _) = pool.engine.open_shared(descriptor, 0)?;
        let resource = Self::of(pool, opened);
        // Committed and charged, so it takes nothing and cannot be short of anything.
        let outcome = resource.reclaim().map_err(|refused| refused.error)?;
        Ok((resource, outcome))
    }

    fn of(pool: &Pool, made: SharedGroup) -> Self {
        SharedResource {
            pool: pool.clone(),
            group: made.group,
            handles: made.handles,
        }
    }

    /// A descriptor by which it can be opened: to be sent over a Unix socket, or inherited. The
    /// memory stays as long as anybody has it open or has such a descriptor.
    ///
    /// # Errors
    /// [`Error::Shared`] (no descriptor left, no `/proc`); [`Error::NotInChild`].
    pub fn share(&self) -> Result<OwnedFd, Error> {
        self.pool.engine.share(self.group)
    }

    /// How many allocations it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// The size of an allocation, in bytes; 0 beyond the last.
    #[must_use]
    pub fn len_bytes(&self, index: usize) -> u64 {
        let size = |handle| self.pool.engine.size_bytes(handle).ok();
        self.handle(index).ok().and_then(size).unwrap_or(0)
    }

    fn handle(&self, index: usize) -> Result<Handle, Error> {
        self.handles.get(index).copied().ok_or(Error::BadHandle)
    }

    /// Offers all of it, as far as this process is concerned; or nothing, if something is locked.
    /// Offering it again renews class and age. No system call.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotInChild`].
    pub fn offer(&self, mode: impl Into<OfferMode>) -> Result<(), BatchError> {
        self.pool.engine.offer_list(&self.handles[..], mode)
    }

    /// Reclaims all of it: from here on nobody discards it. Says whether it was discarded since this
    /// process last had it, by whichever process.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::Shared`]: it is offered still. [`Error::NotInChild`].
    pub fn reclaim(&self) -> Result<Outcome, BatchError> {
        let mut worst = Outcome::Intact;
        let answer = |_, outcome| worst = worst.max(outcome);
        let engine = &self.pool.engine;
        engine.reclaim_list(&self.handles[..], Answers::Discarded, answer)?;
        Ok(worst)
    }

    /// Locks an allocation: its bytes can be used. They can be changed by others at the same time.
    ///
    /// # Errors
    /// [`Error::Offered`]; [`Error::BadHandle`] beyond the last; [`Error::TooManyLocks`];
    /// [`Error::NotInChild`].
    pub fn lock(&self, index: usize) -> Result<SharedGuard<'_>, Error> {
        SharedGuard::new(&self.pool, self.handle(index)?)
    }

    /// What an allocation is at this instant, as far as this process knows.
    #[must_use]
    pub fn state(&self, index: usize) -> State {
        let state = |handle| self.pool.engine.state(handle);
        self.handle(index).and_then(state).unwrap_or(State::Dead)
    }

    /// What the kernel has behind an allocation, in memory or swap, whoever wrote it, in bytes.
    ///
    /// # Errors
    /// The kernel does not tell; `NotFound` beyond the last.
    pub fn resident_bytes(&self, index: usize) -> std::io::Result<u64> {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::NotFound);
        self.pool
            .engine
            .resident_of(self.handle(index).map_err(gone)?)
    }

    /// Says what rebuilding the content costs, for this process's choice of victims.
    pub fn set_rebuild_cost(&self, cost: Duration) {
        for &handle in &self.handles {
            // It lives as long as `self`.
            let _ = self.pool.engine.set_rebuild_cost_ns(handle, cost_ns(cost));
        }
    }

    /// Sets the allocation priority: the class of what this process offers [`crate::Class::Auto`].
    pub fn set_priority(&self, priority: u32) {
        for &handle in &self.handles {
            // As above.
            let _ = self.pool.engine.set_priority(handle, priority);
        }
    }
}

impl Drop for SharedResource {
    fn drop(&mut self) {
        for &handle in &self.handles {
            // Refused only for a lock whose guard was leaked: then the memory stays, as it must.
            let _ = self.pool.engine.destroy(handle);
        }
        let _ = self.pool.engine.destroy_group(self.group);
    }
}

/// A [`SharedResource`] of one allocation.
#[derive(Debug)]
pub struct SharedAllocation(SharedResource);

impl SharedAllocation {
    /// Makes zeroed memory of `len_bytes` that other processes can open.
    ///
    /// # Errors
    /// As [`SharedResource::create`].
    pub fn create(pool: &Pool, len_bytes: usize) -> Result<Self, Error> {
        SharedResource::create(pool, &[len_bytes]).map(SharedAllocation)
    }

    /// As [`SharedResource::open`]. Of a resource of several allocations it is the first.
    ///
    /// # Errors
    /// As [`SharedResource::open`].
    pub fn open(pool: &Pool, descriptor: BorrowedFd<'_>) -> Result<(Self, Outcome), Error> {
        let (resource, outcome) = SharedResource::open(pool, descriptor)?;
        Ok((SharedAllocation(resource), outcome))
    }

    /// As [`SharedResource::share`].
    ///
    /// # Errors
    /// As [`SharedResource::share`].
    pub fn share(&self) -> Result<OwnedFd, Error> {
        self.0.share()
    }

    /// As [`SharedResource::offer`].
    ///
    /// # Errors
    /// As [`SharedResource::offer`].
    pub fn offer(&self, mode: impl Into<OfferMode>) -> Result<(), Error> {
        self.0.offer(mode).map_err(|refused| refused.error)
    }

    /// As [`SharedResource::reclaim`].
    ///
    /// # Errors
    /// As [`SharedResource::reclaim`].
    pub fn reclaim(&self) -> Result<Outcome, Error> {
        self.0.reclaim().map_err(|refused| refused.error)
    }

    /// As [`SharedResource::lock`].
    ///
    /// # Errors
    /// As [`SharedResource::lock`].
    pub fn lock(&self) -> Result<SharedGuard<'_>, Error> {
        self.0.lock(0)
    }

    /// The size that was asked for, in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.0.len_bytes(0)
    }

    /// The resource that it is all of.
    #[must_use]
    pub fn resource(&self) -> &SharedResource {
        &self.0
    }
}
