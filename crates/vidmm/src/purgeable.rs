//! A buffer together with the knowledge of how dear it is to rebuild.

use std::fmt::{Debug, Display};
use std::ops::Deref;
use std::time::Instant;

use vidmm_pool::{Error, OfferMode, Outcome};

use crate::allocation::Allocation;
use crate::guard::ReadGuard;
use crate::pool::Pool;

/// Why a content could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildError<E> {
    /// The rebuild failed; the buffer is empty and the next access rebuilds again.
    Rebuild(E),
    /// There is no memory for it, or the pool was left out of this process.
    Memory(Error),
}

impl<E: Display> Display for RebuildError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RebuildError::Rebuild(error) => write!(f, "the content could not be rebuilt: {error}"),
            RebuildError::Memory(error) => write!(f, "{error}"),
        }
    }
}

impl<E: Debug + Display> std::error::Error for RebuildError<E> {}

impl<E> From<Error> for RebuildError<E> {
    fn from(error: Error) -> Self {
        RebuildError::Memory(error)
    }
}

/// A buffer that is offered whenever nobody looks at it, and rebuilt when it was discarded. What
/// the rebuild cost is measured and kept with it, for the choice of victims.
///
/// ```
/// use vidmm::{Class, Pool, Purgeable};
///
/// let pool = Pool::builder().budget_bytes(16 << 20).build()?;
/// let mut squares = Purgeable::new(&pool, 256, Class::Normal)?;
/// let rebuild = |bytes: &mut [u8]| -> Result<(), std::convert::Infallible> {
///     for (i, byte) in bytes.iter_mut().enumerate() {
///         *byte = (i * i) as u8;
///     }
///     Ok(())
/// };
/// assert_eq!(squares.get_or_rebuild(rebuild)?[9], 81);
/// pool.trim(u64::MAX)?; // somebody needs the memory
/// assert_eq!(squares.get_or_rebuild(rebuild)?[9], 81);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Purgeable {
    allocation: Allocation,
    mode: OfferMode,
    /// The content was built and not known to be lost.
    built: bool,
}

impl Purgeable {
    /// An empty buffer of `len_bytes`, to be offered in `mode` between accesses.
    ///
    /// # Errors
    /// As [`crate::AllocationOptions::allocate`].
    pub fn new(pool: &Pool, len_bytes: usize, mode: impl Into<OfferMode>) -> Result<Self, Error> {
        // The rebuild writes all of it before anybody reads.
        let allocation = pool
            .options()
            .allow_not_zeroed()
            .allocate_shared(len_bytes)?;
        let mode = mode.into();
        // Empty as it is, it can go first.
        allocation.offer(mode)?;
        Ok(Purgeable {
            allocation,
            mode,
            built: false,
        })
    }

    /// The content: as it was, or else built by `rebuild`, which gets the whole buffer with
    /// unspecified content. It stays until the guard is dropped, and is offered then.
    ///
    /// # Errors
    /// What `rebuild` says; [`Error::NoMemory`].
    pub fn get_or_rebuild<E>(
        &mut self,
        rebuild: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<PurgeableGuard<'_>, RebuildError<E>> {
        let outcome = self.allocation.reclaim()?;
        if outcome != Outcome::Intact || !self.built {
            // Not built until `rebuild` has returned well: it may fail, or panic.
            self.built = false;
            let started = Instant::now();
            let done = {
                let mut bytes = self.allocation.lock_mut()?;
                rebuild(&mut bytes)
            };
            if let Err(error) = done {
                let _ = self.allocation.offer(self.mode);
                return Err(RebuildError::Rebuild(error));
            }
            self.allocation.set_rebuild_cost(started.elapsed());
            self.built = true;
        }
        let guard = self.allocation.lock()?;
        Ok(PurgeableGuard {
            offer: OfferOnDrop(&self.allocation, self.mode),
            bytes: Some(guard),
        })
    }

    /// The allocation behind it.
    #[must_use]
    pub fn allocation(&self) -> &Allocation {
        &self.allocation
    }
}

#[derive(Debug)]
struct OfferOnDrop<'a>(&'a Allocation, OfferMode);

/// The content of a [`Purgeable`]; offered when dropped.
#[derive(Debug)]
pub struct PurgeableGuard<'a> {
    offer: OfferOnDrop<'a>,
    /// Taken only by `drop`.
    bytes: Option<ReadGuard<'a>>,
}

impl Deref for PurgeableGuard<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl Drop for PurgeableGuard<'_> {
    fn drop(&mut self) {
        // Unlocked first: what is locked cannot be offered.
        self.bytes = None;
        let _ = self.offer.0.offer(self.offer.1);
    }
}
