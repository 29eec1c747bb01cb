//! Who reads which file when: a pure function of seed, workers, accesses and number of files.
//!
//! The plan is one sequence for the whole run. Each worker carries out its own accesses in that
//! order; the baselines replay the very same sequence. Every file is drawn from Zipf(0.9) over a
//! worker's own ranking of the files, and each quarter of the run brings new rankings: the hot
//! set moves. Workers differ in character, by turns:
//!
//! - *steady* reads one file after the other, all the time;
//! - *bursty* is busy in every other phase of the run only. Then it works on a few files at a
//!   time (drawn as ever) and reads each of them again and again before it takes the next few;
//! - *scanning* does as *steady*, but now and then runs through a row of files once;
//! - *mostly idle* reads a file now and then.
//!
//! Must not know: memory, time, files beyond their number.

use rand_pcg::Pcg64;

use crate::demo::zipf::{Zipf, below, permutation};

/// The exponent of the law by which files are drawn.
const EXPONENT: f64 = 0.9;
/// How many times the hot sets are drawn anew.
const QUARTERS: u64 = 4;
/// How many phases a run has; bursts fill every other one.
const PHASES: u64 = 64;
/// A phase has at least so many accesses, or a burst would be none.
const PHASE_MIN: u64 = 16;
/// How many files a bursty worker works on at a time, and how often it reads each on average.
const BURST_FILES: usize = 12;
const BURST_READS: usize = 8;
/// A scan runs through one file in so many of all, and is begun after as many draws on average
/// as make scanned files one in `SCAN_SHARE` of the worker's reads.
const SCAN_PART: usize = 4;
const SCAN_SHARE: usize = 5;

/// What a worker is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    Steady,
    Bursty,
    Scanning,
    MostlyIdle,
}

impl Character {
    /// The character of worker number `worker`.
    pub(crate) fn of(worker: usize) -> Self {
        [Self::Steady, Self::Bursty, Self::Scanning, Self::MostlyIdle][worker % 4]
    }

    /// How many accesses it does for one of a mostly idle worker.
    fn weight(self, in_burst: bool) -> usize {
        match self {
            Self::Steady => 8,
            Self::Bursty if in_burst => 32,
            Self::Bursty => 0,
            Self::Scanning => 3,
            Self::MostlyIdle => 1,
        }
    }
}

/// One access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) file: u32,
    pub(crate) worker: u16,
    /// Part of a run through many files: not likely to be read again soon.
    pub(crate) scan: bool,
}

/// The sequence of all accesses of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) accesses: Vec<Access>,
    pub(crate) workers: usize,
    pub(crate) files: usize,
}

impl Plan {
    /// Makes the plan. `workers` and `files` are at least 1 and fit 16 and 32 bits.
    pub(crate) fn new(seed: u64, workers: u16, accesses: u64, files: usize) -> Self {
        let zipf = Zipf::new(files, EXPONENT);
        let mut order = Pcg64::new(u128::from(seed), 0);
        let mut readers: Vec<Reader> = (0..workers)
            .map(|worker| Reader::new(seed, worker, files))
            .collect();
        let phase_length = (accesses / PHASES).max(PHASE_MIN);
        let quarter_length = accesses.div_ceil(QUARTERS).max(1);
        let access = |position: u64| {
            if position > 0 && position.is_multiple_of(quarter_length) {
                readers.iter_mut().for_each(Reader::move_hot_set);
            }
            let in_burst = (position / phase_length).is_multiple_of(2);
            let worker = pick(&mut order, &readers, in_burst);
            readers[usize::from(worker)].read(worker, &zipf)
        };
        let accesses = (0..accesses).map(access).collect();
        Self {
            accesses,
            workers: usize::from(workers),
            files,
        }
    }
}

/// Whose turn it is: by weight.
fn pick(order: &mut Pcg64, readers: &[Reader], in_burst: bool) -> u16 {
    let total = readers
        .iter()
        .map(|reader| reader.character.weight(in_burst))
        .sum();
    let mut point = below(order, total);
    for (worker, reader) in (0_u16..).zip(readers) {
        let weight = reader.character.weight(in_burst);
        if point < weight {
            return worker;
        }
        point -= weight;
    }
    0
}

/// A worker's state while the plan is drawn.
struct Reader {
    character: Character,
    random: Pcg64,
    /// The files from hottest to coldest.
    ranking: Vec<u32>,
    /// What a bursty worker works on, and how many reads are left until it takes the next files.
    burst: Vec<u32>,
    burst_reads_left: usize,
    /// Where a scanning worker's next scan goes on, and how many files are left of this one.
    scan_next: usize,
    scan_left: usize,
}

