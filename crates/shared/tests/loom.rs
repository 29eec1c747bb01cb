//! Every interleaving (up to a bound of preemptions) of two or three openers of one file. The
//! transitions are the shipped ones; the content is cells in which the checker sees data races.
//!
//! `RUSTFLAGS="--cfg vidmm_loom" cargo test --release -p vidmm-shared --test loom`
#![cfg(vidmm_loom)]
#![allow(unsafe_code, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use vidmm_shared::word::{self, AtomicU64, Look, Opener};

const GENERATIONS: u32 = 4;
/// What was in generation 0 at first.
const WRITTEN: u64 = 7;
/// What whoever returns the pages of a generation leaves there.
const RETURNED: u64 = 0;

struct File {
    word: AtomicU64,
    ranges: Vec<UnsafeCell<u64>>,
    /// For each opener, whether it lives: what the lock on its byte says.
    alive: Vec<loom::sync::Mutex<bool>>,
}

// SAFETY: the checker fails the run if two threads are at a cell without an order between them.
unsafe impl Sync for File {}
// SAFETY: as above.
unsafe impl Send for File {}

fn opener(number: usize) -> Opener {
    Opener::all().nth(number).unwrap()
}

impl File {
    /// Opened by `openers`, all of which hold it.
    fn new(openers: usize) -> Arc<Self> {
        let file = File {
            word: AtomicU64::new(0),
            ranges: (0..GENERATIONS)
                .map(|_| UnsafeCell::new(RETURNED))
                .collect(),
            alive: (0..openers).map(|_| loom::sync::Mutex::new(true)).collect(),
        };
        file.write(0, WRITTEN);
        for number in 0..openers {
            word::hold(&file.word, opener(number));
        }
        Arc::new(file)
    }

    fn read(&self, generation: u32) -> u64 {
        // SAFETY: the checker's own check.
        self.ranges[generation as usize].with(|cell| unsafe { *cell })
    }

    fn write(&self, generation: u32, value: u64) {
        // SAFETY: the checker's own check.
        self.ranges[generation as usize].with_mut(|cell| unsafe { *cell = value });
    }

    fn hold(&self, number: usize) -> Look {
        word::hold(&self.word, opener(number))
    }

    fn release(&self, number: usize) {
        word::release(&self.word, opener(number));
    }

    /// Discards what `seen` was if nobody holds it, and returns its pages.
    fn discard(&self, seen: u32) -> bool {
        let won = word::discard(&self.word, seen, GENERATIONS);
        if won {
            self.write(seen, RETURNED);
        }
        won
    }

    fn die(&self, number: usize) {
        *self.alive[number].lock().unwrap() = false;
    }

    /// Takes the marks of `number` away if it is dead.
    fn bury(&self, number: usize) {
        let alive = self.alive[number].lock().unwrap();
        if !*alive {
            self.release(number);
        }
    }
}

/// Runs `check` under every schedule; exactly `endings` must have been seen.
fn model(endings: &[&'static str], check: impl Fn() -> &'static str + Send + Sync + 'static) {
    let seen = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check({
        let seen = seen.clone();
        move || {
            let ending = check();
            seen.lock().unwrap().insert(ending);
        }
    });
    let expected: BTreeSet<_> = endings.iter().copied().collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// A reclaim answers intact only with the content there, and a discard touches only what nobody
/// has.
#[test]
fn a_reclaim_and_a_discard() {
    model(&["intact", "discarded"], || {
        let file = File::new(1);
        file.release(0);
        let other = thread::spawn({
            let file = file.clone();
            move || file.discard(0)
        });
        let look = file.hold(0);
        let intact = look.generation() == 0;
        match intact {
            true => assert_eq!(file.read(0), WRITTEN),
            false => {
                assert!(look.is_lost());
                file.write(look.generation(), 8);
                word::tell(&file.word);
                assert_eq!(file.read(look.generation()), 8);
            }
        }
        assert_eq!(other.join().unwrap(), !intact);
        if intact { "intact" } else { "discarded" }
    });
}

/// Two openers that offer and reclaim, one of which discards: both learn of it or neither, since
/// whoever holds keeps the other from discarding.
#[test]
fn two_openers_and_a_discard() {
    model(&["nothing", "both"], || {
        let file = File::new(2);
        file.release(1);
        let first = thread::spawn({
            let file = file.clone();
            move || {
                // Holds; writes; offers; reclaims.
                file.write(0, 9);
                file.release(0);
                let look = file.hold(0);
                if look.generation() == 0 {
                    assert_eq!(file.read(0), 9);
                }
                look.generation()
            }
        });
        let second = thread::spawn({
            let file = file.clone();
            move || {
                let won = file.discard(0);
                let look = file.hold(1);
                assert!(!won || look.generation() == 1);
                look.generation()
            }
        });
        match (first.join().unwrap(), second.join().unwrap()) {
            (0, 0) => "nothing",
            (1, 1) => "both",
            other => panic!("{other:?}"),
        }
    });
}

/// Of two who discard, one wins and returns the pages; the next generation is nobody's victim.
#[test]
fn two_discards() {
    model(&["one"], || {
        let file = File::new(2);
        file.release(0);
        file.release(1);
        let other = thread::spawn({
            let file = file.clone();
            move || file.discard(0)
        });
        let here = file.discard(0);
        let there = other.join().unwrap();
        assert!(here != there);
        assert_eq!(word::look(&file.word).generation(), 1);
        "one"
    });
}

/// A holder dies; whoever wants to discard takes its mark away; one who lives keeps its content.
#[test]
fn a_death_and_a_discard() {
    model(&["kept", "discarded"], || {
        let file = File::new(2);
        file.release(1);
        let dying = thread::spawn({
            let file = file.clone();
            move || {
                // Its last write, unordered with its death but for the lock.
                file.write(0, 11);
                file.die(0);
            }
        });
        file.bury(0);
        let won = file.discard(0);
        let look = file.hold(1);
        assert_eq!(look.generation(), u32::from(won));
        dying.join().unwrap();
        if won { "discarded" } else { "kept" }
    });
}

/// A burial hits the dead only: not whoever gets the number next, which takes the lock first.
#[test]
fn a_burial_and_a_new_opener() {
    model(&["kept"], || {
        let file = File::new(1);
        file.die(0);
        let joiner = thread::spawn({
            let file = file.clone();
            move || {
                let mut alive = file.alive[0].lock().unwrap();
                *alive = true;
                let look = file.hold(0);
                drop(alive);
                look.generation()
            }
        });
        file.bury(0);
        let won = file.discard(0);
        let seen = joiner.join().unwrap();
        assert_eq!(seen, u32::from(won && seen == 1));
        assert!(!file.discard(seen), "held by the new one");
        if won && seen == 0 {
            panic!("discarded while held");
        }
        "kept"
    });
}
