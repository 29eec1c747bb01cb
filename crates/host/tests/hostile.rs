//! Who means harm: garbage, floods, silence, descriptors, never reading - and what an honest client
//! notices of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{
    MIB, PATIENCE, Player, RawClient, Serving, descriptors_of, resident_of, server_process, until,
};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use vidmm_wire::{
    Join, Opening, OperatorRequest, Reception, ToClient, ToManager, WhyRefused, encode,
};

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

/// So many rounds of asking and giving back; how long they took. Each must end in time.
fn honest_rounds(client: &RawClient, first_request: u32, rounds: u32) -> Duration {
    let begin = Instant::now();
    for round in 0..rounds {
        client.ask(first_request + round, 1 << 16).unwrap();
        let ToClient::Credit(credit) = client.next() else {
            panic!("no credit in round {round}");
        };
        let bytes = credit.granted_bytes;
        client.say(&ToManager::Returned { bytes }).unwrap();
    }
    begin.elapsed()
}

/// A packet of noise, from a seed.
fn noise(seed: &mut u64) -> Vec<u8> {
    let mut next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    };
    let length = 1 + usize::try_from(next() % 9000).unwrap();
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&next().to_le_bytes());
    }
    bytes.truncate(length);
    if next().is_multiple_of(4) {
        let opening = Opening::Join(Join::default()).encode();
        bytes.splice(0..0, opening);
    }
    bytes
}

#[test]
fn an_honest_client_keeps_its_rate_beside_floods() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    // In a process of its own, whose descriptors are its own.
    let server = server_process(&socket, 64 * MIB);
    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
    let quiet = honest_rounds(&client, 1, 200);
    let descriptors = descriptors_of(server.pid());

    let over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let floods: Vec<_> = (1..=7_u64)
        .map(|number| {
            let (over, sent, socket) = (Arc::clone(&over), Arc::clone(&sent), socket.clone());
            std::thread::spawn(move || {
                let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                while !over.load(Ordering::Relaxed) {
                    let Ok(flood) = RawClient::connect(&socket) else {
                        continue;
                    };
                    while flood.send(&noise(&mut seed)).is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    until("the floods run", || sent.load(Ordering::Relaxed) > 1000);
    let beside = honest_rounds(&client, 1_000_000, 200);
    over.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().unwrap();
    }
    // Seven busy threads share the processors with this client and the manager: what is tested is
    // that nobody starves, not that nothing is felt.
    println!("200 rounds beside floods in {beside:?}, before in {quiet:?}");
    assert!(beside < PATIENCE / 2);
    until("descriptors return", || {
        descriptors_of(server.pid()) <= descriptors
    });
}

#[test]
fn well_formed_floods_are_read_in_turns() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let server = server_process(&socket, 64 * MIB);
    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
    let quiet = honest_rounds(&client, 1, 50);
    let variables = [
        ("PLAY", "flood".to_owned()),
        ("SOCKET", socket.display().to_string()),
    ];
    let mut floods: Vec<Player> = (0..4).map(|_| Player::start(&variables)).collect();
    for flood in &mut floods {
        assert_eq!(flood.line(), "flooding");
    }
    let beside = honest_rounds(&client, 1000, 50);
    println!(
        "50 rounds beside four floods that are well formed in {beside:?}, before in {quiet:?}"
    );
    // Measured: five times; a hundred times that if a connection is read while it has anything.
    assert!(beside < 100 * quiet.max(Duration::from_millis(10)));
    assert!(resident_of(server.pid()) < 64 * MIB);
    drop(floods);
    until("the floods are gone", || {
        client.catch_up();
        common::stat(&socket).clients == 1
    });
}

#[test]
fn messages_that_are_too_long_or_none_end_their_connection() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    for bytes in [vec![0; 8193], vec![0xff; 8192], vec![0xff], Vec::new()] {
        let client = RawClient::connect(&serving.socket).unwrap();
        client.join(Join::default()).unwrap();
        client.send(&bytes).unwrap();
        assert!(client.is_ended(), "{} bytes", bytes.len());
        until("it has parted", || serving.stat().clients == 0);
    }
    assert!(serving.has_logged("a message that is none"));
}

#[test]
fn descriptors_that_are_pushed_go_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let server = server_process(&socket, 64 * MIB);
    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 4096).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    let before = descriptors_of(server.pid());
    let file = std::fs::File::open("/dev/null").unwrap();
    let message = encode(&ToManager::Returned { bytes: 0 }).unwrap();
    for _ in 0..500 {
        let descriptors = [file.as_fd(); 16];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let parts = [IoSlice::new(&message)];
        sendmsg(&client.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    }
    client.ask(2, 4096).unwrap();
    assert!(
        matches!(client.next(), ToClient::Credit(_)),
        "all of them have been read"
    );
    assert_eq!(descriptors_of(server.pid()), before);
}

#[test]
fn who_never_reads_is_closed_and_who_asks_much_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    // Each is refused, and no refusal is read.
    let mut asked = 0;
    let end = Instant::now() + PATIENCE;
    while client.ask(asked, u64::MAX).is_ok() {
        asked += 1;
        assert!(Instant::now() < end, "{asked} requests, and never closed");
    }
    assert!(asked > 32, "{asked}");
    assert!(serving.has_logged("does not read"));
    until("it counts as absent", || serving.stat().clients == 0);
}

#[test]
fn an_operator_that_does_not_read_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let operator = RawClient::connect(&serving.socket).unwrap();
    operator
        .send(&Opening::Operate(OperatorRequest::Stat).encode())
        .unwrap();
    let request = encode(&OperatorRequest::Stat).unwrap();
    // Until the socket is full both ways: then the manager has ended it or stopped reading.
    rustix::io::ioctl_fionbio(&operator.socket, true).unwrap();
    let mut sent: u64 = 0;
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(200) {
        match operator.send(&request) {
            Ok(()) => {
                sent += 1;
                last = Instant::now();
            }
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(_) => break,
        }
        assert!(sent < 5000, "the manager reads on");
    }
    assert_eq!(serving.stat().budget_bytes, 64 * MIB, "others are served");
}

#[test]
fn without_descriptors_whoever_comes_is_told_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let server = server_process(&socket, 64 * MIB);
    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
    let open = u64::try_from(descriptors_of(server.pid())).unwrap();
    let pid = Pid::from_child(&server.child);
    let limit = |current| Rlimit {
        current: Some(current),
        maximum: Some(20_000),
    };
    prlimit(Some(pid), Resource::Nofile, limit(open + 1)).unwrap();
    let mut told = 0;
    let mut others = Vec::new();
    for _ in 0..5 {
        let other = RawClient::connect(&socket).unwrap();
        if let Some(bytes) = other.receive_within(Duration::from_millis(300)) {
            match Reception::decode(&bytes).unwrap().0 {
                Some(Reception::Refused(refusal)) => {
                    assert_eq!(refusal.why, WhyRefused::Full);
                    assert!(refusal.text.contains("LimitNOFILE"), "{}", refusal.text);
                    told += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        others.push(other);
    }
    assert!(told >= 3, "{told} of 5 were told");
    client.ask(1, MIB).unwrap();
    assert!(
        matches!(client.next(), ToClient::Credit(_)),
        "who has joined goes on"
    );
    drop(others);
    prlimit(Some(pid), Resource::Nofile, limit(20_000)).unwrap();
    let late = Player::client(&socket, 0).line();
    assert_eq!(late, "welcome 0", "when there is room again, all is well");
}
