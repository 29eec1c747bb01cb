//! A manager that is killed, and the one after it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use common::{MIB, Player, RawClient, Serving, server_process, until};
use rustix::process::Signal;
use vidmm_wire::{Join, ToClient};

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

#[test]
fn a_client_that_cannot_report_is_counted_by_the_next_manager() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let mut first = server_process(&socket, 64 * MIB);
    let mut stopped = Player::client(&socket, 0);
    stopped.line();
    stopped.tell(&format!("ask {}", 40 * MIB));
    assert!(stopped.line().starts_with("credit"));
    let mut dies = Player::client(&socket, 0);
    dies.line();
    dies.tell(&format!("ask {}", 16 * MIB));
    assert!(dies.line().starts_with("credit"));
    stopped.signal(Signal::STOP);
    first.kill();
    dies.kill();

    let serving = Serving::start(dir.path(), 64 * MIB);
    let summary = serving.stat();
    assert!(summary.charged_bytes >= 40 * MIB, "{summary:?}");
    assert!(
        summary.charged_bytes < 56 * MIB,
        "the dead are not counted: {summary:?}"
    );
    assert_eq!((summary.clients, summary.absent), (0, 1));
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 32 * MIB).unwrap();
    assert!(
        matches!(client.next(), ToClient::NoCredit(_)),
        "nothing is granted twice"
    );
    client.ask(2, 16 * MIB).unwrap();
    assert!(
        matches!(client.next(), ToClient::Credit(_)),
        "what is free is granted"
    );
    // Its death is seen though it never was connected to this manager.
    stopped.kill();
    until("the death is seen", || serving.stat().absent == 0);
    client.catch_up();
    client.ask(3, 32 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
}

#[test]
fn a_damaged_entry_counts_its_living_process() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let mut first = server_process(&socket, 64 * MIB);
    let mut child = Player::client(&socket, 0);
    child.line();
    child.tell(&format!("ask {}", 40 * MIB));
    assert!(child.line().starts_with("credit"));
    first.kill();
    // The first record's weight: its checksum does not fit any more.
    let path = dir.path().join("m.sock.ledger");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64 + 12] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    assert!(serving.has_logged("damaged entry"));
    assert!(serving.stat().charged_bytes >= 40 * MIB);
    drop(child);
    until("the death is seen", || serving.stat().charged_bytes == 0);
}

#[test]
fn incarnations_differ_and_who_joins_again_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let mut seen = Vec::new();
    let mut held_bytes = 0;
    for _ in 0..3 {
        let mut server = server_process(&socket, 64 * MIB);
        let client = RawClient::connect(&socket).unwrap();
        let welcome = client
            .join(Join {
                held_bytes,
                incarnation: seen.last().copied().unwrap_or(0),
                ..Join::default()
            })
            .unwrap();
        assert_eq!(welcome.granted_bytes, held_bytes);
        seen.push(welcome.incarnation);
        // Small enough that the kernel's count of this process covers it.
        client.ask(1, 4096).unwrap();
        let ToClient::Credit(credit) = client.next() else {
            panic!("no credit");
        };
        let charged_bytes = held_bytes + credit.granted_bytes;
        assert_eq!(common::stat(&socket).charged_bytes, charged_bytes);
        held_bytes += 4096;
        server.kill();
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
}
