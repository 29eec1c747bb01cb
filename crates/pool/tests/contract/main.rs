//! The engine is held to the contract: as a program gets it, and with all aids for debugging on.
#![cfg(target_os = "linux")]

mod driver;

mod plain {
    vidmm_contract::contract_tests!(crate::driver::Engines::plain());
}

mod debugging {
    vidmm_contract::contract_tests!(crate::driver::Engines::debugging());
}

/// There is nothing in the contract that the engine cannot do.
#[test]
fn no_case_is_skipped() {
    for case in vidmm_contract::cases() {
        let done = (case.run)(&mut driver::Engines::plain());
        assert_eq!(done, Ok(()), "{}", case.name);
    }
}
