//! What a face must be able to do to be held to the contract: the smallest common set, in terms
//! that a type-safe API, a C ABI and an ioctl can all be driven by.

/// Names an allocation of one face. The face decides what the number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item(pub u64);

/// Names a group (WDDM: a resource) of one face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(pub u64);

/// The classes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Goes first.
    Low,
    /// Goes when nothing LOW is left.
    Normal,
    /// Goes last.
    High,
    /// As the allocation priority says when a victim is chosen.
    Auto,
}

/// How something is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The class.
    pub class: Class,
    /// It may end *not committed*.
    pub allow_decommit: bool,
    /// Do not defer it. A hint; a face without deferral ignores it.
    pub immediately: bool,
}

impl From<Class> for Offer {
    fn from(class: Class) -> Self {
        Offer {
            class,
            allow_decommit: false,
            immediately: false,
        }
    }
}

/// The form of a reclaim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The first version without a result array: the content is not needed.
    V1Null,
    /// The first version: an item is lost, or not.
    V1,
    /// The second version without a result array.
    V2Null,
    /// The second version: also *not committed*.
    V2,
}

impl Form {
    /// Whether the form writes answers.
    #[must_use]
    pub fn has_answers(self) -> bool {
        matches!(self, Form::V1 | Form::V2)
    }
}

/// What a place of a result array says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// What cases put there before the call; no face writes it.
    Untouched,
    /// The content is what it was.
    Intact,
    /// The content is lost.
    Discarded,
    /// The allocation is dead. Version 1 has no word for it and says *discarded*.
    NotCommitted,
}

impl Answer {
    /// Whether the content is gone, in the words of either version.
    #[must_use]
    pub fn is_lost(self) -> bool {
        matches!(self, Answer::Discarded | Answer::NotCommitted)
    }
}

/// Why a face refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The name is nobody's.
    BadHandle,
    /// It is offered.
    Offered,
    /// It is locked.
    Locked,
    /// It is not locked.
    NotLocked,
    /// It is dead.
    NotCommitted,
    /// A list of none or of too many.
    BadCount,
    /// A size that is none.
    BadSize,
    /// Wrong arguments, from a face that has one word for all of the above.
    Invalid,
    /// There is no memory for it.
    NoMemory,
    /// Anything else, in the face's words.
    Other(String),
    /// This face cannot express the call. The case is skipped.
    Unsupported(&'static str),
}

impl Refusal {
    /// Whether a refusal is the expected one, as far as this face can say.
    #[must_use]
    pub fn agrees_with(&self, expected: &Refusal) -> bool {
        let is_argument = !matches!(
            expected,
            Refusal::NoMemory | Refusal::Other(_) | Refusal::Unsupported(_)
        );
        self == expected || (*self == Refusal::Invalid && is_argument)
    }
}

/// What a new allocation is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct New {
    /// The size in bytes.
    pub size_bytes: u64,
    /// The content may be anything of this process at first.
    pub allow_not_zeroed: bool,
    /// The group it is a member of.
    pub group: Option<GroupName>,
}

/// One pool (WDDM: one process's device on the adapter) behind some interface. Calls are made by
/// one thread, one after the other. A refused call must have changed nothing of its own items.
pub trait Face {
    /// Creates an allocation: committed.
    ///
    /// # Errors
    /// As the contract says; so for all below.
    fn create(&mut self, new: &New) -> Result<Item, Refusal>;

    /// Ends an allocation. The name is dead afterwards.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn destroy(&mut self, item: Item) -> Result<(), Refusal>;

    /// A name that no allocation of this pool has, ever the same or not.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn wrong_item(&mut self) -> Result<Item, Refusal>;

    /// A group without members.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn create_group(&mut self) -> Result<GroupName, Refusal>;

    /// Ends a group and its members.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn destroy_group(&mut self, group: GroupName) -> Result<(), Refusal>;

    /// Locks, writes from the first byte on, unlocks. Not while [`Face::hold`] holds it.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn write(&mut self, item: Item, bytes: &[u8]) -> Result<(), Refusal>;

    /// Locks, reads from the first byte on, unlocks.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn read(&mut self, item: Item, bytes: &mut [u8]) -> Result<(), Refusal>;

    /// Locks, and stays locked. Locks nest.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn hold(&mut self, item: Item) -> Result<(), Refusal>;

    /// Undoes one [`Face::hold`].
    ///
    /// # Errors
    /// See [`Face::create`].
    fn let_go(&mut self, item: Item) -> Result<(), Refusal>;

    /// Offers a list.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn offer(&mut self, items: &[Item], offer: Offer) -> Result<(), Refusal>;

    /// Offers a list of groups.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn offer_groups(&mut self, groups: &[GroupName], offer: Offer) -> Result<(), Refusal>;

    /// Reclaims a list. `answers` is as long; forms without a result array leave it alone.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn reclaim(
        &mut self,
        items: &[Item],
        form: Form,
        answers: &mut [Answer],
    ) -> Result<(), Refusal>;

    /// Reclaims a list of groups; one answer per group.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn reclaim_groups(
        &mut self,
        groups: &[GroupName],
        form: Form,
        answers: &mut [Answer],
    ) -> Result<(), Refusal>;

    /// Sets the allocation priority (`D3DDDI_ALLOCATIONPRIORITY`: up to `0x5000_0000` LOW, up to
    /// `0x7800_0000` NORMAL, HIGH above).
    ///
    /// # Errors
    /// See [`Face::create`].
    fn set_priority(&mut self, item: Item, priority: u32) -> Result<(), Refusal>;

    /// Sets the budget of this pool.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn set_budget(&mut self, bytes: u64) -> Result<(), Refusal>;

    /// Has `bytes` given back to the kernel, or as much as there is; whole items where it must.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn trim(&mut self, bytes: u64) -> Result<(), Refusal>;

    /// Rss + Swap of all of the pool's addresses, as `/proc/PID/smaps` says.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn resident_bytes(&mut self) -> Result<u64, Refusal>;

    /// What the kernel has behind one allocation's memory; 0 where it has no memory.
    ///
    /// # Errors
    /// See [`Face::create`].
    fn resident_bytes_of(&mut self, item: Item) -> Result<u64, Refusal>;
}

/// Makes faces, each with a pool of its own.
pub trait FaceFactory {
    /// What is held to the contract, for messages.
    fn name(&self) -> &str;

    /// A face on a fresh pool that heeds its budget and nothing else of the machine.
    ///
    /// # Errors
    /// Why this machine cannot; the case is skipped.
    fn face(&mut self, budget_bytes: u64) -> Result<Box<dyn Face>, String>;
}
