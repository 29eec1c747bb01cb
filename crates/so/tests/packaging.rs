//! What the library exports, what the linker knows of it, and that it can be installed and found.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::{library_folder, root, run_anyway, skipped};
use vidmm_abi::FUNCTIONS;

/// What a tool of the machine prints; nothing, and a line says so, if it is not there.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        skipped(&format!("no {program} here"));
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn exactly_the_functions_of_the_table_are_exported() {
    let library = library_folder().join("libvidmm.so");
    let arguments = ["-D", "--defined-only", library.to_str().unwrap()];
    let Some(listing) = printed("nm", &arguments) else {
        return;
    };
    let exported: BTreeSet<&str> = listing
        .lines()
        .map(|line| line.split_whitespace().last().unwrap())
        .collect();
    let wanted: BTreeSet<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(exported, wanted);
    assert_eq!(wanted.len(), 28);
}

#[test]
fn it_has_its_name_and_stays_loaded() {
    let library = library_folder().join("libvidmm.so");
    let Some(listing) = printed("readelf", &["-d", library.to_str().unwrap()]) else {
        return;
    };
    let line = |word: &str| listing.lines().find(|line| line.contains(word)).unwrap();
    assert!(line("SONAME").contains("[libvidmm.so]"), "{listing}");
    assert!(line("FLAGS_1").contains("NODELETE"), "{listing}");
    // Nothing that a fresh Debian does not have.
    let known = ["libc.so", "libgcc_s.so", "ld-linux"];
    for needed in listing.lines().filter(|line| line.contains("NEEDED")) {
        assert!(known.iter().any(|name| needed.contains(name)), "{needed}");
    }
}

fn install(library: &Path, prefix: &Path) -> std::process::Output {
    Command::new(root().join("packaging/install.sh"))
        .arg(prefix)
        .env("LIBRARY", library)
        .output()
        .unwrap()
}

#[test]
fn installed_it_is_found_by_pkg_config_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("prefix with a space");
    let installed = install(&library_folder().join("libvidmm.so"), &prefix);
    assert!(installed.status.success(), "{installed:?}");
    let asked = Command::new("pkg-config")
        .args(["--modversion", "vidmm"])
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
        .output();
    let Ok(answer) = asked else {
        skipped("no pkg-config here");
        return;
    };
    let version = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));

    // As the pages say it is done, by a shell.
    let program = folder.path().join("program");
    let line = format!(
        "eval cc '{source}' $(pkg-config --cflags --libs vidmm) -o '{program}'",
        source = root().join("examples/c/offer_reclaim.c").display(),
        program = program.display(),
    );
    let compiled = Command::new("sh")
        .args(["-c", &line])
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
        .output()
        .unwrap();
    if String::from_utf8_lossy(&compiled.stderr).contains("not found") {
        skipped("no cc here");
        return;
    }
    assert!(compiled.status.success(), "{compiled:?}");
    let path = prefix.join("lib");
    let output = run_anyway(
        &program,
        &[],
        &[("LD_LIBRARY_PATH", path.to_str().unwrap())],
    );
    assert_eq!(
        output.stdout, b"intact: 7\ndiscarded, rebuilt: 7\n",
        "{output:?}"
    );
}

#[test]
fn what_is_not_built_is_not_installed_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("prefix");
    let refused = install(&folder.path().join("libvidmm.so"), &prefix);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("cargo build --release --workspace"), "{said}");
    assert!(!prefix.exists());
}
