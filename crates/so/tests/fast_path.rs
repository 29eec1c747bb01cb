//! Offer and reclaim of intact memory through the C interface, by evidence: a program that the
//! kernel would kill for any system call, and that counts every call of the allocator, does nothing
//! else.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // Helpers are test code too, which the lint does not see.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use common::{Language, compile, run_anyway, skipped};
use tempfile::TempDir;

const PAIRS: u64 = 1_000_000;

/// Lists are repeated until at least so many items have been offered and have come back.
const ITEMS: u64 = 400_000;

/// More than anything here needs: nothing is discarded, whatever the machine has.
const ENVIRONMENT: [(&str, &str); 2] = [("VIDMM_PRESSURE", "off"), ("VIDMM_BUDGET", "4G")];

const SIGSEGV: i32 = 11;
const SIGSYS: i32 = 31;

/// The program, in a folder that goes with it.
struct Program {
    folder: TempDir,
}

impl Program {
    /// Nothing, and a line that says so, where it cannot be made.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if !cfg!(target_env = "gnu") {
            skipped("the allocator can be counted with the GNU C library only");
            return None;
        }
        let source = "crates/so/tests/c/fast_path.c";
        compile(folder.path(), source, Language::C, &["-O1"])?;
        Some(Program { folder })
    }

    /// Runs it; nothing comes back where system calls cannot be forbidden.
    fn run(&self, arguments: &str) -> Option<Output> {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let program = self.folder.path().join("fast_path");
        let output = run_anyway(&program, &arguments, &ENVIRONMENT);
        let text = text(&output.stdout);
        let reasons = text
            .lines()
            .filter_map(|line| line.strip_prefix("SKIPPED: "));
        reasons.for_each(skipped);
        (!text.contains("SKIPPED: no filter")).then_some(output)
    }

    /// So many items came back intact, without a system call and without the allocator.
    fn expect_done(&self, arguments: &str, items: u64) {
        self.expect_line(arguments, &format!("done {items} allocations 0"));
    }

    fn expect_line(&self, arguments: &str, wanted: &str) {
        let Some(output) = self.run(arguments) else {
            return;
        };
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{arguments}: {} (31 is a system call, 11 may be a clock)\n{said}{errors}",
            output.status
        );
        let last = said.lines().last();
        assert_eq!(last, Some(wanted), "{arguments}: {said}{errors}");
    }

    /// It was killed for what it did.
    fn expect_killed(&self, arguments: &str, by: &[i32]) {
        let Some(output) = self.run(arguments) else {
            return;
        };
        let signal = output.status.signal();
        assert!(
            signal.is_some_and(|signal| by.contains(&signal)),
            "{arguments}: {}: it was not noticed",
            output.status
        );
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What comes back of lists with so many items that count.
fn repeated(len: u64) -> u64 {
    len * ITEMS.div_ceil(len)
}

#[test]
fn a_million_pairs_whatever_the_size() {
    let Some(program) = Program::new() else {
        return;
    };
    for bytes in [4096, 1 << 30] {
        program.expect_done(&format!("pairs {bytes}"), PAIRS);
    }
}

#[test]
fn a_million_locks_and_unlocks() {
    let Some(program) = Program::new() else {
        return;
    };
    for bytes in [4096, 1 << 30] {
        program.expect_done(&format!("locks {bytes}"), PAIRS);
    }
}

#[test]
fn lists_of_all_lengths() {
    let Some(program) = Program::new() else {
        return;
    };
    for len in [2, 64, 1024, 10_240] {
        program.expect_done(&format!("list {len}"), repeated(len));
    }
}

#[test]
fn lists_of_all_lengths_through_a_paging_queue() {
    let Some(program) = Program::new() else {
        return;
    };
    for len in [1, 2, 64, 1024, 10_240] {
        program.expect_done(&format!("version2 {len}"), repeated(len));
    }
}

#[test]
fn resources_with_as_many_members_as_a_list_can_have_items() {
    let Some(program) = Program::new() else {
        return;
    };
    for (len, each) in [(1, 1), (64, 4), (2560, 4)] {
        let rounds = repeated(len * each) / (len * each);
        program.expect_done(&format!("resources {len} {each}"), rounds * len);
    }
}

#[test]
fn control_a_system_call_is_noticed() {
    if let Some(program) = Program::new() {
        program.expect_killed("system_call", &[SIGSYS]);
    }
}

#[test]
fn control_a_clock_is_noticed() {
    // Where clocks cannot be forbidden, reading one may need no system call.
    if !cfg!(target_arch = "x86_64") {
        skipped("clocks cannot be forbidden on this processor");
    } else if let Some(program) = Program::new() {
        program.expect_killed("clock", &[SIGSYS, SIGSEGV]);
    }
}

#[test]
fn control_an_allocation_of_the_program_is_counted() {
    if let Some(program) = Program::new() {
        program.expect_line("allocation", "done 1 allocations 2");
    }
}

/// Four members more than the stack of a call has room for: the library asks the allocator, and the
/// program that is asked counts it.
#[test]
fn control_an_allocation_of_the_library_is_counted() {
    let Some(output) = Program::new().and_then(|program| program.run("library 2561 4")) else {
        return;
    };
    let said = text(&output.stdout);
    let counted = said.trim().rsplit(' ').next();
    let counted: u64 = counted.unwrap_or_default().parse().unwrap();
    assert!(said.starts_with("done ") && counted > 0, "{said}");
}
