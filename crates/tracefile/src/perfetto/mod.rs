//! A trace of events for Perfetto (<https://ui.perfetto.dev>): a track for each process and for each of
//! its threads, the events as instants on them, and for each process how much of its memory is offered
//! and how much was discarded. The numbers of fields are those of Perfetto's public definitions
//! (`trace_packet.proto` and what it names), which never change their meaning.

mod counters;
mod proto;

use std::collections::HashMap;
use std::io::Write;

use vidmm_trace::Kind;

use self::counters::Counters;
use self::proto::Message;
use crate::about::About;
use crate::draft::Draft;
use crate::error::TraceError;
use crate::merge::Recorded;

/// `Trace.packet`.
const PACKET: u32 = 1;

mod packet {
    pub(super) const CLOCK_SNAPSHOT: u32 = 6;
    pub(super) const TIMESTAMP: u32 = 8;
    pub(super) const SEQUENCE_ID: u32 = 10;
    pub(super) const TRACK_EVENT: u32 = 11;
    pub(super) const INTERNED_DATA: u32 = 12;
    pub(super) const SEQUENCE_FLAGS: u32 = 13;
    pub(super) const TIMESTAMP_CLOCK_ID: u32 = 58;
    pub(super) const TRACK_DESCRIPTOR: u32 = 60;
}

mod snapshot {
    pub(super) const CLOCKS: u32 = 1;
    pub(super) const PRIMARY: u32 = 2;
    pub(super) const CLOCK_ID: u32 = 1;
    pub(super) const TIMESTAMP: u32 = 2;
    /// Numbers of clocks.
    pub(super) const REALTIME: u64 = 1;
    pub(super) const MONOTONIC: u64 = 3;
}

mod interned {
    pub(super) const EVENT_NAMES: u32 = 2;
    pub(super) const ANNOTATION_NAMES: u32 = 3;
    pub(super) const IID: u32 = 1;
    pub(super) const NAME: u32 = 2;
}

mod track {
    pub(super) const UUID: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const PROCESS: u32 = 3;
    pub(super) const THREAD: u32 = 4;
    pub(super) const PARENT_UUID: u32 = 5;
    pub(super) const COUNTER: u32 = 8;
    pub(super) const PROCESS_PID: u32 = 1;
    pub(super) const PROCESS_NAME: u32 = 6;
    pub(super) const THREAD_PID: u32 = 1;
    pub(super) const THREAD_TID: u32 = 2;
    pub(super) const THREAD_NAME: u32 = 5;
    pub(super) const COUNTER_UNIT: u32 = 3;
    pub(super) const UNIT_BYTES: u64 = 3;
}

mod event {
    pub(super) const ANNOTATIONS: u32 = 4;
    pub(super) const TYPE: u32 = 9;
    pub(super) const NAME_IID: u32 = 10;
    pub(super) const TRACK_UUID: u32 = 11;
    pub(super) const COUNTER_VALUE: u32 = 30;
    pub(super) const INSTANT: u64 = 3;
    pub(super) const COUNTER: u64 = 4;
    pub(super) const ANNOTATION_NAME_IID: u32 = 1;
    pub(super) const ANNOTATION_UINT: u32 = 3;
    pub(super) const ANNOTATION_TEXT: u32 = 6;
}

/// All packets are one sequence, whose first one says what the short names of the others mean.
const SEQUENCE: u64 = 1;
const STATE_CLEARED: u64 = 1;
const NEEDS_STATE: u64 = 2;

/// What is noted at an event, by the numbers of the names.
const ANNOTATIONS: [&str; 5] = ["allocation", "handle", "size_bytes", "class", "cost_ns"];

/// No trace has nearly as many tracks; of what has, the further threads share their process's and the
/// further processes the trace's own.
const TRACKS_MAX: usize = 1 << 18;
/// The trace's own track.
const NO_TRACK: u64 = 0;

/// Writes events.
pub(crate) struct PerfettoWriter {
    draft: Draft,
    /// Names of programs by process.
    names: HashMap<u32, String>,
    processes: HashMap<u32, Tracks>,
    /// By process, pool, thread.
    threads: HashMap<(u32, u32, u32), u64>,
    counters: Counters,
    next_uuid: u64,
    packet: Message,
    /// What is written at once.
    out: Message,
}

