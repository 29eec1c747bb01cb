//! The contract of vidmm as named cases that every face must pass.
//!
//! A face - the Rust API, the C ABI, the emulated device, each embedded or joined to a manager -
//! brings a driver: a [`FaceFactory`] whose [`Face`]s have a fresh pool each. [`contract_tests!`]
//! then makes one test per case:
//!
//! ```text
//! vidmm_contract::contract_tests!(MyFactory::default());
//! ```
//!
//! A case that a face cannot express (a type-safe API cannot name what is no more) ends with a
//! printed `SKIPPED: reason`; which cases those may be is for the driver's tests to limit.
//!
//! **Owns:** the cases, one or more for each rule of the contract, and how they look at memory:
//! contents byte for byte, discards by what the kernel says is resident - never by a flag.
//!
//! **Must not know:** any face, nor the engine. Nothing here depends on vidmm, so no case can be
//! written to fit an implementation.

mod cases;
mod face;
mod pattern;
mod world;

pub use cases::cases;
pub use face::{Answer, Class, Face, FaceFactory, Form, GroupName, Item, New, Offer, Refusal};
pub use pattern::Pattern;
pub use world::Skipped;

/// One statement of the contract.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is stated.
    pub name: &'static str,
    /// The rule of the design that it comes from; `I3` is an invariant, `9.x` a decision where the
    /// interface's documentation is silent.
    pub rule: &'static str,
    /// Panics if it is not true of a face of this factory.
    pub run: fn(&mut dyn FaceFactory) -> Result<(), Skipped>,
}

impl Case {
    /// The case of this name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn named(name: &str) -> Case {
        let found = cases().into_iter().find(|case| case.name == name);
        found.unwrap_or_else(|| panic!("no case is named {name}"))
    }

    /// Runs the case. What cannot be run here is said on standard output.
    ///
    /// # Panics
    /// If what the case states is not so.
    #[allow(clippy::print_stdout, reason = "this is how tests say what they skip")]
    pub fn check(&self, factory: &mut dyn FaceFactory) {
        if let Err(Skipped(reason)) = (self.run)(factory) {
            let (rule, name, face) = (self.rule, self.name, factory.name());
            println!("SKIPPED: rule {rule}, {name}, on {face}: {reason}");
        }
    }
}

/// One `#[test]` for each case, on the faces of this factory (an expression, evaluated anew for
/// each).
#[macro_export]
macro_rules! contract_tests {
    ($factory:expr) => {
        $crate::each_case!([$crate::tests_of_cases]($factory));
    };
}

/// What [`contract_tests!`] makes of the list of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of_cases {
    (($factory:expr) $($rule:literal $module:ident $name:ident;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::Case::named(stringify!($name)).check(&mut $factory);
            }
        )*
    };
}
