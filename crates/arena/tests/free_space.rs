//! The free space against a bitmap, one bit for each unit.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use vidmm_arena::free::{Align, FreeSpace, Run};

const UNITS: u32 = 1500;
const CASES: u32 = if cfg!(miri) { 4 } else { 400 };

#[derive(Clone, Debug)]
enum Step {
    /// Free the n-th run that is in use, remembered for its size, or merged.
    Put {
        which: usize,
        merged: bool,
    },
    Take {
        len: u32,
        align_log2: u32,
    },
    TakeLargest {
        len_max: u32,
    },
    TakeTop,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![4 => Just(16u32), 3 => 1u32..40, 1 => 1u32..UNITS];
    prop_oneof![
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, merged)| Step::Put { which, merged }),
        4 => (len, prop_oneof![4 => Just(0u32), 1 => 1u32..7])
            .prop_map(|(len, align_log2)| Step::Take { len, align_log2 }),
        1 => (1..UNITS).prop_map(|len_max| Step::TakeLargest { len_max }),
        1 => Just(Step::TakeTop),
    ]
}

struct Model {
    free: Vec<bool>,
    used: Vec<Run>,
}

impl Model {
    fn longest_free(&self) -> usize {
        self.free
            .split(|free| !free)
            .map(<[bool]>::len)
            .max()
            .unwrap_or(0)
    }

    fn use_run(&mut self, run: Run) {
        for unit in run.start..run.end() {
            let free = &mut self.free[unit as usize];
            assert!(*free, "unit {unit} was handed out twice");
            *free = false;
        }
        self.used.push(run);
    }

    fn fits(&self, len: u32, align: Align) -> bool {
        (0..UNITS)
            .filter(|&start| align.next(start) == Some(start))
            .any(|start| {
                let end = (start + len) as usize;
                self.free
                    .get(start as usize..end)
                    .is_some_and(|units| units.iter().all(|&free| free))
            })
    }
}

fn run_steps(steps: Vec<Step>, phase: u64) {
    let mut space = FreeSpace::new();
    space.put_merged(Run {
        start: 0,
        len: UNITS,
    });
    let mut model = Model {
        free: vec![true; UNITS as usize],
        used: Vec::new(),
    };
    for step in steps {
        match step {
            Step::Put { which, merged } => {
                if model.used.is_empty() {
                    continue;
                }
                let run = model.used.swap_remove(which % model.used.len());
                if merged {
                    space.put_merged(run);
                } else {
                    space.put(run);
                }
                model.free[run.start as usize..run.end() as usize].fill(true);
            }
            Step::Take { len, align_log2 } => {
                let align = Align {
                    units: 1 << align_log2,
                    phase,
                };
                match space.take(len, align) {
                    Some(start) => {
                        assert_eq!((phase + u64::from(start)) % align.units, 0);
                        model.use_run(Run { start, len });
                    }
                    None => assert!(!model.fits(len, align), "{len} units were free"),
                }
            }
            Step::TakeLargest { len_max } => {
                let longest = model.longest_free();
                match space.take_largest(len_max) {
                    Some(run) => {
                        assert_eq!(run.len as usize, longest.min(len_max as usize));
                        model.use_run(run);
                    }
                    None => assert_eq!(longest, 0),
                }
            }
            Step::TakeTop => {
                let top = model.free.iter().rev().take_while(|&&free| free).count();
                assert_eq!(space.len_ending_at(UNITS) as usize, top);
                if let Some(run) = space.take_ending_at(UNITS) {
                    assert_eq!(run.len as usize, top);
                    model.use_run(run);
                }
            }
        }
        let free = model.free.iter().filter(|&&free| free).count();
        assert_eq!(space.units(), u64::try_from(free).unwrap());
    }
    assert_eq!(
        space.largest() as usize,
        model.longest_free(),
        "neighbours are merged"
    );
    let gaps = model
        .free
        .split(|free| !free)
        .filter(|gap| !gap.is_empty())
        .count();
    assert_eq!(
        space.pieces(),
        gaps,
        "merged space has one piece for each gap"
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn agrees_with_a_bitmap(
        steps in prop::collection::vec(step(), 1..200), phase in 0u64..1000
    ) {
        run_steps(steps, phase);
    }
}

#[test]
fn the_same_size_comes_back_first() {
    let mut space = FreeSpace::new();
    for start in [0, 100, 50] {
        space.put(Run { start, len: 16 });
    }
    let order: Vec<_> = (0..3).map(|_| space.take(16, Align::NONE)).collect();
    assert_eq!(order, [Some(50), Some(100), Some(0)]);
    assert_eq!(space.take(16, Align::NONE), None);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of map operations take minutes there")]
fn bins_are_bounded_and_fold_when_needed() {
    const RUNS: u32 = 20_000;
    let mut space = FreeSpace::new();
    // Far more than the bins hold, in every other place, then the gaps.
    for start in (0..RUNS).step_by(2).chain((1..RUNS).step_by(2)) {
        space.put(Run { start, len: 1 });
    }
    assert!(space.pieces() <= 2 * 1024 + 1, "{} pieces", space.pieces());
    assert_eq!(space.take(RUNS, Align::NONE), Some(0));
    assert_eq!(space.units(), 0);
}

#[test]
fn a_large_alignment_is_found_among_many_unaligned_runs() {
    let mut space = FreeSpace::new();
    let align = Align {
        units: 512,
        phase: 3,
    };
    for start in (0..200u32).map(|i| 4 + i * 1024) {
        space.put_merged(Run { start, len: 20 });
    }
    space.put_merged(Run {
        start: 1_000_000,
        len: 531,
    });
    let start = space
        .take(20, align)
        .expect("531 units surely hold 20 aligned ones");
    assert_eq!((3 + start) % 512, 0);
}