/// The tracks of a process.
#[derive(Debug, Clone, Copy)]
struct Tracks {
    process: u64,
    offered: u64,
    discarded: u64,
}

impl PerfettoWriter {
    pub(crate) fn begin(draft: Draft, about: &About) -> Result<Self, TraceError> {
        let mut names = HashMap::new();
        for process in &about.processes {
            names.insert(process.pid, process.command.clone());
        }
        let mut writer = PerfettoWriter {
            draft,
            names,
            processes: HashMap::new(),
            threads: HashMap::new(),
            counters: Counters::default(),
            next_uuid: NO_TRACK + 1,
            packet: Message::default(),
            out: Message::default(),
        };
        writer.head(about)?;
        Ok(writer)
    }

    /// The clock of all times, and the names.
    fn head(&mut self, about: &About) -> Result<(), TraceError> {
        let starts = about.processes.iter().map(|process| process.start_ns);
        let now_ns = starts.min().unwrap_or(0);
        self.packet
            .message(packet::CLOCK_SNAPSHOT, |snapshot| {
                let mut clock = |id, time_ns: u64| {
                    snapshot.message(snapshot::CLOCKS, |clock| {
                        clock
                            .number(snapshot::CLOCK_ID, id)
                            .number(snapshot::TIMESTAMP, time_ns);
                    });
                };
                clock(snapshot::MONOTONIC, now_ns);
                // What other programs made may not say.
                if about.to_real_ns > 0 {
                    let real_ns = now_ns.saturating_add(about.to_real_ns);
                    clock(snapshot::REALTIME, real_ns);
                }
                snapshot.number(snapshot::PRIMARY, snapshot::MONOTONIC);
            })
            .number(packet::SEQUENCE_ID, SEQUENCE);
        self.end_packet()?;
        self.packet
            .number(packet::SEQUENCE_ID, SEQUENCE)
            .number(packet::SEQUENCE_FLAGS, STATE_CLEARED)
            .message(packet::INTERNED_DATA, |data| {
                let mut name = |field, iid: u64, name: &str| {
                    data.message(field, |entry| {
                        entry.number(interned::IID, iid).text(interned::NAME, name);
                    });
                };
                for kind in Kind::ALL {
                    name(interned::EVENT_NAMES, kind as u64, kind.name());
                }
                for (iid, text) in (1..).zip(ANNOTATIONS) {
                    name(interned::ANNOTATION_NAMES, iid, text);
                }
            });
        self.end_packet()
    }

    /// Writes the packet.
    fn end_packet(&mut self) -> Result<(), TraceError> {
        self.out.clear();
        self.out.bytes(PACKET, self.packet.as_bytes());
        self.packet.clear();
        let written = self.draft.write_all(self.out.as_bytes());
        written.map_err(|error| self.draft.on_write(&error))
    }

    /// Begins a packet that happened at this time.
    fn at(&mut self, time_ns: u64) -> &mut Message {
        self.packet
            .number(packet::TIMESTAMP, time_ns)
            .number(packet::TIMESTAMP_CLOCK_ID, snapshot::MONOTONIC)
            .number(packet::SEQUENCE_ID, SEQUENCE)
            .number(packet::SEQUENCE_FLAGS, NEEDS_STATE)
    }

    fn describe(&mut self, fill: impl FnOnce(&mut Message, u64)) -> Result<u64, TraceError> {
        let uuid = self.next_uuid;
        self.next_uuid += 1;
        self.packet
            .message(packet::TRACK_DESCRIPTOR, |descriptor| {
                descriptor.number(track::UUID, uuid);
                fill(descriptor, uuid);
            })
            .number(packet::SEQUENCE_ID, SEQUENCE);
        self.end_packet()?;
        Ok(uuid)
    }

    fn has_room(&self) -> bool {
        self.processes.len() + self.threads.len() < TRACKS_MAX
    }

