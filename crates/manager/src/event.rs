//! What comes in and what goes out.

use vidmm_wire::{Join, OperatorRequest, Reception, ToClient, ToManager, ToOperator};

use crate::settings::{Settings, Terms};

/// A connection, as its host numbers it; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A point in time: milliseconds of a clock that never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// A process, for as long as it lives: its number as the manager sees it, and when it started (in
/// the kernel's clock ticks since boot), since numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// The number.
    pub pid: u32,
    /// When it started.
    pub started_ticks: u64,
}

/// Who a client is, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The process.
    pub process: ProcessId,
    /// Its user.
    pub uid: u32,
    /// Its name, at most 64 bytes, nothing that moves a terminal's cursor.
    pub name: String,
}

/// What an operator may see and do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Sees all clients; otherwise only those of [`Rights::uid`].
    pub sees_all: bool,
    /// May trim, change the budget and stop the manager.
    pub commands: bool,
    /// The operator's user.
    pub uid: u32,
}

/// An entry of the ledger of the manager before this one: a process that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledgered {
    /// Who it is.
    pub who: Identity,
    /// What it was counted at, in bytes.
    pub charged_bytes: u64,
    /// On what terms.
    pub terms: Terms,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// At the start, before anything else: a process that the last manager granted something.
    Restored(Ledgered),
    /// A process wants to join.
    Joins {
        /// Through which connection.
        connection: ConnectionId,
        /// Who.
        who: Identity,
        /// On what terms.
        terms: Terms,
        /// What it says.
        join: Join,
        /// What the kernel counts for the process, resident and swapped, in bytes; `None`: it does
        /// not tell.
        resident_bytes: Option<u64>,
    },
    /// A client says something.
    Said {
        /// Which.
        connection: ConnectionId,
        /// What.
        message: ToManager,
        /// What its cgroup has left, in bytes, if that is limited (read for requests only).
        cgroup_room_bytes: Option<u64>,
    },
    /// A connection is gone, by itself, by an error or by [`Action::Close`]. The process may live.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A process is dead.
    Died {
        /// Which.
        process: ProcessId,
    },
    /// An operator asks.
    Asks {
        /// Through which connection.
        connection: ConnectionId,
        /// What it may.
        rights: Rights,
        /// What for.
        request: OperatorRequest,
    },
    /// The ledger did not take the last [`Action::Grant`] or [`Action::Welcome`] of this process:
    /// its message was not sent, and the charge is what it was before. To be said before any other
    /// event.
    Unrecorded {
        /// Which.
        process: ProcessId,
        /// What the ledger still says, in bytes.
        charged_bytes: u64,
    },
    /// The machine is short.
    Pressed {
        /// So many bytes should be given back.
        bytes: u64,
        /// Why, by its place in [`vidmm_wire::REASONS`].
        reason: u8,
        /// The share of time stalled over ten seconds, in hundredths of a percent, if known.
        psi_some_avg10: Option<u32>,
    },
    /// What the kernel counts for a process.
    Audited {
        /// Which.
        process: ProcessId,
        /// Resident and swapped, in bytes.
        resident_bytes: u64,
    },
    /// The configuration was read anew. (The budget that an operator set stays, if the
    /// configuration's has not changed.)
    Reconfigured {
        /// What holds for all.
        settings: Settings,
    },
    /// What holds for one client has changed.
    NewTerms {
        /// Which.
        process: ProcessId,
        /// From now on.
        terms: Terms,
    },
    /// The manager's deadline has come.
    Tick,
}

/// Something is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Write to the ledger that `process` is counted at `charged_bytes`, then send. If the ledger
    /// does not take it, do not send; say [`Event::Unrecorded`].
    Grant {
        /// Whose.
        process: ProcessId,
        /// So many bytes.
        charged_bytes: u64,
        /// Through which connection.
        connection: ConnectionId,
        /// What is said: a credit.
        message: ToClient,
    },
    /// As [`Action::Grant`], of a process that joins. If the ledger does not take it, the answer
    /// to [`Event::Unrecorded`] is an [`Action::Refuse`] of the same connection.
    Welcome {
        /// Whose.
        process: ProcessId,
        /// So many bytes.
        charged_bytes: u64,
        /// Through which connection.
        connection: ConnectionId,
        /// What is said.
        reception: Reception,
    },
    /// Write to the ledger that `process` is counted at less. If that fails the entry stays too
    /// high, which is safe.
    Lower {
        /// Whose.
        process: ProcessId,
        /// So many bytes.
        charged_bytes: u64,
    },
    /// Take a process that is dead out of the ledger, and watch it no more.
    Forget {
        /// Which.
        process: ProcessId,
    },
    /// Send.
    Send {
        /// Through which connection.
        connection: ConnectionId,
        /// What.
        message: ToClient,
    },
    /// Send the first packet of a connection that ends with it.
    Refuse {
        /// Which.
        connection: ConnectionId,
        /// What is said.
        reception: Reception,
    },
    /// Send to an operator.
    Tell {
        /// Through which connection.
        connection: ConnectionId,
        /// What.
        message: Box<ToOperator>,
    },
    /// End a connection.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// An operator wants the manager to end.
    Stop,
    /// Something for the log.
    Log(LogLine),
}

/// How grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody should look.
    Warning,
    /// Worth knowing.
    Info,
    /// For whoever looks closely.
    Debug,
}

/// Something for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How grave.
    pub severity: Severity,
    /// The process that it is about.
    pub process: Option<ProcessId>,
    /// What, in words.
    pub text: String,
}
