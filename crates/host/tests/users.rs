//! Two users at one manager: each sees and orders what is its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{MIB, Player, RawClient, Serving, options};
use vidmm_host::{Audience, Server};
use vidmm_wire::{Join, ToClient};

/// A user that owns nothing.
const STRANGER: u32 = 65_534;

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

/// A folder that everybody may enter, with a copy of this program.
fn open_folder() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can start a program as another user");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    Some((dir, program))
}

fn stranger(program: &Path, play: &str, socket: &Path) -> Player {
    Player::start_by(
        Command::new(program).uid(STRANGER).gid(STRANGER),
        &[
            ("PLAY", play.to_owned()),
            ("SOCKET", socket.display().to_string()),
            ("HELD", "0".to_owned()),
            ("BUDGET", MIB.to_string()),
        ],
    )
}

#[test]
fn another_user_joins_sees_what_is_its_own_and_gives_no_orders() {
    let Some((dir, program)) = open_folder() else {
        return;
    };
    let serving = Serving::start_with(dir.path(), 64 * MIB, |options| {
        options.audience = Some(Audience::System);
    });
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 4 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    let mut other = stranger(&program, "client", &serving.socket);
    assert_eq!(other.line(), "welcome 0");
    other.tell(&format!("ask {MIB}"));
    assert!(other.line().starts_with("credit"));

    let mut looks = stranger(&program, "stat", &serving.socket);
    let summary = looks.line();
    assert!(summary.contains("hidden: 1"), "{summary}");
    let row = looks.line();
    assert!(row.contains(&format!("uid: {STRANGER}")), "{row}");
    assert!(looks.line().starts_with("Done"), "no other row");
    let mut acts = stranger(&program, "trim", &serving.socket);
    let answer = acts.line();
    assert!(answer.contains("NotAllowed"), "{answer}");
}

#[test]
fn another_users_manager_is_out_of_reach() {
    let Some((dir, program)) = open_folder() else {
        return;
    };
    let socket = dir.path().join("m.sock");
    let _mine = Server::bind(options(&socket, 64 * MIB).0).unwrap();
    let mut other = stranger(&program, "client", &socket);
    let status = other.child.wait().unwrap();
    assert!(!status.success(), "mode 0600 keeps it out");
    // Neither can it take a place that is not its own.
    let mut server = stranger(&program, "server", &dir.path().join("other.sock"));
    assert!(!server.child.wait().unwrap().success());
    assert!(!dir.path().join("other.sock").exists());
}
