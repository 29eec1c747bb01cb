//! The Rust API is held to the contract.
#![cfg(target_os = "linux")]

mod driver;

vidmm_contract::contract_tests!(crate::driver::RustApi);

/// What the types of this API make impossible to say; everything else has to run.
const INEXPRESSIBLE: [&str; 3] = [
    "a_name_that_was_destroyed_names_nothing_again",
    "groups_of_a_list_answer_each_for_itself",
    // But for its last call, a version 1 reclaim of a group with a dead member.
    "not_committed_is_worse_than_discarded",
];

#[test]
fn no_other_case_is_skipped() {
    let cases = vidmm_contract::cases();
    let skipped: Vec<&str> = cases
        .iter()
        .filter(|case| (case.run)(&mut driver::RustApi).is_err())
        .map(|case| case.name)
        .collect();
    let mut inexpressible = INEXPRESSIBLE.to_vec();
    inexpressible.sort_by_key(|&name| cases.iter().position(|case| case.name == name));
    assert_eq!(skipped, inexpressible);
}
