//! Talking to managers that are not as they should be.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use vidmm_wire::{
    CommandFailed, OperatorRequest, Reception, Refusal, Served, ToOperator, WhyRefused, encode,
};

use super::fake::{FakeManager, client, done, read, summary, write};
use super::*;

fn snapshot_at(path: &Path) -> Result<Snapshot, OperatorError> {
    Snapshot::ask(&mut Link::connect(&Place::at(path))?)
}

/// What is said of a manager that does `handle` with a connection.
fn said(handle: impl Fn(std::os::fd::OwnedFd) + Send + 'static) -> String {
    let manager = FakeManager::handling(handle);
    snapshot_at(&manager.socket()).unwrap_err().to_string()
}

#[test]
fn a_snapshot_has_all_that_was_told() {
    let manager = FakeManager::answering(|_| {
        vec![
            ToOperator::Summary(summary()),
            ToOperator::Client(client(1, "a\x1b[2Jb", 5)),
            ToOperator::Client(client(2, "c", 6)),
            done(),
        ]
    });
    let mut link = Link::connect(&Place::at(&manager.socket())).unwrap();
    // Twice: the second request goes another way than the first.
    for _ in 0..2 {
        let snapshot = Snapshot::ask(&mut link).unwrap();
        assert_eq!(snapshot.summary, summary());
        assert_eq!(snapshot.clients.len(), 2);
        assert_eq!(snapshot.name_of(1), Some("a?[2Jb"));
        assert_eq!(snapshot.name_of(3), None);
    }
}

#[test]
fn nobody_there_says_how_to_start_a_manager() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent.sock");
    let left = directory.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    let said = Link::connect(&Place(vec![absent.clone(), left.clone()]))
        .unwrap_err()
        .to_string();
    for part in [
        "no socket",
        "absent.sock",
        "any more",
        "left.sock",
        "vidmm serve",
        "--socket",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[test]
fn the_first_place_where_somebody_listens_is_taken() {
    let manager = FakeManager::answering(|_| vec![ToOperator::Summary(summary()), done()]);
    let absent = manager.directory().join("absent.sock");
    let mut link = Link::connect(&Place(vec![absent, manager.socket()])).unwrap();
    assert!(Snapshot::ask(&mut link).is_ok());
    assert_eq!(link.path(), manager.socket());
}

#[test]
fn other_things_are_not_taken_for_a_manager() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"x").unwrap();
    let stream = directory.path().join("stream.sock");
    let _listener = UnixListener::bind(&stream).unwrap();
    let long = directory.path().join("n".repeat(200));
    for path in [&file, &stream, &long] {
        let error = snapshot_at(path).unwrap_err();
        assert!(
            matches!(error, OperatorError::NotVidmm(..)),
            "{path:?}: {error}"
        );
    }
    let said = said(|connection| write(&connection, b"220 mail.example ESMTP"));
    assert!(said.contains("no socket of a vidmm manager"), "{said}");
}

#[test]
fn a_manager_of_another_version_is_named() {
    let served = Served {
        oldest: 7,
        newest: 8,
    };
    // In a form of its own, which nobody here can read.
    let said_so = said(move |connection| {
        read(&connection);
        let mut packet = Reception::Operating.encode(served);
        packet.truncate(10);
        packet.extend([99, 99, 99]);
        write(&connection, &packet);
    });
    assert!(
        said_so.contains("versions 7 to 8") && said_so.contains("version 1"),
        "{said_so}"
    );
    let said_so = said(|connection| {
        read(&connection);
        let refusal = Refusal {
            why: WhyRefused::Version,
            text: String::new(),
        };
        write(
            &connection,
            &Reception::Refused(refusal).encode(Served {
                oldest: 3,
                newest: 3,
            }),
        );
    });
    assert!(said_so.contains("version 3 of"), "{said_so}");
}

#[test]
fn a_refusal_is_told_in_the_managers_words_without_obeying_them() {
    let said = said(|connection| {
        read(&connection);
        let refusal = Refusal {
            why: WhyRefused::Full,
            text: "as many operators as may be\x1b[31m".to_owned(),
        };
        write(
            &connection,
            &Reception::Refused(refusal).encode(Served::default()),
        );
    });
    assert!(said.contains("as many operators as may be?[31m"), "{said}");
}

#[test]
fn a_hung_manager_costs_one_deadline() {
    let start = Instant::now();
    let manager = FakeManager::handling(|connection| {
        // Never reads, never answers, never closes.
        std::mem::forget(connection);
    });
    let error = snapshot_at(&manager.socket()).unwrap_err();
    assert!(matches!(error, OperatorError::Silent { .. }), "{error}");
    assert!(error.to_string().contains("within 2s"), "{error}");
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

#[test]
fn a_manager_that_goes_away_is_noticed() {
    let error = said(|connection| {
        read(&connection);
        write(&connection, &Reception::Operating.encode(Served::default()));
        write(
            &connection,
            &encode(&ToOperator::Summary(summary())).unwrap(),
        );
    });
    assert!(error.contains("in the middle of an answer"), "{error}");
}

#[test]
fn an_answer_without_end_ends() {
    let error = said(|connection| {
        read(&connection);
        write(&connection, &Reception::Operating.encode(Served::default()));
        let packet = encode(&ToOperator::Client(client(1, "x", 1))).unwrap();
        for _ in 0..70_000 {
            write(&connection, &packet);
        }
    });
    assert!(error.contains("does not end"), "{error}");
}

#[test]
fn garbage_in_an_answer_is_no_crash() {
    for packet in [
        &[200_u8, 1, 2][..],
        &[0],
        &[1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
    ] {
        let packet = packet.to_vec();
        let error = said(move |connection| {
            read(&connection);
            write(&connection, &Reception::Operating.encode(Served::default()));
            write(&connection, &packet);
        });
        assert!(error.contains("no socket of a vidmm manager"), "{error}");
    }
}

#[test]
fn refused_requests_say_what_to_do() {
    for (why, part) in [
        (CommandFailed::NotAllowed, "root"),
        (
            CommandFailed::BadBudget("below \x07reservations".into()),
            "below ?reservations",
        ),
        (CommandFailed::Busy, "try again"),
    ] {
        let manager = FakeManager::answering(move |_| vec![ToOperator::Failed(why.clone())]);
        let mut link = Link::connect(&Place::at(&manager.socket())).unwrap();
        let error = link
            .ask(OperatorRequest::Trim { bytes: 1 }, |_| ())
            .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
