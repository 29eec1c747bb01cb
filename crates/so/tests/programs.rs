//! C programs that use the library as hard as they can: the documented case, every wrong call, eight
//! threads on one device, `fork` at any moment. As they are, and under the sanitizers.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::{Language, compile, library_folder, root, run, run_anyway, skipped};
use tempfile::TempDir;

/// Only what the programs do themselves discards anything.
const QUIET: (&str, &str) = ("VIDMM_PRESSURE", "off");
/// The rule of which the order within a class is known.
const OLDEST_FIRST: (&str, &str) = ("VIDMM_POLICY", "oldest-first");

/// Calls that must be refused, by program: at least so many are tried, so that a table cannot shrink
/// unseen.
const WRONG_CALLS: [(&str, usize); 6] = [
    ("bad_objects", 766),
    ("bad_create", 783),
    ("bad_lists", 1049),
    ("bad_destroy", 441),
    ("bad_notices", 221),
    ("bad_shared", 208),
];

/// The ways through the documented case.
const WAYS: [&str; 5] = ["v1", "null", "resources", "v2", "decommit"];

const ALLOCATION_BYTES: u64 = 64 << 10;

const THREADS_BUDGET: (&str, &str) = ("VIDMM_BUDGET", "32M");

/// What instruments a C program for address and undefined behaviour.
const SANITIZED: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// A program of `tests/c`, and the folder that it is in.
struct Program {
    file: PathBuf,
    _folder: TempDir,
}

impl Program {
    /// Nothing, and a line says so, if it cannot be compiled here.
    fn new(name: &str, flags: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let source = format!("crates/so/tests/c/{name}.c");
        let file = compile(folder.path(), &source, Language::C, flags)?;
        Some(Program {
            file,
            _folder: folder,
        })
    }

    /// What it prints with these arguments; it must succeed.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        run(&self.file, arguments, variables)
    }
}

/// Whether C programs can be instrumented here.
fn can_sanitize() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("nothing.c");
        std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        let compiled = Command::new("cc")
            .args(SANITIZED)
            .arg(&source)
            .arg("-o")
            .arg(folder.path().join("nothing"))
            .output();
        let can = compiled.is_ok_and(|output| output.status.success());
        if !can {
            skipped("the C compiler here has no address and undefined-behaviour sanitizers");
        }
        can
    })
}

fn documented_case(program: &Program, way: &str, count: u64) {
    let (budget, count) = ((count * ALLOCATION_BYTES).to_string(), count.to_string());
    let variables = [
        QUIET,
        ("VIDMM_BUDGET", budget.as_str()),
        // What a sanitizer keeps back of freed memory would be counted with what is held.
        ("ASAN_OPTIONS", "quarantine_size_mb=1"),
    ];
    assert_eq!(program.run(&[way, &count], &variables), "done\n", "{way}");
}

/// One way after the other: each fills 625 MiB.
#[test]
fn the_documented_case_with_10_000_allocations() {
    let Some(program) = Program::new("documented_case", &[]) else {
        return;
    };
    for way in WAYS {
        documented_case(&program, way, 10_000);
    }
}

fn wrong_calls(flags: &[&str]) {
    for (name, at_least) in WRONG_CALLS {
        let Some(program) = Program::new(name, flags) else {
            return;
        };
        let said = program.run(&[], &[QUIET]);
        let count = said.trim().strip_prefix("wrong calls: ").unwrap();
        let count: usize = count.parse().unwrap();
        assert!(count >= at_least, "{name}: only {count} wrong calls");
    }
}

#[test]
fn every_wrong_call_has_its_status_and_changes_nothing() {
    wrong_calls(&[]);
}

#[test]
fn an_environment_that_cannot_be_used_is_said_once_and_fails_every_call() {
    let Some(program) = Program::new("environment", &[]) else {
        return;
    };
    let output = run_anyway(
        &program.file,
        &["unusable"],
        &[("VIDMM_BUDGET", "nonsense")],
    );
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("VIDMM_BUDGET") && said.contains("nonsense"),
        "{said}"
    );
}

#[test]
fn a_child_without_the_memory_is_a_removed_device() {
    if let Some(program) = Program::new("environment", &[]) {
        program.run(&["left-out"], &[QUIET, ("VIDMM_FORK", "drop")]);
    }
}

#[test]
fn eight_threads_on_one_device() {
    if let Some(program) = Program::new("threads", &[]) {
        program.run(&["6000"], &[QUIET, THREADS_BUDGET]);
    }
}

#[test]
fn two_processes_with_one_resource() {
    if let Some(program) = Program::new("shared", &[]) {
        program.run(&[], &[QUIET]);
    }
}