    fn process(&mut self, pid: u32) -> Result<Option<Tracks>, TraceError> {
        if let Some(tracks) = self.processes.get(&pid) {
            return Ok(Some(*tracks));
        }
        if !self.has_room() {
            return Ok(None);
        }
        let name = match self.names.get(&pid) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("process {pid}"),
        };
        let process = self.describe(|descriptor, _| {
            descriptor.message(track::PROCESS, |process| {
                process
                    .number(track::PROCESS_PID, u64::from(pid))
                    .text(track::PROCESS_NAME, &name);
            });
        })?;
        let counter = |name: &'static str| {
            move |descriptor: &mut Message, _| {
                descriptor
                    .number(track::PARENT_UUID, process)
                    .text(track::NAME, name)
                    .message(track::COUNTER, |counter| {
                        counter.number(track::COUNTER_UNIT, track::UNIT_BYTES);
                    });
            }
        };
        let tracks = Tracks {
            process,
            offered: self.describe(counter("offered"))?,
            discarded: self.describe(counter("discarded"))?,
        };
        self.processes.insert(pid, tracks);
        Ok(Some(tracks))
    }

    fn thread(&mut self, row: &Recorded, process: u64) -> Result<u64, TraceError> {
        let key = (row.pid, row.pool, row.thread);
        if let Some(uuid) = self.threads.get(&key) {
            return Ok(*uuid);
        }
        if !self.has_room() {
            return Ok(process);
        }
        let (name, tid) = match row.pool {
            0 => (format!("thread {}", row.thread), u64::from(row.thread)),
            // Pools number their threads on their own, and each of them has far fewer than this.
            pool => (
                format!("thread {} of pool {pool}", row.thread),
                u64::from(pool) * 1_000_000 + u64::from(row.thread),
            ),
        };
        let pid = u64::from(row.pid);
        let uuid = self.describe(|descriptor, _| {
            descriptor
                .number(track::PARENT_UUID, process)
                .message(track::THREAD, |thread| {
                    thread
                        .number(track::THREAD_PID, pid)
                        .number(track::THREAD_TID, tid & 0x7fff_ffff)
                        .text(track::THREAD_NAME, &name);
                });
        })?;
        self.threads.insert(key, uuid);
        Ok(uuid)
    }

    pub(crate) fn push(&mut self, row: &Recorded) -> Result<(), TraceError> {
        let tracks = self.process(row.pid)?;
        let on = match tracks {
            Some(tracks) => self.thread(row, tracks.process)?,
            None => NO_TRACK,
        };
        let Recorded { event, id, .. } = *row;
        self.at(event.time_ns)
            .message(packet::TRACK_EVENT, |message| {
                message
                    .number(event::TYPE, event::INSTANT)
                    .number(event::TRACK_UUID, on)
                    .number(event::NAME_IID, event.kind as u64);
                let mut note = |iid: u64, field, number: u64| {
                    message.message(event::ANNOTATIONS, |annotation| {
                        annotation
                            .number(event::ANNOTATION_NAME_IID, iid)
                            .number(field, number);
                    });
                };
                note(1, event::ANNOTATION_UINT, id);
                note(2, event::ANNOTATION_UINT, u64::from(event.allocation));
                note(3, event::ANNOTATION_UINT, event.size_bytes);
                if event.cost_ns > 0.0 {
                    // Fractions of a nanosecond mean nothing; what is too much saturates.
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    note(5, event::ANNOTATION_UINT, event.cost_ns as u64);
                }
                message.message(event::ANNOTATIONS, |annotation| {
                    annotation
                        .number(event::ANNOTATION_NAME_IID, 4)
                        .text(event::ANNOTATION_TEXT, event.class.name());
                });
            });
        self.end_packet()?;
        let changed = self.counters.take(row);
        if let (Some(tracks), Some(sums)) = (tracks, changed) {
            self.count(event.time_ns, tracks.offered, sums.offered_bytes)?;
            if event.kind == Kind::Discard {
                self.count(event.time_ns, tracks.discarded, sums.discarded_bytes)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, time_ns: u64, track: u64, bytes: u64) -> Result<(), TraceError> {
        self.at(time_ns).message(packet::TRACK_EVENT, |message| {
            message
                .number(event::TYPE, event::COUNTER)
                .number(event::TRACK_UUID, track)
                .number(event::COUNTER_VALUE, bytes.min(i64::MAX as u64));
        });
        self.end_packet()
    }

    pub(crate) fn finish(self) -> Draft {
        self.draft
    }
}
