//! What is done to the processes of a run under `--chaos`, and when: drawn from the seed, in terms
//! of finished accesses.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand_pcg::Pcg64;

use crate::demo::unpack::size_u64;
use crate::demo::zipf::below;

/// One worker is killed, and one stopped, for so many accesses; at least one, and at most
/// [`EACH_MAX`].
const ACCESSES_PER_CASUALTY: u64 = 400;
const EACH_MAX: u64 = 24;
/// For how long a worker stands, in milliseconds: a manager may well lose its patience with it.
const STANDS_MIN_MS: usize = 20;
const STANDS_MAX_MS: usize = 400;
/// A stream of random numbers that no worker of a plan draws from.
const STREAM: u128 = 1 << 64;

/// Something that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Kill(usize),
    Stop(usize, Duration),
    KillManager,
}

/// All that is still to be done.
#[derive(Debug, Default)]
pub(crate) struct Chaos {
    /// With the number of finished accesses that each waits for, in order.
    acts: VecDeque<(u64, Act)>,
    /// Who goes on when.
    stopped: Vec<(Instant, usize)>,
}

impl Chaos {
    /// Draws it. The manager is killed once, half-way.
    pub(crate) fn new(seed: u64, workers: usize, accesses: u64) -> Self {
        let mut random = Pcg64::new(u128::from(seed), STREAM);
        let each = (accesses / ACCESSES_PER_CASUALTY).clamp(1, EACH_MAX);
        let at = |random: &mut Pcg64| {
            let within = usize::try_from(accesses.max(1)).unwrap_or(usize::MAX);
            size_u64(below(random, within))
        };
        let mut acts = vec![(accesses / 2, Act::KillManager)];
        for _ in 0..each {
            acts.push((at(&mut random), Act::Kill(below(&mut random, workers))));
            let stands = STANDS_MIN_MS + below(&mut random, STANDS_MAX_MS - STANDS_MIN_MS);
            let stands = Duration::from_millis(size_u64(stands));
            acts.push((
                at(&mut random),
                Act::Stop(below(&mut random, workers), stands),
            ));
        }
        acts.sort_by_key(|(at, _)| *at);
        Self {
            acts: acts.into(),
            stopped: Vec::new(),
        }
    }

    /// The next thing to do once so many accesses are finished.
    pub(crate) fn next(&mut self, finished: u64) -> Option<Act> {
        let (at, _) = self.acts.front()?;
        (*at <= finished)
            .then(|| self.acts.pop_front())?
            .map(|(_, act)| act)
    }

    /// Somebody was stopped until `until`.
    pub(crate) fn stopped(&mut self, worker: usize, until: Instant) {
        self.stopped.push((until, worker));
    }

    /// Somebody who is to go on by `now`.
    pub(crate) fn goes_on(&mut self, now: Instant) -> Option<usize> {
        let place = self.stopped.iter().position(|(until, _)| *until <= now)?;
        Some(self.stopped.swap_remove(place).1)
    }

    /// How long nobody is to go on.
    pub(crate) fn quiet_for(&self, now: Instant) -> Option<Duration> {
        let times = self.stopped.iter();
        times
            .map(|(until, _)| until.saturating_duration_since(now))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_acts_and_the_manager_dies_half_way() {
        let all = |seed, accesses| {
            let mut chaos = Chaos::new(seed, 4, accesses);
            let mut acts = Vec::new();
            for finished in 0..=accesses {
                while let Some(act) = chaos.next(finished) {
                    acts.push((finished, act));
                }
            }
            acts
        };
        let acts = all(7, 2_000);
        assert_eq!(acts, all(7, 2_000));
        assert_ne!(acts, all(8, 2_000));
        assert_eq!(acts.len(), 11);
        let managers: Vec<_> = acts
            .iter()
            .filter(|(_, act)| *act == Act::KillManager)
            .collect();
        assert_eq!(managers, [&(1_000, Act::KillManager)]);
        assert_eq!(all(7, 1).len(), 3);
        assert_eq!(all(7, 1_000_000).len(), 49);
    }

    #[test]
    fn the_stopped_go_on_in_time() {
        let mut chaos = Chaos::default();
        let now = Instant::now();
        assert_eq!(chaos.quiet_for(now), None);
        chaos.stopped(1, now + Duration::from_millis(30));
        chaos.stopped(2, now + Duration::from_millis(10));
        assert_eq!(chaos.quiet_for(now), Some(Duration::from_millis(10)));
        assert_eq!(chaos.goes_on(now), None);
        assert_eq!(chaos.goes_on(now + Duration::from_millis(20)), Some(2));
        assert_eq!(chaos.goes_on(now + Duration::from_millis(20)), None);
        assert_eq!(chaos.goes_on(now + Duration::from_secs(1)), Some(1));
        assert_eq!(chaos.next(u64::MAX), None);
    }
}
