//! Joining, credit, orders: the way of a message through socket, manager and ledger; and whom the
//! host does not let in.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use common::{MIB, Player, RawClient, Serving, supply, until};
use vidmm_wire::{
    Answer, Join, Opening, OperatorRequest, Reception, Served, ToClient, ToManager, ToOperator,
    VERSION, WhyRefused,
};

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

#[test]
fn credit_is_granted_and_an_order_moves_it_to_whoever_asks() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let client = RawClient::connect(&serving.socket).unwrap();
    let welcome = client.join(Join::default()).unwrap();
    assert_eq!(welcome.pid, std::process::id());
    assert_eq!(welcome.whole_bytes, 64 * MIB);
    let slack_bytes = 2 * MIB;
    client.ask(1, 60 * MIB).unwrap();
    let ToClient::Credit(credit) = client.next() else {
        panic!("no credit");
    };
    let held_bytes = welcome.granted_bytes + credit.granted_bytes;
    assert!(held_bytes >= 60 * MIB && held_bytes <= 60 * MIB + slack_bytes);

    let mut other = Player::client(&serving.socket, 0);
    assert_eq!(other.line(), "welcome 0");
    other.tell(&format!("ask {}", 32 * MIB));
    let order = loop {
        match client.next_or_poll() {
            ToClient::Poll(poll) => client.tell(poll.poll, supply(40 * MIB)),
            ToClient::Order(order) => break order,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(order.beneficiary_pid, other.pid());
    assert!(order.bytes >= 28 * MIB, "{order:?}");
    client
        .say(&ToManager::Answer(Answer {
            order: order.order,
            returned_bytes: order.bytes,
            discarded_bytes: [order.bytes, 0, 0],
            discards: 1,
        }))
        .unwrap();
    let line = other.line();
    let granted: u64 = line.strip_prefix("credit ").expect(&line).parse().unwrap();
    assert!(granted >= 32 * MIB);
    let summary = serving.stat();
    assert!(summary.charged_bytes <= 64 * MIB);
    assert_eq!((summary.clients, summary.pid), (2, std::process::id()));
}

#[test]
fn a_dead_process_is_forgotten_and_one_without_connection_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let mut child = Player::client(&serving.socket, 0);
    child.line();
    child.tell(&format!("ask {}", 8 * MIB));
    assert!(child.line().starts_with("credit"));
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 8 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    drop(client);
    until("the parting is seen", || serving.stat().absent == 1);
    assert!(serving.stat().charged_bytes >= 16 * MIB);
    child.kill();
    until("the death is seen", || {
        serving.stat().charged_bytes < 16 * MIB
    });
    let log = serving.log.lock().unwrap().clone();
    let dead = log.iter().find(|line| line.contains("is dead")).unwrap();
    assert!(
        dead.contains(&format!("pid={} name=", child.pid())),
        "{dead}"
    );
    assert!(dead.contains("name=joining"), "{dead}");
    assert!(serving.stat().charged_bytes >= 8 * MIB);
    let again = RawClient::connect(&serving.socket).unwrap();
    let welcome = again.join(Join::default()).unwrap();
    assert_eq!(
        welcome.granted_bytes, 0,
        "it holds nothing, by its own account"
    );
}

#[test]
fn one_connection_of_a_process_joins() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let first = RawClient::connect(&serving.socket).unwrap();
    first.join(Join::default()).unwrap();
    let second = RawClient::connect(&serving.socket).unwrap();
    let refusal = second.join(Join::default()).unwrap_err();
    assert_eq!(refusal.why, WhyRefused::AlreadyJoined);
    assert!(second.is_ended());
    first.ask(1, MIB).unwrap();
    assert!(
        matches!(first.next(), ToClient::Credit(_)),
        "the first is not disturbed"
    );
}

#[test]
fn versions_that_are_not_served_are_told_which_are() {
    let dir = tempfile::tempdir().unwrap();
    for newest in [2, 3] {
        let serving = Serving::start_with(dir.path(), 64 * MIB, |options| {
            options.served = Served::by(newest);
        });
        for version in [0, 1, 2, 3, 4, u16::MAX] {
            let client = RawClient::connect(&serving.socket).unwrap();
            let opening = Opening::Join(Join::default()).encode_as(version);
            let (reception, served) = client.open(&opening);
            assert_eq!(served, Served::by(newest));
            let is_served = served.has(version);
            match reception {
                Some(Reception::Welcome(_)) => assert!(is_served, "{version} of {newest}"),
                Some(Reception::Refused(refusal)) => {
                    assert!(!is_served, "{version} of {newest}");
                    assert_eq!(refusal.why, WhyRefused::Version);
                    let told = format!("you speak {version}: update the ");
                    assert!(refusal.text.contains(&told), "{}", refusal.text);
                    assert!(client.is_ended());
                }
                other => panic!("{other:?}"),
            }
            drop(client);
            until("it has parted", || {
                let replies = common::operate_as(&serving.socket, OperatorRequest::Stat, newest);
                matches!(&replies[0], ToOperator::Summary(summary) if summary.clients == 0)
            });
        }
    }
    assert!(
        Served::by(2).has(VERSION),
        "what is tested here is the version before"
    );
}

#[test]
fn what_is_no_opening_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    for bytes in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        b"vidmm\0",
        b"vidmm\0\x01\x00\xff\xff",
    ] {
        let client = RawClient::connect(&serving.socket).unwrap();
        match client.open(bytes).0 {
            Some(Reception::Refused(refusal)) => {
                assert_eq!(refusal.why, WhyRefused::Malformed);
                assert!(refusal.text.contains("protocol"), "{}", refusal.text);
            }
            other => panic!("{other:?}"),
        }
        assert!(client.is_ended());
    }
}

#[test]
fn a_process_has_eight_connections_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let connect = || RawClient::connect(&serving.socket).unwrap();
    let first = connect();
    first.join(Join::default()).unwrap();
    let others: Vec<RawClient> = (0..7).map(|_| connect()).collect();
    let ninth = connect();
    match Reception::decode(&ninth.receive().unwrap()).unwrap().0 {
        Some(Reception::Refused(refusal)) => assert_eq!(refusal.why, WhyRefused::Full),
        other => panic!("{other:?}"),
    }
    // Those that say nothing are gone after a second; the one that joined stays.
    assert!(others.iter().all(RawClient::is_ended));
    first.ask(1, MIB).unwrap();
    assert!(matches!(first.next(), ToClient::Credit(_)));
}
