//! The C ABI is held to the contract: a C program serves each face, as a program gets the library,
//! with all aids for debugging on, and joined to a manager that has the budget.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
mod driver;
mod kernel;
#[path = "../common/manager.rs"]
mod manager;
mod places;
mod program;

mod plain {
    vidmm_contract::contract_tests!(crate::driver::CAbi::plain());
}

mod debugging {
    vidmm_contract::contract_tests!(crate::driver::CAbi::debugging());
}

mod joined {
    vidmm_contract::contract_tests!(crate::driver::CAbi::joined());
}

/// There is nothing in the contract that the C ABI cannot do.
#[test]
fn no_case_is_skipped() {
    if program::executable().is_err() {
        // There is no C compiler, and that was said.
        return;
    }
    for case in vidmm_contract::cases() {
        for mut face in [driver::CAbi::plain(), driver::CAbi::joined()] {
            let done = (case.run)(&mut face);
            assert_eq!(done, Ok(()), "{}", case.name);
        }
    }
}
