//! The socket's place: who may have it, what is left behind, what is in the way.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use common::{MIB, RawClient, Serving, options, server_process};
use vidmm_host::{Audience, HostError, Server};
use vidmm_wire::Join;

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

#[test]
fn a_second_manager_names_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let first = server_process(&socket, 64 * MIB);
    let error = Server::bind(options(&socket, 64 * MIB).0).unwrap_err();
    assert!(
        matches!(&error, HostError::Taken { pid, .. } if *pid == Some(first.pid())),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", first.pid())) && text.contains("--socket"));
    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
}

#[test]
fn a_killed_managers_socket_is_replaced_and_a_stopped_one_leaves_the_ledger_only() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    server_process(&socket, 64 * MIB).kill();
    assert!(socket.exists(), "it could not clean up");
    let mut serving = Serving::start(dir.path(), 64 * MIB);
    assert!(serving.has_logged("replaced a socket"));
    assert!(serving.stat().incarnation > 1);
    serving.stop();
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["m.sock.ledger"]);
}

#[test]
fn whose_socket_it_is_decides_who_may_connect() {
    let dir = tempfile::tempdir().unwrap();
    for (audience, folder_mode, socket_mode) in [
        (Audience::User, 0o700, 0o600),
        (Audience::System, 0o755, 0o666),
    ] {
        let folder = dir.path().join(format!("{audience:?}"));
        let socket = folder.join("m.sock");
        let (mut options, _) = options(&socket, 64 * MIB);
        options.audience = Some(audience);
        let server = Server::bind(options).unwrap();
        let mode = |path: &std::path::Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode(&folder), folder_mode);
        assert_eq!(mode(server.socket_path()), socket_mode);
        assert_eq!(mode(&folder.join("m.sock.ledger")), 0o600);
    }
}

#[test]
fn what_is_in_the_way_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    std::fs::write(&socket, "precious").unwrap();
    let error = Server::bind(options(&socket, 64 * MIB).0).unwrap_err();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read(&socket).unwrap(), b"precious");
    std::fs::remove_file(&socket).unwrap();

    // Somebody else's program that listens there and knows no lock.
    let listener = UnixListener::bind(&socket).unwrap();
    let error = Server::bind(options(&socket, 64 * MIB).0).unwrap_err();
    assert!(
        matches!(error, HostError::Taken { pid: None, .. }),
        "{error:?}"
    );
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
    drop(listener);
    let names = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1, "a failed start leaves nothing of its own");
}

#[test]
fn places_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(120)).join("m.sock");
    let error = Server::bind(options(&long, 64 * MIB).0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("107 at most"), "{error}");
    assert!(!long.parent().unwrap().exists());

    let deep = dir.path().join("a/b/m.sock");
    let error = Server::bind(options(&deep, 64 * MIB).0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("create the directory first"), "{error}");

    // Anybody could put another socket in the place of this one.
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Server::bind(options(&open.join("m.sock"), 64 * MIB).0).unwrap_err();
    assert!(
        matches!(error, HostError::UnsafeDirectory { .. }),
        "{error:?}"
    );
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(Server::bind(options(&open.join("m.sock"), 64 * MIB).0).is_ok());
}

#[test]
fn a_budget_above_the_machines_memory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Server::bind(options(&dir.path().join("m.sock"), 1 << 60).0).unwrap_err();
    assert!(
        matches!(error, HostError::BudgetAboveMemory { .. }),
        "{error:?}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_ledger_of_noise_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m.sock.ledger"), "noise ".repeat(100)).unwrap();
    let error = Server::bind(options(&dir.path().join("m.sock"), 64 * MIB).0).unwrap_err();
    assert!(error.to_string().contains("remove it"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
