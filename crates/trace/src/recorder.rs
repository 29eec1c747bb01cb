//! The recorder: a ring for each thread, one drainer, one spool.

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::event::{Event, now_ns};
use crate::ring::{Places, Pushed, Ring, places};
use crate::writer::{StartError, StopReason, TraceOptions, Writer, create, own_pid};

/// How many threads can record at once; what others do is counted as lost. It bounds the rings'
/// memory: 256 MiB.
const THREADS_MAX: usize = 1024;

/// So many rings of threads that are gone are kept for new ones.
const SPARE_MAX: usize = 16;

/// Events wait in a ring for at most about this long.
const PERIOD: Duration = Duration::from_millis(100);

/// Writes the events of one pool down. See the crate's first page.
#[derive(Debug)]
pub struct Recorder {
    /// Unlike any other recorder's that this process, or one it was forked from, ever had.
    number: u64,
    /// Whose file it is.
    pid: u32,
    file: File,
    path: PathBuf,
    rings: Mutex<Rings>,
    /// Held by whoever drains.
    writer: Mutex<Writer>,
    /// Why nothing is recorded any more, as [`StopReason::code`]; 0 while it is. A plain word: in a
    /// child made by `fork` nothing may wait for what another thread had begun.
    stopped: AtomicU64,
    /// Events that no ring could take.
    homeless: AtomicU64,
    /// Of threads that are gone.
    lost_before: AtomicU64,
    drainer: OnceLock<Thread>,
    /// Half a ring was filled since somebody drained.
    is_due: AtomicBool,
    drained_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct Rings {
    active: Vec<Arc<Ring>>,
    spare: Vec<Places>,
    threads: u32,
}

/// What a recorder has done so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The spool.
    pub path: PathBuf,
    /// Events in it.
    pub recorded: u64,
    /// Events that happened and will never be in it.
    pub lost: u64,
    /// Why it has stopped, if it has.
    pub stopped: Option<StopReason>,
}

/// A thread's end of a ring.
struct Producer {
    recorder: u64,
    ring: Arc<Ring>,
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.ring.close();
    }
}

