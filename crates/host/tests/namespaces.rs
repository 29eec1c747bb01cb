//! Clients and managers in PID namespaces of their own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use std::process::Command;

use common::{MIB, Player, RawClient, Serving, until};
use vidmm_wire::{Join, WhyRefused};

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

/// A command that runs its first argument as the first process of a PID namespace.
fn in_namespace(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.arg(program);
    command
}

fn is_possible() -> bool {
    let possible = in_namespace("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !possible {
        println!("SKIPPED: no PID namespace can be made here");
    }
    possible
}

fn player_in_namespace(variables: &[(&str, String)]) -> Player {
    let program = std::env::current_exe().unwrap();
    Player::start_by(&mut in_namespace(program.to_str().unwrap()), variables)
}

#[test]
fn a_client_below_is_served_and_its_death_is_seen() {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), 64 * MIB);
    let mut client = player_in_namespace(&[
        ("PLAY", "client".to_owned()),
        ("SOCKET", serving.socket.display().to_string()),
        ("HELD", "0".to_owned()),
    ]);
    assert_eq!(client.line(), "welcome 0");
    client.tell(&format!("ask {}", 8 * MIB));
    assert!(client.line().starts_with("credit"));
    assert!(serving.stat().charged_bytes >= 8 * MIB);
    client.kill();
    until("its death is seen", || serving.stat().charged_bytes == 0);
}

#[test]
fn a_client_that_the_manager_cannot_see_is_told_what_to_do() {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let mut server = player_in_namespace(&[
        ("PLAY", "server".to_owned()),
        ("SOCKET", socket.display().to_string()),
        ("BUDGET", (64 * MIB).to_string()),
    ]);
    assert!(server.line().starts_with("serving"));
    let client = RawClient::connect(&socket).unwrap();
    let refusal = client.join(Join::default()).unwrap_err();
    assert_eq!(refusal.why, WhyRefused::Unseen);
    assert!(
        refusal.text.contains("VIDMM_MODE=embedded"),
        "{}",
        refusal.text
    );
}
