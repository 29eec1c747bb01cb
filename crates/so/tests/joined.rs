//! A C program whose budget is a manager's.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/manager.rs"]
mod manager;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use manager::Manager;

const MIB: u64 = 1 << 20;

#[test]
fn budget_reservation_and_trims_reach_a_c_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "crates/so/tests/c/joined.c";
    let Some(program) = common::compile(folder.path(), source, common::Language::C, &[]) else {
        return;
    };
    let manager = Manager::start(64 * MIB);
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VIDMM_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .env("VIDMM_SOCKET", manager.socket())
        .env("VIDMM_MODE", "shared")
        .env("VIDMM_PRESSURE", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a program that was compiled starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut tell = |number: u64| writeln!(input, "{number}").expect("it lives");
    let mut hear = |word: &str| {
        let line = lines.next().expect("it says something").expect("a pipe");
        assert_eq!(line, word);
    };
    tell(64 * MIB);
    hear("registered");
    manager.set_budget(48 * MIB);
    tell(48 * MIB);
    hear("offered");
    assert_eq!(manager.trim(MIB), 0, "what is reserved stays");
    tell(0);
    hear("offered");
    assert_eq!(manager.trim(MIB), MIB);
    tell(0);
    hear("done");
    assert!(child.wait().expect("it was not waited for").success());
}