thread_local! {
    /// Usually one: a process has one pool.
    static PRODUCERS: RefCell<Vec<Producer>> = const { RefCell::new(Vec::new()) };
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Makes the spool. Nothing is written into it until somebody drains: [`Recorder::serve`] on a
    /// thread of its own, or [`Recorder::drain_if_due`] now and then.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn start(options: &TraceOptions) -> Result<Arc<Self>, StartError> {
        let (file, writer) = create(options).map_err(|error| StartError {
            directory: options.directory.clone(),
            error,
        })?;
        Ok(Arc::new(Recorder {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            pid: own_pid(),
            file,
            path: writer.path().to_owned(),
            rings: Mutex::default(),
            writer: Mutex::new(writer),
            stopped: AtomicU64::new(0),
            homeless: AtomicU64::new(0),
            lost_before: AtomicU64::new(0),
            drainer: OnceLock::new(),
            is_due: AtomicBool::new(false),
            drained_ns: AtomicU64::new(now_ns()),
        }))
    }

    /// Whether nothing is recorded any more, and why.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        StopReason::from_code(self.stopped.load(Ordering::Acquire))
    }

    /// The spool.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts an event down, or counts it as lost. Takes no lock but at a thread's first event.
    pub fn record(&self, event: Event) {
        let pushed = PRODUCERS.try_with(|producers| {
            // Borrowed: a signal handler interrupted this very function.
            let mut producers = producers.try_borrow_mut().ok()?;
            let ring = match producers.iter().find(|p| p.recorder == self.number) {
                Some(producer) => &producer.ring,
                None => self.begin(&mut producers)?,
            };
            Some(ring.push(event.to_words()))
        });
        match pushed {
            Ok(Some(Pushed::In | Pushed::Lost)) => {}
            Ok(Some(Pushed::Half)) => self.want_drain(),
            // No place for it, or a thread on its way out.
            Ok(None) | Err(_) => {
                self.homeless.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A ring for this thread.
    #[cold]
    fn begin<'p>(&self, producers: &'p mut Vec<Producer>) -> Option<&'p Arc<Ring>> {
        // Those of recorders that are gone: nobody else has their rings.
        producers.retain(|producer| Arc::strong_count(&producer.ring) > 1);
        let mut rings = lock(&self.rings);
        if self.stopped().is_some() || rings.active.len() >= THREADS_MAX {
            return None;
        }
        rings.threads = rings.threads.checked_add(1)?;
        let places = rings.spare.pop().unwrap_or_else(places);
        let ring = Arc::new(Ring::new(rings.threads, places));
        rings.active.push(Arc::clone(&ring));
        producers.push(Producer {
            recorder: self.number,
            ring,
        });
        producers.last().map(|producer| &producer.ring)
    }

    fn want_drain(&self) {
        match self.drainer.get() {
            Some(drainer) => drainer.unpark(),
            None => self.is_due.store(true, Ordering::Relaxed),
        }
    }

    /// The life of the drainer's thread: drains until the recorder stops.
    pub fn serve(&self) {
        let _ = self.drainer.set(std::thread::current());
        while self.stopped().is_none() {
            std::thread::park_timeout(PERIOD);
            self.drain();
        }
    }

    /// For programs without a drainer's thread: drains if a ring is filling up, or the last time is
    /// long ago. Waits for nobody.
    pub fn drain_if_due(&self) {
        let since = now_ns().saturating_sub(self.drained_ns.load(Ordering::Relaxed));
        let is_late = u128::from(since) > PERIOD.as_nanos();
        if is_late || self.is_due.swap(false, Ordering::Relaxed) {
            self.drain();
        }
    }

    /// Takes everything out of the rings and writes it.
    pub fn drain(&self) {
        let mut writer = lock(&self.writer);
        if self.stopped().is_some() {
            return;
        }
        self.drained_ns.store(now_ns(), Ordering::Relaxed);
        if let Err(reason) = self.drain_into(&mut writer) {
            self.stop(&mut writer, reason);
        }
    }

    fn drain_into(&self, writer: &mut Writer) -> Result<(), StopReason> {
        // Copied, so that a thread that begins does not wait for the disk.
        let active = lock(&self.rings).active.clone();
        for ring in active {
            let was_closed = ring.is_closed();
            writer.take(&self.file, &ring)?;
            if was_closed {
                // All that came before it was closed is out.
                self.retire(writer, ring);
            }
        }
        writer.flush(&mut &self.file)
    }

    /// The ring of a thread that is gone, empty.
    fn retire(&self, writer: &mut Writer, ring: Arc<Ring>) {
        if ring.lost() > 0 {
            writer.note_lost(ring.thread(), ring.taken(), ring.lost());
        }
        let mut rings = lock(&self.rings);
        rings.active.retain(|other| !Arc::ptr_eq(other, &ring));
        self.lost_before.fetch_add(ring.lost(), Ordering::Relaxed);
        if rings.spare.len() < SPARE_MAX
            && let Ok(ring) = Arc::try_unwrap(ring)
        {
            rings.spare.push(ring.into_places());
        }
    }

    /// Ends the recording: what is in the rings is written, and the file says that it is whole.
    /// What happens from here on is not recorded.
    pub fn finish(&self) {
        // In a child that nobody told: made while its pool was.
        if self.stopped().is_some() || own_pid() != self.pid {
            return;
        }
        let mut writer = lock(&self.writer);
        if self.stopped().is_some() {
            return;
        }
        let drained = self.drain_into(&mut writer).and_then(|()| {
            for ring in &lock(&self.rings).active {
                if ring.lost() > 0 {
                    writer.note_lost(ring.thread(), ring.taken(), ring.lost());
                }
            }
            let homeless = self.homeless.load(Ordering::Relaxed);
            if homeless > 0 {
                writer.note_lost(0, 0, homeless);
            }
            writer.flush(&mut &self.file)
        });
        self.stop(&mut writer, drained.err().unwrap_or(StopReason::Ended));
    }

    fn stop(&self, writer: &mut Writer, reason: StopReason) {
        if !self.set_stopped(reason) {
            return;
        }
        let lost = self.lost(writer) + self.waiting();
        writer.end(&self.file, reason, lost);
        if let Some(drainer) = self.drainer.get() {
            drainer.unpark();
        }
    }

    /// Says whether this was the first reason.
    fn set_stopped(&self, reason: StopReason) -> bool {
        let order = Ordering::AcqRel;
        self.stopped
            .compare_exchange(0, reason.code(), order, Ordering::Relaxed)
            .is_ok()
    }

    /// In a child made by `fork`: the file is the parent's, and whoever held a lock is not here. No
    /// lock is taken, now or later.
    pub fn abandon(&self) {
        self.set_stopped(StopReason::Forked);
    }

    fn lost(&self, writer: &Writer) -> u64 {
        let active: u64 = lock(&self.rings)
            .active
            .iter()
            .map(|ring| ring.lost())
            .sum();
        active
            + writer.dropped()
            + self.lost_before.load(Ordering::Relaxed)
            + self.homeless.load(Ordering::Relaxed)
    }

    /// Events that are in rings.
    fn waiting(&self) -> u64 {
        let active = &lock(&self.rings).active;
        active.iter().map(|ring| ring.available() as u64).sum()
    }

    /// What was recorded and lost so far. (In a child made by `fork`, nothing is known of it.)
    #[must_use]
    pub fn recording(&self) -> Recording {
        let stopped = self.stopped();
        let (recorded, lost) = match stopped {
            Some(StopReason::Forked) => (0, 0),
            _ => {
                let writer = lock(&self.writer);
                // What is in a ring when it is over stays there.
                let left = stopped.map_or(0, |_| self.waiting());
                (writer.recorded(), self.lost(&writer) + left)
            }
        };
        Recording {
            path: self.path.clone(),
            recorded,
            lost,
            stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, Kind};
    use crate::ring::RING_EVENTS;
    use crate::spool::{End, HEADER_BYTES, Header};

    fn event(n: usize) -> Event {
        Event {
            time_ns: n as u64,
            kind: Kind::Offer,
            class: Class::Normal,
            allocation: 1,
            size_bytes: 4096,
            cost_ns: 0.0,
        }
    }

    fn status_of(path: &Path) -> crate::spool::Status {
        let bytes = std::fs::read(path).unwrap();
        let header = bytes.first_chunk::<HEADER_BYTES>().unwrap();
        Header::from_bytes(header).unwrap().1.unwrap()
    }

    #[test]
    fn a_full_disk_stops_it_and_all_that_happened_is_accounted_for() {
        let directory = tempfile::tempdir().unwrap();
        let options = TraceOptions::in_directory(directory.path());
        let recorder = Recorder::start(&options).unwrap();
        for n in 0..10 {
            recorder.record(event(n));
        }
        recorder.drain();
        let mut recorder = Arc::into_inner(recorder).unwrap();
        // The kernel's disk that is always full.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let spool = std::mem::replace(&mut recorder.file, full);
        for n in 0..RING_EVENTS + 5 {
            recorder.record(event(n));
        }
        recorder.drain();
        let recording = recorder.recording();
        let no_space = rustix::io::Errno::NOSPC.raw_os_error();
        assert_eq!(recording.stopped, Some(StopReason::Failed(no_space)));
        assert_eq!(recording.recorded, 10);
        assert_eq!(recording.lost, RING_EVENTS as u64 + 5);
        recorder.record(event(0));
        assert_eq!(recorder.recording().lost, RING_EVENTS as u64 + 6);
        drop(spool);
    }

    #[test]
    fn a_file_that_is_large_enough_stops_it_and_says_so_itself() {
        let directory = tempfile::tempdir().unwrap();
        let options = TraceOptions {
            max_bytes: 1000,
            ..TraceOptions::in_directory(directory.path())
        };
        let recorder = Recorder::start(&options).unwrap();
        for n in 0..20 {
            recorder.record(event(n));
        }
        recorder.drain();
        for n in 0..20 {
            recorder.record(event(n));
        }
        recorder.drain();
        recorder.finish();
        let status = status_of(recorder.path());
        assert_eq!(status.end, End::Full);
        assert_eq!((status.recorded, status.lost), (20, 20));
        let bytes = std::fs::metadata(recorder.path()).unwrap().len();
        assert!(bytes <= 1000);
    }

    #[test]
    fn threads_that_are_gone_leave_all_they_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let options = TraceOptions::in_directory(directory.path());
        let recorder = Recorder::start(&options).unwrap();
        for round in 0..3 {
            for count in 0..7 {
                std::thread::scope(|scope| {
                    let thread = scope.spawn(|| (0..count).for_each(|n| recorder.record(event(n))));
                    // The scope's own end does not wait for the thread's destructors, which close
                    // its ring.
                    thread.join().unwrap();
                });
            }
            if round == 1 {
                recorder.drain();
            }
        }
        recorder.finish();
        assert!(lock(&recorder.rings).active.is_empty());
        let status = status_of(recorder.path());
        assert_eq!(status.end, End::Regular);
        assert_eq!((status.recorded, status.lost), (3 * 21, 0));
        let other = Recorder::start(&options).unwrap();
        assert_ne!(other.path(), recorder.path(), "a file of its own");
    }
}
