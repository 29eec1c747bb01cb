//! Looks at the command's manager while the command runs, as any operator would.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vidmm_wire::{ClientRow, Figures, Summary};

use crate::operator::{Link, OperatorError, Place, Snapshot};
use crate::output::Failure;

/// The time from one look to the next at first, so that short commands are seen.
const INTERVAL_SHORT: Duration = Duration::from_millis(50);
/// For how long that is.
const SHORT_FOR: Duration = Duration::from_secs(2);
/// The time from one look to the next later on.
const INTERVAL: Duration = Duration::from_millis(250);
/// More processes than these are not told apart; no report has a use for more.
const PROCESSES_MAX: usize = 10_000;

/// A process as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) peak_charged_bytes: u64,
    /// As it told them last.
    pub(crate) figures: Figures,
}

/// What was seen of the whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) peak_charged_bytes: u64,
    /// As of the last look.
    pub(crate) summary: Summary,
    /// In the order in which they appeared.
    pub(crate) processes: Vec<Process>,
    pub(crate) samples: u64,
    /// The longest time from one look to the next.
    pub(crate) interval_max: Duration,
    /// Where the process of that number is in the list now.
    pub(crate) places: BTreeMap<u32, usize>,
    /// Why the looking ended early.
    pub(crate) trouble: Option<String>,
}

/// A thread that looks.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Seen>,
}

impl Watch {
    /// Begins to look at the manager behind `socket`.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn begin(socket: &Path) -> Result<Self, Failure> {
        let (stop, stopped) = channel::<()>();
        let place = Place::at(socket);
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                let mut seen = Seen::default();
                let wait =
                    |interval| stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
                if let Err(error) = look_on(&place, &mut seen, wait) {
                    seen.trouble = Some(error.to_string());
                }
                seen
            })?;
        Ok(Self { stop, thread })
    }

    /// Takes a last look and tells all.
    pub(crate) fn end(self) -> Seen {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

/// Looks until `wait` says that it is over, and once more then.
fn look_on(
    place: &Place,
    seen: &mut Seen,
    wait: impl Fn(Duration) -> bool,
) -> Result<(), OperatorError> {
    let mut link = Link::connect(place)?;
    let began = Instant::now();
    let mut last = began;
    loop {
        let snapshot = Snapshot::ask(&mut link)?;
        let now = Instant::now();
        seen.interval_max = seen.interval_max.max(now - last);
        last = now;
        seen.take(snapshot);
        let interval = match began.elapsed() < SHORT_FOR {
            true => INTERVAL_SHORT,
            false => INTERVAL,
        };
        if !wait(interval) {
            seen.take(Snapshot::ask(&mut link)?);
            return Ok(());
        }
    }
}

impl Seen {
    fn take(&mut self, snapshot: Snapshot) {
        self.samples += 1;
        self.summary = snapshot.summary;
        self.peak_charged_bytes = self.peak_charged_bytes.max(snapshot.summary.charged_bytes);
        for client in snapshot.clients {
            self.take_client(client);
        }
    }

    fn take_client(&mut self, client: ClientRow) {
        // What was done is never undone: less of it is another process of the same number.
        let known = self.places.get(&client.pid).copied();
        let known =
            known.filter(|&place| done(&self.processes[place].figures) <= done(&client.figures));
        match known {
            Some(place) => {
                let process = &mut self.processes[place];
                process.peak_charged_bytes = process.peak_charged_bytes.max(client.charged_bytes);
                process.figures = client.figures;
                process.name = client.name;
            }
            None if self.processes.len() == PROCESSES_MAX => {}
            None => {
                self.places.insert(client.pid, self.processes.len());
                self.processes.push(Process {
                    pid: client.pid,
                    name: client.name,
                    peak_charged_bytes: client.charged_bytes,
                    figures: client.figures,
                });
            }
        }
    }
}

/// Reclaims and discards so far.
fn done(figures: &Figures) -> u64 {
    crate::words::discards(figures)
        .saturating_add(figures.reclaims_intact)
        .saturating_add(figures.reclaims_discarded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fake::{FakeManager, client, done as end, summary};
    use std::sync::atomic::{AtomicU64, Ordering};
    use vidmm_wire::ToOperator;

    #[test]
    fn peaks_and_last_words_are_kept() {
        let looks = AtomicU64::new(0);
        let manager = FakeManager::answering(move |_| {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            let mut whole = summary();
            whole.charged_bytes = [10, 90, 50][usize::try_from(look.min(2)).unwrap()];
            let mut first = client(7, "first", whole.charged_bytes);
            first.figures.reclaims_intact = look;
            let mut answer = vec![ToOperator::Summary(whole)];
            // It is gone at the second look, and its number is another's at the third.
            match look {
                0 => answer.push(ToOperator::Client(client(8, "short", 5))),
                1 => {}
                _ => {
                    let mut other = client(8, "other", 6);
                    other.figures = Figures::default();
                    answer.push(ToOperator::Client(other));
                }
            }
            answer.extend([ToOperator::Client(first), end()]);
            answer
        });
        let mut seen = Seen::default();
        let rounds = AtomicU64::new(0);
        look_on(&Place::at(&manager.socket()), &mut seen, |_| {
            rounds.fetch_add(1, Ordering::Relaxed) < 1
        })
        .unwrap();
        assert_eq!((seen.samples, seen.peak_charged_bytes), (3, 90));
        let short: Vec<_> = seen
            .processes
            .iter()
            .map(|process| {
                (
                    process.pid,
                    process.name.as_str(),
                    process.peak_charged_bytes,
                )
            })
            .collect();
        assert_eq!(short, [(8, "short", 5), (7, "first", 90), (8, "other", 6)]);
        assert_eq!(seen.processes[1].figures.reclaims_intact, 2);
    }

    #[test]
    fn a_manager_that_goes_away_ends_the_looking() {
        let manager = FakeManager::handling(drop);
        let watch = Watch::begin(&manager.socket()).unwrap();
        let seen = watch.end();
        assert!(seen.trouble.is_some() && seen.samples == 0);
    }
}
