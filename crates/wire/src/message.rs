//! What is said once a client has joined.

use serde::{Deserialize, Serialize};

use crate::codec::{Bounded, DecodeError, at_most};
use crate::figures::{Discard, Figures, Supply};

/// A message has at most so many discards.
pub const DISCARDS_PER_MESSAGE_MAX: usize = 64;

/// From a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToManager {
    /// It needs credit.
    Ask(Ask),
    /// It does not wait for this request any more. A request that is still open is refused for it,
    /// so that whoever asks hears in any case; what is granted all the same it returns.
    Withdraw {
        /// The number of the [`Ask`].
        request: u32,
    },
    /// What came of an order.
    Answer(Answer),
    /// Credit that it gives back unasked, or pays of a debt.
    Returned {
        /// So many bytes less are to be counted for it.
        bytes: u64,
    },
    /// What was polled.
    Told(Told),
    /// How much it wants reserved, in bytes (`D3DKMTChangeVideoMemoryReservation`). A hint, cut
    /// to what is available; a [`Notice`] tells what became of it.
    Reserve {
        /// So many bytes; 0 is none.
        bytes: u64,
    },
}

/// A need of room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Counted by the client; comes back in the reply.
    pub request: u32,
    /// What is missing, in bytes; never 0. Granted whole or not at all.
    pub bytes: u64,
    /// What the client itself could give, as of now.
    pub supply: Supply,
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the order.
    pub order: u32,
    /// So many bytes less are to be counted for the client. Less than was ordered: there was no
    /// more within the order's thresholds. (A debt's rest comes by and by, as `Returned`.)
    pub returned_bytes: u64,
    /// Of these, what was discarded for it: LOW, NORMAL, HIGH, in bytes.
    pub discarded_bytes: [u64; 3],
    /// How many allocations were discarded for it.
    pub discards: u32,
}

/// The answer to a poll: what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The number of the poll.
    pub poll: u32,
    /// What could be given.
    pub supply: Supply,
    /// What is held and was done.
    pub figures: Figures,
    /// The newest discards, oldest first.
    pub discards: Vec<Discard>,
}

/// To a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToClient {
    /// Credit.
    Credit(Credit),
    /// No credit.
    NoCredit(NoCredit),
    /// Shrink.
    Order(Order),
    /// Tell.
    Poll(Poll),
    /// Something that the process may want to know.
    Notice(Notice),
}

/// A request is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// The number of the [`Ask`].
    pub request: u32,
    /// So many bytes more are counted for the client (slack included).
    pub granted_bytes: u64,
    /// So many bytes the client may take from its own offered memory, for this request and others,
    /// before it asks again; to be forgotten after [`Credit::own_ms`].
    pub own_bytes: u64,
    /// For how long `own_bytes` holds, in milliseconds.
    pub own_ms: u32,
}

/// A request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoCredit {
    /// The number of the [`Ask`].
    pub request: u32,
    /// Why.
    pub why: WhyNot,
}

/// Why there is no credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyNot {
    /// More than there could ever be for this client.
    TooMuch,
    /// What is neither free nor offered leaves too little, also after waiting.
    Short,
    /// The client's cgroup has no room for it.
    Cgroup,
    /// The client has an order unanswered.
    Unanswered,
    /// The client has too many requests under way.
    TooMany,
    /// The grant could not be recorded (the ledger's disk is full).
    Unrecorded,
    /// The client has withdrawn the request.
    Withdrawn,
}

/// What may be discarded of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Threshold {
    /// Nothing.
    Nothing,
    /// What ranks at most so high, in the client's own measure.
    UpTo(u32),
    /// Everything.
    All,
}

/// An order to shrink: unused credit first, then what belongs to no allocation, then what is
/// offered: class by class, by rank, within the thresholds. Where the machine is to have the memory
/// ([`WhyOrdered::Trim`], [`WhyOrdered::Pressure`]) credit that nothing is behind does not count. To be
/// answered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Counted by the manager; never 0.
    pub order: u32,
    /// At most so many bytes.
    pub bytes: u64,
    /// What may be discarded: LOW, NORMAL, HIGH.
    pub thresholds: [Threshold; 3],
    /// The [`Supply::as_of`] of the supply that the thresholds' ranks are from: what was touched
    /// since ranks as new.
    pub as_of: u32,
    /// What is not there stays owed, and is returned as it comes free.
    pub standing: bool,
    /// Why.
    pub why: WhyOrdered,
    /// For whom: a process as the manager sees it; 0 is nobody in particular.
    pub beneficiary_pid: u32,
}

/// Why a client is to shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyOrdered {
    /// Somebody else asked for credit.
    Need,
    /// The budget was lowered, or is exceeded.
    Budget,
    /// An operator trims.
    Trim,
    /// The machine is short: a reason by its place in [`crate::REASONS`].
    Pressure(u8),
    /// The reserve for newcomers is to be refilled.
    Reserve,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Counted by the manager; comes back in the answer.
    pub poll: u32,
    /// How many of the newest discards are wanted, at most [`DISCARDS_PER_MESSAGE_MAX`].
    pub discards_max: u32,
}

/// Something that the process may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// What WDDM's `QueryVideoMemoryInfo` would tell, when it has changed.
    Budget {
        /// What the process may use now, in bytes.
        budget_bytes: u64,
        /// What is reserved for it, in bytes.
        reservation_bytes: u64,
        /// What it could have reserved in all, in bytes.
        available_for_reservation_bytes: u64,
        /// The manager's whole budget, in bytes: more than that can never be had.
        whole_bytes: u64,
    },
    /// Please trim: what is offered does not suffice for what is needed.
    Trim {
        /// So many bytes would help.
        bytes: u64,
    },
}

impl Bounded for ToManager {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            ToManager::Ask(ask) => ask.supply.check(),
            ToManager::Told(told) => {
                told.supply.check()?;
                at_most("discards", told.discards.len(), DISCARDS_PER_MESSAGE_MAX)
            }
            _ => Ok(()),
        }
    }
}

impl Bounded for ToClient {
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}
