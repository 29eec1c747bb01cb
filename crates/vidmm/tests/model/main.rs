//! Random programs against a naive model: alone, where every answer, every error and every victim
//! is foretold; and by several threads, where contents are.
//!
//! `VIDMM_MODEL_CASES` and `VIDMM_MODEL_THREAD_CASES` say how many programs are tried.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod machine;
mod oracle;
mod programs;
mod threads;
#[path = "../together/mod.rs"]
mod together;

use machine::Machine;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use together::operations;

fn cases(variable: &str, default: u32) -> ProptestConfig {
    ProptestConfig {
        cases: u32::try_from(operations(variable, default.into())).unwrap(),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases("VIDMM_MODEL_CASES", 1500))]

    #[test]
    fn one_thread_does_as_the_model_says(
        budget_bytes in programs::budget().prop_map(|bytes| bytes.max(1)),
        program in programs::program(),
        oldest_first in any::<bool>(),
    ) {
        Machine::new(budget_bytes, oldest_first).run(&program);
    }
}

proptest! {
    #![proptest_config(cases("VIDMM_MODEL_THREAD_CASES", 150))]

    #[test]
    fn threads_find_their_contents(programs in threads::programs()) {
        threads::run(&programs);
    }
}