impl Reader {
    fn new(seed: u64, worker: u16, files: usize) -> Self {
        // Streams of one seed are independent; stream 0 says whose turn it is.
        let mut random = Pcg64::new(u128::from(seed), u128::from(worker) + 1);
        let ranking = permutation(&mut random, files);
        Self {
            character: Character::of(usize::from(worker)),
            random,
            ranking,
            burst: Vec::new(),
            burst_reads_left: 0,
            scan_next: 0,
            scan_left: 0,
        }
    }

    fn move_hot_set(&mut self) {
        self.ranking = permutation(&mut self.random, self.ranking.len());
    }

    fn draw(&mut self, zipf: &Zipf) -> u32 {
        self.ranking[zipf.draw(&mut self.random)]
    }

    fn read(&mut self, worker: u16, zipf: &Zipf) -> Access {
        let (file, scan) = match self.character {
            Character::Steady | Character::MostlyIdle => (self.draw(zipf), false),
            Character::Bursty => (self.read_in_burst(zipf), false),
            Character::Scanning => self.read_or_scan(zipf),
        };
        Access { file, worker, scan }
    }

    fn read_in_burst(&mut self, zipf: &Zipf) -> u32 {
        if self.burst_reads_left == 0 {
            self.burst = (0..BURST_FILES).map(|_| self.draw(zipf)).collect();
            self.burst_reads_left = BURST_FILES * BURST_READS;
        }
        self.burst_reads_left -= 1;
        self.burst[below(&mut self.random, BURST_FILES)]
    }

    fn read_or_scan(&mut self, zipf: &Zipf) -> (u32, bool) {
        let files = self.ranking.len();
        let scan_length = files.div_ceil(SCAN_PART);
        if self.scan_left == 0 {
            if below(&mut self.random, scan_length * (SCAN_SHARE - 1)) != 0 {
                return (self.draw(zipf), false);
            }
            self.scan_left = scan_length;
        }
        self.scan_left -= 1;
        self.scan_next = (self.scan_next + 1) % files;
        (u32::try_from(self.scan_next).unwrap_or(0), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(plan: &Plan, wanted: impl Fn(&Access) -> bool) -> f64 {
        plan.accesses.iter().filter(|access| wanted(access)).count() as f64
            / plan.accesses.len() as f64
    }

    #[test]
    fn the_same_arguments_give_the_same_plan() {
        let plan = Plan::new(42, 4, 10_000, 30);
        assert_eq!(plan, Plan::new(42, 4, 10_000, 30));
        assert_ne!(plan, Plan::new(43, 4, 10_000, 30));
        assert_eq!(plan.accesses.len(), 10_000);
        assert!(
            plan.accesses
                .iter()
                .all(|access| access.file < 30 && access.worker < 4)
        );
    }

    #[test]
    fn workers_have_their_characters() {
        let plan = Plan::new(1, 4, 64_000, 100);
        let of = |worker| share(&plan, move |access: &Access| access.worker == worker);
        // Half of the phases with bursts: (8/44 + 8/12) / 2 and so on.
        for (worker, expected) in [(0, 0.424), (1, 0.364), (2, 0.159), (3, 0.053)] {
            assert!(
                (of(worker) - expected).abs() < 0.02,
                "worker {worker}: {}",
                of(worker)
            );
        }
        // Bursts: nothing at all in the other phases.
        let phase = |index: usize| &plan.accesses[index * 1000..(index + 1) * 1000];
        assert!(phase(0).iter().any(|access| access.worker == 1));
        assert!(phase(1).iter().all(|access| access.worker != 1));
        let scans = share(&plan, |access| access.scan) / of(2);
        assert!((scans - 0.2).abs() < 0.05, "{scans}");
        assert!(
            plan.accesses
                .iter()
                .all(|access| !access.scan || access.worker == 2)
        );
    }

    #[test]
    fn the_hot_set_moves_each_quarter() {
        let plan = Plan::new(5, 1, 40_000, 200);
        let hottest = |quarter: usize| {
            let mut counts = [0_u32; 200];
            for access in &plan.accesses[quarter * 10_000..(quarter + 1) * 10_000] {
                counts[access.file as usize] += 1;
            }
            (0..200).max_by_key(|&file| counts[file]).unwrap()
        };
        let hot: std::collections::BTreeSet<_> = (0..4).map(hottest).collect();
        assert!(hot.len() > 1, "{hot:?}");
    }

    #[test]
    fn small_runs_have_a_plan_too() {
        for workers in 1..=5 {
            for accesses in 1..=20 {
                assert_eq!(
                    Plan::new(9, workers, accesses, 1).accesses.len() as u64,
                    accesses
                );
            }
        }
    }
}
