//! Many clients: as many as there may be, their ends, and that idle ones cost nothing.
//!
//! One test at a time: they are about what the whole machine has.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;
#[path = "common/forked.rs"]
mod forked;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{MIB, RawClient, descriptors_of, resident_of, server_process, sleeps_of, stat, until};
use forked::Crowd;
use vidmm_wire::{Join, ToClient};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

/// How many processes this user may still start, about.
fn processes_allowed() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
}

#[test]
fn two_thousand_join_and_idle_at_no_cost() {
    let _one = ONE_AT_A_TIME.lock();
    if processes_allowed() < 3000 {
        println!("SKIPPED: this user may not start 2,000 processes");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let server = server_process(&socket, 64 * MIB);
    let before = (descriptors_of(server.pid()), resident_of(server.pid()));
    let mut crowd = Crowd::new();
    let begin = Instant::now();
    assert_eq!(crowd.join(&socket, 2000), 2000);
    let joined_in = begin.elapsed();
    let bytes_each = resident_of(server.pid()).saturating_sub(before.1) / 2000;
    println!("2,000 joined in {joined_in:?}, {bytes_each} bytes each");
    assert!(bytes_each < 16 << 10, "{bytes_each} bytes a client");
    assert!(descriptors_of(server.pid()) >= before.0 + 4000);

    // Notices of the last ones may still be due; then nothing is.
    let mut sleeps = sleeps_of(server.pid());
    until("it is quiet", || {
        std::thread::sleep(Duration::from_millis(700));
        let now = sleeps_of(server.pid());
        let quiet = now == sleeps;
        sleeps = now;
        quiet
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(sleeps_of(server.pid()), sleeps, "idle clients wake nobody");

    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    drop(client);
    crowd.end();
    until("their descriptors return", || {
        descriptors_of(server.pid()) <= before.0 + 2
    });
}

#[test]
fn a_thousand_lives_leave_nothing() {
    let _one = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let server = server_process(&socket, 64 * MIB);
    // What a table grows to once is kept.
    let mut warm_up = Crowd::new();
    assert_eq!(warm_up.join(&socket, 100), 100);
    warm_up.end();
    until("the first ones are gone", || {
        stat(&socket).clients + stat(&socket).absent == 0
    });
    let before = (descriptors_of(server.pid()), resident_of(server.pid()));
    let ledger_bytes = std::fs::metadata(dir.path().join("m.sock.ledger"))
        .unwrap()
        .len();
    for _ in 0..10 {
        let mut crowd = Crowd::new();
        assert_eq!(crowd.join(&socket, 100), 100);
        crowd.end();
        until("they are gone", || {
            let summary = stat(&socket);
            summary.clients + summary.absent == 0
        });
    }
    until("descriptors return", || {
        descriptors_of(server.pid()) <= before.0
    });
    let grown = resident_of(server.pid()).saturating_sub(before.1);
    assert!(grown < 512 << 10, "{grown} bytes more after 1,000 lives");
    let after = std::fs::metadata(dir.path().join("m.sock.ledger"))
        .unwrap()
        .len();
    assert_eq!(after, ledger_bytes, "slots of the ledger are used again");
}
