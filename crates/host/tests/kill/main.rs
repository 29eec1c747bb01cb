//! Clients and their manager, killed, stopped and continued at random: what they have is right, and
//! all of them together have no more than the budget, as the kernel counts it.
//!
//! And clients that mean harm (`siege`).
//!
//! For `VIDMM_KILL_SECONDS` (5 unless set), from `VIDMM_KILL_SEED` (1 unless set).

#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    reason = "the processes of the test speak through it"
)]

mod process;
mod siege;
mod worker;

use std::time::{Duration, Instant};

use process::{Manager, Worker};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const BUDGET_BYTES: u64 = 48 << 20;
const WORKERS: usize = 5;

fn from_environment(name: &str, usual: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(usual, |text| text.parse().expect("a number"))
}

/// Another process of these tests; nothing when it is run as a test.
#[test]
fn another_process() {
    match std::env::var("VIDMM_TEST_ROLE").as_deref() {
        Ok("worker") => worker::work(),
        Ok("attacker") => siege::attack(),
        Ok("manager") => process::manage(BUDGET_BYTES),
        _ => {}
    }
}

/// What is done to whom.
#[derive(Debug, Default)]
struct Done {
    workers_killed: u32,
    workers_stopped: u32,
    managers_killed: u32,
    managers_stopped: u32,
    snapshots: u32,
    peak_bytes: u64,
}

#[test]
fn whoever_is_killed_the_others_go_on_and_nobody_has_too_much() {
    let seconds = from_environment("VIDMM_KILL_SECONDS", 5);
    let mut random = Pcg64Mcg::seed_from_u64(from_environment("VIDMM_KILL_SEED", 1));
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("manager.sock");
    let mut manager = Manager::start(&socket);
    let start = |random: &mut Pcg64Mcg| Worker::start(&socket, random.next_u64());
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| start(&mut random)).collect();
    let mut done = Done::default();
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let one = (random.next_u32() as usize) % WORKERS;
        match random.next_u32() % 16 {
            0 => {
                workers[one].kill();
                workers[one] = start(&mut random);
                done.workers_killed += 1;
            }
            1..=3 => {
                // Longer than an answer may take, and than a request waits.
                workers[one].stop_for(Duration::from_millis(u64::from(random.next_u32() % 800)));
                done.workers_stopped += 1;
            }
            4 => {
                manager.kill();
                pause(&mut random, 300);
                manager = Manager::start(&socket);
                done.managers_killed += 1;
            }
            5 => {
                manager.stop();
                pause(&mut random, 1500);
                manager.go_on();
                done.managers_stopped += 1;
            }
            _ => snapshot(&mut workers, &mut done),
        }
        workers.iter_mut().for_each(Worker::go_on_if_due);
        pause(&mut random, 30);
    }
    manager.go_on();
    workers.iter_mut().for_each(Worker::go_on);
    everybody_works(&mut workers);
    the_last_can_have_it_all(workers, &socket);
    println!("{done:?}");
    assert!(
        done.snapshots > 0 && done.peak_bytes > BUDGET_BYTES / 2,
        "{done:?}"
    );
}

/// Not a wait for something: the time between two blows.
fn pause(random: &mut Pcg64Mcg, most_ms: u64) {
    std::thread::sleep(Duration::from_millis(random.next_u64() % most_ms));
}

/// Of those that are not stopped anyway, all stand still: then the sum is of one instant.
fn snapshot_of(workers: &mut [Worker]) -> u64 {
    let running: Vec<&mut Worker> = workers.iter_mut().filter(|w| !w.is_stopped()).collect();
    for worker in &running {
        worker.halt();
    }
    for worker in &running {
        worker.wait_until_halted();
    }
    let sums: Vec<u64> = workers.iter().map(Worker::resident_bytes).collect();
    for worker in workers.iter().filter(|w| !w.is_stopped()) {
        worker.resume();
    }
    let sum: u64 = sums.iter().sum();
    assert!(sum <= BUDGET_BYTES, "{sum} of {BUDGET_BYTES}: {sums:?}");
    sum
}

fn snapshot(workers: &mut [Worker], done: &mut Done) {
    let sum = snapshot_of(workers);
    done.snapshots += 1;
    done.peak_bytes = done.peak_bytes.max(sum);
}

/// Each makes progress: nobody waits for the dead, or for ever.
fn everybody_works(workers: &mut [Worker]) {
    let before: Vec<u64> = workers.iter_mut().map(Worker::steps).collect();
    let until = Instant::now() + Duration::from_secs(20);
    for (worker, before) in workers.iter_mut().zip(before) {
        while worker.steps() < before + 100 {
            assert!(Instant::now() < until, "{worker:?} does not go on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// When all others are dead, all of the budget can be had at once.
fn the_last_can_have_it_all(workers: Vec<Worker>, socket: &std::path::Path) {
    for mut worker in workers {
        worker.kill();
    }
    let pool = vidmm::Pool::builder()
        .pressure(vidmm::PressureMode::Off)
        .join(vidmm::JoinOptions {
            mode: vidmm::JoinMode::Shared,
            sockets: vec![socket.to_owned()],
        })
        .build()
        .expect("a pool");
    let until = Instant::now() + Duration::from_secs(10);
    let whole = usize::try_from(BUDGET_BYTES).expect("it fits");
    while let Err(error) = pool.allocate(whole) {
        assert!(Instant::now() < until, "{error}");
    }
}
