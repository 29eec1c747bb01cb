//! The C ABI is held to the contract: a C program serves each face, as a program gets the library
//! and with all aids for debugging on.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
mod driver;
mod kernel;
mod places;
mod program;

mod plain {
    vidmm_contract::contract_tests!(crate::driver::CAbi::plain());
}

mod debugging {
    vidmm_contract::contract_tests!(crate::driver::CAbi::debugging());
}

/// There is nothing in the contract that the C ABI cannot do.
#[test]
fn no_case_is_skipped() {
    if program::executable().is_err() {
        // There is no C compiler, and that was said.
        return;
    }
    for case in vidmm_contract::cases() {
        let done = (case.run)(&mut driver::CAbi::plain());
        assert_eq!(done, Ok(()), "{}", case.name);
    }
}
