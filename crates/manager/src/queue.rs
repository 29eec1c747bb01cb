//! The requests that wait, in the order in which they are served: by level of precedence, first come
//! first served within a level. A level's advantage is a head start in time, so that it is
//! forgotten with age.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{ConnectionId, Millis, ProcessId};

/// What one level is worth, in milliseconds of waiting.
const LEVEL_MS: u64 = 200;

/// What being held back costs, in milliseconds of waiting: more than any request waits.
const HELD_BACK_MS: u64 = 1 << 32;

/// How urgent a request is: within the client's reservation, within its floor, other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Reservation = 0,
    Floor = 1,
    Other = 2,
}

/// For how long a request waits for answers to polls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollsAwaited {
    /// For all of them: until then.
    pub(crate) until: Millis,
    /// From then on it is tried, once, whether those that came will do.
    pub(crate) early: Option<Millis>,
}

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) process: ProcessId,
    pub(crate) connection: ConnectionId,
    /// The client's number of it.
    pub(crate) request: u32,
    pub(crate) bytes: u64,
    pub(crate) arrived: Millis,
    pub(crate) level: Level,
    /// What its cgroup had left when it came.
    pub(crate) cgroup_room: u64,
    /// What is planned to come from the client's own offered memory.
    pub(crate) own: u64,
    /// Its client has held others up lately: it waits behind them.
    pub(crate) held_back: bool,
    /// Since nothing is to be had now, it waits for others to offer.
    pub(crate) patient: bool,
    /// When it is to be looked at again, if nothing happens before.
    pub(crate) look_at: Option<Millis>,
    /// It waits for answers to polls.
    pub(crate) polls: Option<PollsAwaited>,
}

impl Request {
    fn key(&self, seq: u64) -> (u64, u64) {
        let head_start = LEVEL_MS * self.level as u64;
        let back = if self.held_back { HELD_BACK_MS } else { 0 };
        (self.arrived.0.saturating_add(head_start + back), seq)
    }
}

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By when they came.
    rows: BTreeMap<u64, Request>,
    order: BTreeSet<(u64, u64)>,
    by_process: BTreeSet<(ProcessId, u64)>,
    newest: u64,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn push(&mut self, request: Request) -> u64 {
        self.newest += 1;
        self.order.insert(request.key(self.newest));
        self.by_process.insert((request.process, self.newest));
        self.rows.insert(self.newest, request);
        self.newest
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Request> {
        let request = self.rows.remove(&seq)?;
        self.order.remove(&request.key(seq));
        self.by_process.remove(&(request.process, seq));
        Some(request)
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Request> {
        self.rows.get(&seq)
    }

    /// Puts a request behind all others, also those that are still to come.
    pub(crate) fn hold_back(&mut self, seq: u64) {
        if let Some(request) = self.rows.get_mut(&seq) {
            self.order.remove(&request.key(seq));
            request.held_back = true;
            self.order.insert(request.key(seq));
        }
    }

    /// A request, to change what is not its place.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Request> {
        self.rows.get_mut(&seq)
    }

    /// The one that is served first.
    pub(crate) fn head(&self) -> Option<u64> {
        self.order.first().map(|(_, seq)| *seq)
    }

    /// The next `most` behind the head.
    pub(crate) fn behind(&self, most: usize) -> Vec<u64> {
        let behind = self.order.iter().skip(1).take(most);
        behind.map(|(_, seq)| *seq).collect()
    }

    /// The one that has waited longest.
    pub(crate) fn oldest(&self) -> Option<(u64, &Request)> {
        self.rows.first_key_value().map(|(seq, row)| (*seq, row))
    }

    /// Those of a process.
    pub(crate) fn of(&self, process: ProcessId) -> Vec<u64> {
        let own = self.by_process.range((process, 0)..=(process, u64::MAX));
        own.map(|(_, seq)| *seq).collect()
    }
}
