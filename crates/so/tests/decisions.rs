//! What was decided where the documentation is silent, by number, and the knobs for testers: C
//! programs that show each.

mod common;

use common::{Language, compile, run};

/// Deterministic: only what the programs do themselves discards anything, in an order that is known.
const QUIET: [(&str, &str); 2] = [("VIDMM_PRESSURE", "off"), ("VIDMM_POLICY", "oldest-first")];

/// Those of the decisions that touch a function of the library. The others are about functions that
/// it does not have: 8, 9, 17, 20, 22.
const DECISIONS: [u32; 18] = [
    1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 18, 19, 21, 23,
];

#[test]
fn each_decision_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "crates/so/tests/c/decisions.c";
    let Some(program) = compile(folder.path(), source, Language::C, &[]) else {
        return;
    };
    let shown = run(&program, &[], &QUIET);
    let wanted: Vec<String> = DECISIONS.iter().map(|n| format!("9.{n}")).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn the_knobs_of_testers_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "crates/so/tests/c/knobs.c";
    let Some(program) = compile(folder.path(), source, Language::C, &[]) else {
        return;
    };
    assert_eq!(run(&program, &[], &QUIET), "all knobs work\n");
}
