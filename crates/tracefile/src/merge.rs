//! The events of many spools in the order of time.
//!
//! Each frame is a run that is in order. Frames are taken up when their first event is due and
//! dropped with their last, and each is read in pieces, so that memory is bounded by how many
//! threads recorded at the same time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use vidmm_trace::{Event, Kind};

use crate::error::TraceError;
use crate::spool::Spool;

/// So many events of a run are in memory.
const PIECE_EVENTS: u32 = 256;

/// An event with all that says whose it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded {
    /// What happened.
    pub event: Event,
    /// In which process.
    pub pid: u32,
    /// In which of its pools, counted from 0.
    pub pool: u32,
    /// In which thread, counted from 1 in each pool in the order in which threads began to record.
    pub thread: u32,
    /// Which allocation it happened to: no other one of the trace has this number, whatever became of
    /// its handle.
    pub id: u64,
}

/// The events of several spools in the order of time. Events of different threads in the same
/// nanosecond come in any order that is the same each time.
pub fn merge<S: AsRef<[Spool]>>(spools: S) -> Merged<S> {
    let mut due: Vec<Due> = Vec::new();
    for (spool, runs) in spools.as_ref().iter().enumerate() {
        due.extend(runs.runs.iter().enumerate().map(|(run, about)| Due {
            time_ns: about.first_ns,
            spool,
            run,
        }));
    }
    due.sort_unstable_by_key(|due| Reverse(*due));
    Merged {
        spools,
        due,
        active: BinaryHeap::new(),
        pieces: HashMap::new(),
        ids: HashMap::new(),
        next_id: 0,
        failed: false,
    }
}

/// See [`merge`].
#[derive(Debug)]
pub struct Merged<S> {
    spools: S,
    /// Runs not taken up yet, the earliest last.
    due: Vec<Due>,
    /// Runs taken up, by the time of their next event.
    active: BinaryHeap<Reverse<Due>>,
    pieces: HashMap<(usize, usize), Piece>,
    /// Which allocation a handle of a spool names now.
    ids: HashMap<(usize, u32), u64>,
    next_id: u64,
    failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    time_ns: u64,
    spool: usize,
    run: usize,
}

/// A part of a run in memory.
#[derive(Debug, Default)]
struct Piece {
    events: Vec<Event>,
    /// Of `events`, those that are gone.
    gone: usize,
    /// Of the run, those that were read.
    read: u32,
}

impl<S: AsRef<[Spool]>> Merged<S> {
    fn take(&mut self) -> Result<Option<Recorded>, TraceError> {
        while let Some(&due) = self.due.last()
            && self.active.peek().is_none_or(|Reverse(next)| due <= *next)
        {
            self.due.pop();
            self.active.push(Reverse(due));
        }
        let Some(Reverse(due)) = self.active.pop() else {
            return Ok(None);
        };
        let spool = &self.spools.as_ref()[due.spool];
        let run = &spool.runs[due.run];
        let key = (due.spool, due.run);
        let piece = self.pieces.entry(key).or_default();
        let event = piece.next(spool, due.run)?;
        match piece.peek(spool, due.run)? {
            Some(next) => self.active.push(Reverse(Due {
                // What a thread recorded stays in its order.
                time_ns: next.time_ns.max(due.time_ns),
                ..due
            })),
            None => drop(self.pieces.remove(&key)),
        }
        let Some(event) = event else {
            return Ok(None);
        };
        let (header, thread) = (spool.header(), run.thread);
        let (pid, pool) = (header.pid, header.pool);
        Ok(Some(Recorded {
            event,
            pid,
            pool,
            thread,
            id: self.id(due.spool, &event),
        }))
    }

    /// The number of an allocation: new with its creation, or where it is first heard of.
    fn id(&mut self, spool: usize, event: &Event) -> u64 {
        let name = (spool, event.allocation);
        if event.kind == Kind::Create {
            self.ids.remove(&name);
        }
        let id = *self.ids.entry(name).or_insert_with(|| {
            self.next_id += 1;
            self.next_id - 1
        });
        if event.kind == Kind::Destroy {
            self.ids.remove(&name);
        }
        id
    }
}

impl Piece {
    fn peek(&mut self, spool: &Spool, run: usize) -> Result<Option<Event>, TraceError> {
        let run = &spool.runs[run];
        if self.gone == self.events.len() && self.read < run.count {
            self.events.clear();
            self.gone = 0;
            spool.read(run, self.read, &mut self.events, PIECE_EVENTS)?;
            self.read += (run.count - self.read).min(PIECE_EVENTS);
        }
        Ok(self.events.get(self.gone).copied())
    }

    fn next(&mut self, spool: &Spool, run: usize) -> Result<Option<Event>, TraceError> {
        let event = self.peek(spool, run)?;
        self.gone += 1;
        Ok(event)
    }
}

impl<S: AsRef<[Spool]>> Iterator for Merged<S> {
    type Item = Result<Recorded, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let taken = self.take();
        self.failed = taken.is_err();
        taken.transpose()
    }
}