#[test]
fn children_made_at_any_moment() {
    if let Some(program) = Program::new("fork", &[]) {
        program.run(&["50"], &[QUIET]);
    }
}

#[test]
fn functions_of_the_program_are_called_until_they_are_unregistered() {
    if let Some(program) = Program::new("notices", &[]) {
        assert_eq!(program.run(&["all"], &[QUIET]), "done\n");
        let variables = [QUIET, ("VIDMM_AGENT", "off")];
        assert_eq!(program.run(&["without-agent"], &variables), "done\n");
    }
}

#[test]
fn clean_under_the_address_and_undefined_behaviour_sanitizers() {
    if !can_sanitize() {
        return;
    }
    wrong_calls(&SANITIZED);
    for name in ["decisions", "knobs", "shared"] {
        if let Some(program) = Program::new(name, &SANITIZED) {
            program.run(&[], &[QUIET, OLDEST_FIRST]);
        }
    }
    if let Some(program) = Program::new("documented_case", &SANITIZED) {
        WAYS.iter()
            .for_each(|way| documented_case(&program, way, 800));
    }
    if let Some(program) = Program::new("threads", &SANITIZED) {
        program.run(&["1500"], &[QUIET, THREADS_BUDGET]);
    }
    if let Some(program) = Program::new("fork", &SANITIZED) {
        program.run(&["10"], &[QUIET]);
    }
    // Without children: a lock of this sanitizer's allocator may be held for ever in one that is made
    // while another thread allocates.
    if let Some(program) = Program::new("notices", &SANITIZED) {
        program.run(&["threads"], &[QUIET]);
    }
}

/// The library must be instrumented, too, down to the standard library: what it cannot see there, the
/// sanitizer takes for races.
#[test]
fn many_threads_under_the_thread_sanitizer() {
    let Some(sysroot) = printed("rustc", &["+nightly", "--print", "sysroot"]) else {
        return skipped("no nightly toolchain here, so no thread sanitizer");
    };
    let sysroot = PathBuf::from(sysroot.trim());
    if !sysroot.join("lib/rustlib/src/rust/library").exists() {
        return skipped(
            "no rust-src for the nightly toolchain, so no library that the thread sanitizer can \
             see into",
        );
    }
    let version = printed("rustc", &["+nightly", "-vV"]).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let target = library_folder().parent().unwrap().join("tsan");
    let built = Command::new("cargo")
        .args([
            "+nightly",
            "build",
            "--quiet",
            "-Zbuild-std",
            "-p",
            "vidmm-so",
        ])
        .args(["--target", host, "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "-Zsanitizer=thread")
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(root())
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    // Of the runtime there may be one only, and it must be that of the library's compiler.
    let runtime = sysroot
        .join("lib/rustlib")
        .join(host)
        .join("lib/librustc-nightly_rt.tsan.a");
    let folder = tempfile::tempdir().unwrap();
    let library = target.join(host).join("debug");
    let variables = [QUIET, THREADS_BUDGET, ("TSAN_OPTIONS", "halt_on_error=1")];
    for (name, argument) in [("threads", "300"), ("notices", "threads")] {
        let program = link_with(name, &runtime, &library, folder.path());
        run(&program, &[argument], &variables);
    }
}

/// A program of `tests/c`, instrumented, with this sanitizer's runtime and the library of this folder.
fn link_with(name: &str, runtime: &Path, library: &Path, folder: &Path) -> PathBuf {
    let (object, program) = (folder.join(format!("{name}.o")), folder.join(name));
    let compiled = Command::new("cc")
        .args([
            "-std=c11",
            "-g",
            "-pthread",
            "-fsanitize=thread",
            "-c",
            "-I",
        ])
        .arg(root().join("include"))
        .arg(root().join(format!("crates/so/tests/c/{name}.c")))
        .arg("-o")
        .arg(&object)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{compiled:?}");
    let linked = Command::new("cc")
        .args(["-pthread", "-Wl,--export-dynamic", "-Wl,--whole-archive"])
        .arg(runtime)
        .arg("-Wl,--no-whole-archive")
        .arg(&object)
        .arg("-L")
        .arg(library)
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .args(["-lvidmm", "-ldl", "-lm", "-lrt", "-o"])
        .arg(&program)
        .output()
        .unwrap();
    assert!(linked.status.success(), "{linked:?}");
    program
}

/// What a program prints, if it is there and succeeds.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUSTUP_TOOLCHAIN");
    let output = command.output().ok()?;
    let succeeded = output.status.success();
    succeeded.then(|| String::from_utf8(output.stdout).unwrap())
}
