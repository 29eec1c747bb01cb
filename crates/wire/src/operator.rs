//! What operators ask (`vidmm top`, `stat`, `trim`, `budget`) and are told.

use serde::{Deserialize, Serialize};

use crate::codec::{Bounded, DecodeError, at_most};
use crate::figures::{Discard, Figures};
use crate::message::DISCARDS_PER_MESSAGE_MAX;

/// A request. The next one is sent when the replies to the one before have all come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorRequest {
    /// The state of everything: one [`ToOperator::Summary`], a [`ToOperator::Client`] each,
    /// [`ToOperator::Done`]. Figures of clients are at most 100 ms old.
    Stat,
    /// Orders and discards: [`ToOperator::Event`]s and [`ToOperator::Discards`], oldest first
    /// within each, [`ToOperator::Done`].
    Events {
        /// How many orders, and how many discards of each client, at most.
        newest: u32,
    },
    /// Give memory back: [`ToOperator::Done`] with what it came to.
    Trim {
        /// So many bytes.
        bytes: u64,
    },
    /// Change the budget: [`ToOperator::Done`] when every client that could has shrunk.
    SetBudget {
        /// So many bytes; never 0.
        bytes: u64,
    },
    /// Close the doors and end (what `SIGTERM` does): [`ToOperator::Done`].
    Stop,
}

/// A reply to an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToOperator {
    /// The whole.
    Summary(Summary),
    /// One client.
    Client(ClientRow),
    /// One order.
    Event(EventRow),
    /// Discards of one client.
    Discards(WhoseEvents),
    /// That was all.
    Done {
        /// What a trim gave back, or a lower budget brought, in bytes.
        bytes: u64,
        /// What is still missing of it, in bytes.
        missing_bytes: u64,
    },
    /// The request is refused.
    Failed(CommandFailed),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandFailed {
    /// Only the manager's own user and root may.
    NotAllowed,
    /// A budget of 0, or below the reservations, or above the machine's memory: why.
    BadBudget(String),
    /// A request of the same kind is under way.
    Busy,
}

/// The whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The budget, in bytes.
    pub budget_bytes: u64,
    /// All charges together, in bytes.
    pub charged_bytes: u64,
    /// What is kept for newcomers, in bytes.
    pub reserve_bytes: u64,
    /// What is reserved by configuration and by clients, in bytes.
    pub reserved_bytes: u64,
    /// How many clients have joined (of all users).
    pub clients: u32,
    /// How many of the clients counted are absent: alive, charged, not connected.
    pub absent: u32,
    /// How many have an order unanswered.
    pub unresponsive: u32,
    /// How many requests wait.
    pub waiting: u32,
    /// Requests so far that were granted.
    pub granted: u64,
    /// Requests so far that were refused.
    pub refused: u64,
    /// Orders so far.
    pub orders: u64,
    /// Bytes that orders brought so far.
    pub ordered_bytes: u64,
    /// Which life of the manager this is.
    pub incarnation: u64,
    /// For how long it has been running, in milliseconds.
    pub uptime_ms: u64,
    /// The manager's process.
    pub pid: u32,
    /// The share of time in which some task of the machine stalled for memory, over the last ten
    /// seconds, in hundredths of a percent; `None`: the kernel does not tell.
    pub psi_some_avg10: Option<u32>,
    /// How many clients are not shown, since they are other users'.
    pub hidden: u32,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRow {
    /// Its process, as the manager sees it.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// The process's name; at most 64 bytes, nothing that moves a terminal's cursor.
    pub name: String,
    /// What it is counted at, in bytes.
    pub charged_bytes: u64,
    /// What it may use, in bytes.
    pub budget_bytes: u64,
    /// Its fair share, in bytes.
    pub share_bytes: u64,
    /// What is reserved for it, in bytes.
    pub reservation_bytes: u64,
    /// Its weight, in hundredths.
    pub weight_hundredths: u32,
    /// Connected.
    pub joined: bool,
    /// Answers in time.
    pub responsive: bool,
    /// What it holds as the kernel counts its whole resident memory, in bytes; `None`: not known.
    pub resident_bytes: Option<u64>,
    /// It was found with more than it was granted, by the audit.
    pub exceeds: bool,
    /// How old its figures are, in milliseconds.
    pub age_ms: u32,
    /// Its figures, as it told them.
    pub figures: Figures,
}

/// One order, with what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// The order's number.
    pub order: u32,
    /// When, in milliseconds of the realtime clock since 1970.
    pub at_ms: u64,
    /// Whom it was sent to.
    pub pid: u32,
    /// For whom; 0 is nobody in particular.
    pub beneficiary_pid: u32,
    /// Why.
    pub why: crate::message::WhyOrdered,
    /// So many bytes were wanted.
    pub bytes: u64,
    /// What might be discarded: LOW, NORMAL, HIGH.
    pub thresholds: [crate::message::Threshold; 3],
    /// What came back, in bytes; `None`: no answer yet.
    pub returned_bytes: Option<u64>,
    /// Of it, what was discarded: LOW, NORMAL, HIGH, in bytes.
    pub discarded_bytes: [u64; 3],
}

/// Discards of one client, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoseEvents {
    /// The client's process.
    pub pid: u32,
    /// What it told.
    pub discards: Vec<Discard>,
}

impl Bounded for OperatorRequest {
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Bounded for ToOperator {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            ToOperator::Discards(whose) => {
                at_most("discards", whose.discards.len(), DISCARDS_PER_MESSAGE_MAX)
            }
            _ => Ok(()),
        }
    }
}
