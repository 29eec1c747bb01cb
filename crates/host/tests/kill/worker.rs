//! What a client does: it fills memory, offers it, takes it back, and looks at every word.

#![allow(unsafe_code)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use rustix::process::{Pid, WaitOptions, waitpid};
use vidmm::{Class, Committed, Error, Offered, Pool, Reclaimed};

use crate::process::MARK;

/// So many allocations at most.
const PLACES: usize = 64;
/// Sizes are so many pages at most.
const PAGES_MAX: usize = 128;
/// About one of so many steps makes a child.
const FORK_EVERY: u32 = 400;
/// A child works for so long: what it holds is beyond what its parent was granted, and until it is
/// gone there may be nothing for others.
const CHILD_STEPS: u64 = 40;
const CHILD_TIME: Duration = Duration::from_secs(2);
/// It is told how far it is after so many steps.
const STEPS: u64 = 10;

enum Place {
    Empty,
    InUse(Committed, u64),
    Idle(Offered, u64),
}

/// Works until it is killed. Panics if anything is wrong.
pub(crate) fn work() {
    let seed = std::env::var("VIDMM_TEST_SEED").expect("it is set");
    let mut random = Pcg64Mcg::seed_from_u64(seed.parse().expect("a number"));
    let pool = Pool::from_environment()
        .expect("a sound environment")
        .build()
        .expect("a pool");
    let mut ranges = String::new();
    for range in pool.ranges() {
        let gap = if ranges.is_empty() { "" } else { " " };
        write!(ranges, "{gap}{:x}-{:x}", range.start, range.end).expect("a string");
    }
    println!("\n{MARK}{ranges}");
    let mut places: Vec<Place> = (0..PLACES).map(|_| Place::Empty).collect();
    let mut child = None;
    for step in 0_u64.. {
        if step % STEPS == 0 {
            println!("{MARK}{step}");
        }
        if child.is_none() && random.next_u32().is_multiple_of(FORK_EVERY) {
            child = fork(&pool, &mut places, &mut random);
        }
        reap(&mut child);
        work_once(&pool, &mut places, &mut random);
    }
}

fn work_once(pool: &Pool, places: &mut [Place], random: &mut Pcg64Mcg) {
    let one = (random.next_u32() as usize) % PLACES;
    let place = std::mem::replace(&mut places[one], Place::Empty);
    places[one] = match place {
        Place::Empty => allocate(pool, random),
        Place::InUse(memory, seed) => {
            check(&memory, seed);
            match random.next_u32() % 8 {
                0 => Place::Empty,
                1 => Place::InUse(memory, seed),
                class => Place::Idle(memory.offer(class_of(class)), seed),
            }
        }
        Place::Idle(offered, _) if random.next_u32().is_multiple_of(16) => {
            drop(offered);
            Place::Empty
        }
        Place::Idle(offered, seed) => reclaim(offered, seed),
    };
}

/// Makes a child, which has a copy of everything, joins as a client of its own when it needs memory,
/// and ends after a while.
fn fork(pool: &Pool, places: &mut [Place], random: &mut Pcg64Mcg) -> Option<Pid> {
    // SAFETY: the child uses this thread's data, the pool, which is made for it, and the allocator,
    // which the C library makes whole in children.
    match unsafe { libc::fork() } {
        0 => {
            for place in places.iter() {
                if let Place::InUse(memory, seed) = place {
                    check(memory, *seed);
                }
            }
            let until = Instant::now() + CHILD_TIME;
            for _ in 0..CHILD_STEPS {
                work_once(pool, places, random);
                if Instant::now() > until {
                    break;
                }
            }
            // SAFETY: it ends the process.
            unsafe { libc::_exit(0) }
        }
        child => Pid::from_raw(child),
    }
}

/// A child that has ended must have found nothing wrong.
fn reap(child: &mut Option<Pid>) {
    let Some(pid) = *child else {
        return;
    };
    if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
        assert_eq!(status.exit_status(), Some(0), "a child: {status:?}");
        *child = None;
    }
}

fn class_of(number: u32) -> Class {
    match number % 3 {
        0 => Class::Low,
        1 => Class::Normal,
        _ => Class::High,
    }
}

fn allocate(pool: &Pool, random: &mut Pcg64Mcg) -> Place {
    let pages = 1 + (random.next_u32() as usize) % PAGES_MAX;
    match pool.allocate(pages * 4096) {
        Ok(mut memory) => {
            let seed = random.next_u64() | 1;
            fill(&mut memory, seed);
            Place::InUse(memory, seed)
        }
        Err(Error::NoMemory { .. } | Error::NoManager) => Place::Empty,
        Err(error) => panic!("{error}"),
    }
}

fn reclaim(offered: Offered, seed: u64) -> Place {
    match offered.reclaim() {
        Ok(Reclaimed::Intact(memory)) => {
            check(&memory, seed);
            Place::InUse(memory, seed)
        }
        Ok(Reclaimed::Discarded(mut memory)) => {
            fill(&mut memory, seed);
            Place::InUse(memory, seed)
        }
        Err(refused) => match refused.error {
            Error::NoMemory { .. } | Error::NoManager => Place::Idle(refused.offered, seed),
            error => panic!("{error}"),
        },
    }
}

fn words(seed: u64) -> impl Iterator<Item = [u8; 8]> {
    (0_u64..).map(move |place| place.wrapping_mul(seed).rotate_left(17).to_ne_bytes())
}

fn fill(memory: &mut Committed, seed: u64) {
    let mut bytes = memory.lock_mut().expect("committed");
    let (chunks, _) = bytes.as_chunks_mut::<8>();
    for (chunk, word) in chunks.iter_mut().zip(words(seed)) {
        *chunk = word;
    }
}

fn check(memory: &Committed, seed: u64) {
    let bytes = memory.lock().expect("committed");
    let (chunks, _) = bytes.as_chunks::<8>();
    let is_right = chunks
        .iter()
        .zip(words(seed))
        .all(|(chunk, word)| *chunk == word);
    assert!(
        is_right,
        "content that was said to be intact, or was in use, is not what it was"
    );
}
