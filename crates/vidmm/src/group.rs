//! Groups: allocations that are only useful together (WDDM's resources).

use vidmm_pool::{BatchError, Error, GroupId, OfferMode, Outcome};

use crate::allocation::{Allocation, Listed};
use crate::pool::{AllocationOptions, Pool};

/// Allocations that are offered, reclaimed and discarded together. A group ranks as one victim,
/// in the highest class of its offered members.
///
/// ```
/// use vidmm::{Class, Group, Outcome, Pool};
///
/// let pool = Pool::builder().budget_bytes(16 << 20).build()?;
/// let mut mip_chain = Group::new(&pool)?;
/// for level in 0..4 {
///     mip_chain.add(pool.options(), (1 << 20) >> (2 * level))?;
/// }
/// mip_chain.offer(Class::Low)?;
/// pool.trim(u64::MAX)?;
/// assert_eq!(mip_chain.reclaim()?, Outcome::Discarded);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Group {
    pool: Pool,
    id: GroupId,
    members: Vec<Allocation>,
}

impl Group {
    /// A group without members.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn new(pool: &Pool) -> Result<Self, Error> {
        let id = pool.engine.create_group()?;
        Ok(Group {
            pool: pool.clone(),
            id,
            members: Vec::new(),
        })
    }

    /// Adds a new allocation of `len_bytes` as the newest member and says its place. At most
    /// [`crate::BATCH_MAX`] members are possible.
    ///
    /// # Errors
    /// As [`AllocationOptions::allocate`]; [`Error::BadGroup`] for options of another pool;
    /// [`Error::BadCount`].
    pub fn add(
        &mut self,
        mut options: AllocationOptions<'_>,
        len_bytes: usize,
    ) -> Result<usize, Error> {
        if !options.pool.is_same(&self.pool) {
            return Err(Error::BadGroup);
        }
        let count = self.members.len();
        if count >= crate::BATCH_MAX {
            return Err(Error::BadCount { count: count + 1 });
        }
        options.request.group = Some(self.id);
        self.members.push(options.allocate_shared(len_bytes)?);
        Ok(count)
    }

    /// The members, in order of creation. Each can be offered, reclaimed and locked alone, too.
    #[must_use]
    pub fn members(&self) -> &[Allocation] {
        &self.members
    }

    /// One member, for writing.
    pub fn member_mut(&mut self, index: usize) -> Option<&mut Allocation> {
        self.members.get_mut(index)
    }

    /// Offers all members, or none if one is locked. An empty group offers nothing.
    ///
    /// # Errors
    /// The first member that cannot be offered.
    pub fn offer(&self, mode: impl Into<OfferMode>) -> Result<(), BatchError> {
        if self.members.is_empty() {
            return Ok(());
        }
        self.pool.offer_list(&self.members, mode)
    }

    /// Reclaims all members and answers with the worst that became of one. An empty group is
    /// intact.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::Kernel`]: all members are as they were.
    pub fn reclaim(&self) -> Result<Outcome, BatchError> {
        let mut worst = Outcome::Intact;
        if self.members.is_empty() {
            return Ok(worst);
        }
        let answers = vidmm_pool::Answers::NotCommitted;
        let listed = Listed {
            pool: &self.pool,
            list: &self.members,
        };
        self.pool
            .engine
            .reclaim_list(&listed, answers, |_, outcome| worst = worst.max(outcome))?;
        Ok(worst)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.members.clear();
        // The id is this value's own.
        let _ = self.pool.engine.destroy_group(self.id);
    }
}
