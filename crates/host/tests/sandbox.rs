//! A manager that has given up its rights: it serves, and can do nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use std::path::Path;

use common::{MIB, Player, RawClient};
use vidmm_wire::{Join, ToClient};

#[test]
#[ignore = "played by the other tests"]
fn player() {
    common::play();
}

/// The value of a line of a process's status.
fn status_of(pid: u32, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim().to_owned())
}

/// By asking for its version.
#[expect(unsafe_code, reason = "there is no safe call")]
fn kernel_has_landlock() -> bool {
    let version_flag = 1;
    let nothing = std::ptr::null::<u8>();
    // SAFETY: with this flag the call takes no memory.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, version_flag) };
    version >= 1
}

#[test]
fn a_sandboxed_manager_serves_and_can_do_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let mut server = Player::start(&[
        ("PLAY", "server".to_owned()),
        ("SOCKET", socket.display().to_string()),
        ("BUDGET", (64 * MIB).to_string()),
        ("SANDBOX", "on".to_owned()),
    ]);
    assert!(server.line().starts_with("serving"));
    let client = RawClient::connect(&socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 8 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    let mut child = Player::client(&socket, 0);
    assert_eq!(child.line(), "welcome 0");
    child.tell(&format!("ask {MIB}"));
    assert!(child.line().starts_with("credit"));
    child.kill();
    common::until("its death is seen", || {
        client.catch_up();
        common::stat(&socket).clients == 1
    });
    if !Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        println!("SKIPPED: this kernel has no seccomp filters");
        return;
    }
    assert_eq!(status_of(server.pid(), "Seccomp:").as_deref(), Some("2"));
    server.tell("end");
    assert_eq!(server.line(), "ended");
    assert!(!socket.exists(), "it may still remove what it made");
    let (eperm, eacces) = (libc::EPERM, libc::EACCES);
    assert_eq!(server.line(), format!("exec {eperm}"));
    assert_eq!(server.line(), format!("network {eperm}"));
    let foreign = server.line();
    if !kernel_has_landlock() {
        println!("SKIPPED: this kernel has no Landlock");
        return;
    }
    assert_eq!(foreign, format!("foreign {eacces}"));
    assert_eq!(server.line(), format!("make {eacces}"));
    assert_eq!(server.line(), "proc 0");
}
