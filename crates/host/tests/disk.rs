//! A ledger whose disk is full: what cannot be recorded is not granted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;
#[path = "common/forked.rs"]
mod forked;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{MIB, Player, RawClient, stat};
use forked::Crowd;
use vidmm_wire::{Join, ToClient, WhyRefused};

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

/// A server whose folder is a file system of its own, of so many KiB; and the folder as others see
/// it. `None`: this machine does not let us.
fn server_on_small_disk(dir: &Path, kib: u32) -> Option<(Player, PathBuf)> {
    let mount = format!(
        "mount -t tmpfs -o size={kib}k none {} && exec \"$@\"",
        dir.display()
    );
    let in_namespace = |program: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &mount,
            "sh",
            program,
        ]);
        command
    };
    let allowed = in_namespace("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no file system of our own can be mounted here");
        return None;
    }
    let program = std::env::current_exe().unwrap();
    let mut server = Player::start_by(
        &mut in_namespace(program.to_str().unwrap()),
        &[
            ("PLAY", "server".to_owned()),
            ("SOCKET", dir.join("m").display().to_string()),
            ("BUDGET", (64 * MIB).to_string()),
        ],
    );
    assert!(server.line().starts_with("serving"));
    let seen = format!("/proc/{}/root{}/m", server.pid(), dir.display());
    Some((server, seen.into()))
}

#[test]
fn whom_the_ledger_does_not_take_is_refused_and_all_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    // Room for the lock and for 256 records, not for 512.
    let Some((_server, socket)) = server_on_small_disk(dir.path(), 32) else {
        return;
    };
    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
    let mut crowd = Crowd::new();
    assert_eq!(crowd.join(&socket, 300), 255, "there is room for 256");
    // Who has an entry gets credit, since that is written in its place.
    client.ask(1, MIB).unwrap();
    let ToClient::Credit(credit) = client.next() else {
        panic!("no credit");
    };
    let mut late = Player::client(&socket, 0);
    let answer = late.line();
    let unrecorded = format!("refused {:?}", WhyRefused::Unrecorded);
    assert!(answer.starts_with(&unrecorded), "{answer}");
    assert_eq!(stat(&socket).charged_bytes, credit.granted_bytes);
    crowd.end();
    common::until("slots are free again", || {
        Player::client(&socket, 0).line() == "welcome 0"
    });
}
