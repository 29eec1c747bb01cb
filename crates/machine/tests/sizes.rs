//! Sizes and budgets as people write them.

#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod common;

use common::{FakeMachine, GIB, MIB, V2_MOUNT};
use proptest::prelude::*;
use vidmm_machine::{BudgetSpec, ByteSize, MachineError, Percent, SizeProblem};

fn size(text: &str) -> Result<u64, SizeProblem> {
    let parsed: Result<ByteSize, _> = text.parse();
    parsed
        .map(|size| size.0)
        .map_err(|error| error.problem().clone())
}

fn budget(text: &str) -> Result<BudgetSpec, SizeProblem> {
    text.parse()
        .map_err(|error: vidmm_machine::ParseSizeError| error.problem().clone())
}

#[test]
fn sizes_in_every_form() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("340 B", 340),
        ("256M", 256 * MIB),
        ("256m", 256 * MIB),
        ("  64MiB ", 64 * MIB),
        ("64 Mi", 64 * MIB),
        ("1 GiB", GIB),
        ("4G", 4 * GIB),
        ("1.5G", GIB + GIB / 2),
        ("0.25k", 256),
        ("0.1K", 102),
        ("2T", 2048 * GIB),
        ("007M", 7 * MIB),
        ("15.999999999999999999E", u64::MAX),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text:?}");
    }
}

#[test]
fn what_is_no_size_says_why() {
    use SizeProblem as P;
    for (text, problem) in [
        ("", P::Empty),
        ("   ", P::Empty),
        ("M", P::NotANumber),
        ("auto", P::NotANumber),
        (".5G", P::NotANumber),
        ("5.G", P::NotANumber),
        ("1.2.3M", P::NotANumber),
        ("+5", P::NotANumber),
        ("-5M", P::Negative),
        ("5X", P::UnknownUnit("X".into())),
        ("5 M M", P::UnknownUnit("M M".into())),
        ("1e9", P::UnknownUnit("e9".into())),
        ("25%", P::UnknownUnit("%".into())),
        ("5MB", P::AmbiguousUnit("MB".into())),
        ("5 kb", P::AmbiguousUnit("kb".into())),
        ("1.5", P::PartOfAByte),
        ("1.0B", P::PartOfAByte),
        ("1.0000000000000000000G", P::TooManyDigits(18)),
        ("16E", P::TooLarge),
        ("18446744073709551616", P::TooLarge),
        ("99999999999999999999999999999999999999999999G", P::TooLarge),
    ] {
        assert_eq!(size(text), Err(problem), "{text:?}");
    }
}

#[test]
fn an_error_says_what_is_wrong_and_what_is_accepted() {
    let error = "12X".parse::<ByteSize>().unwrap_err().to_string();
    assert!(
        error.starts_with("\"12X\" is not a size: \"X\" is not a unit; write "),
        "{error}"
    );
    assert!(error.contains("256M") && !error.contains("auto"), "{error}");
    let error = "12X".parse::<BudgetSpec>().unwrap_err().to_string();
    assert!(error.contains("is not a budget") && error.contains("25%") && error.contains("auto"));
    let long = "9M"
        .repeat(1 << 20)
        .parse::<BudgetSpec>()
        .unwrap_err()
        .to_string();
    assert!(long.len() < 600, "{} bytes", long.len());
}

#[test]
fn sizes_are_shown_short() {
    for (bytes, text) in [
        (0, "0 B"),
        (340, "340 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (MIB - 1, "1 MiB"),
        (GIB + GIB / 2, "1.5 GiB"),
        (10 * GIB + GIB / 10, "10.1 GiB"),
        (u64::MAX, "16 EiB"),
    ] {
        assert_eq!(ByteSize(bytes).to_string(), text);
    }
    assert_eq!(format!("{:>10}|", ByteSize(1536)), "   1.5 KiB|");
}

#[test]
fn budgets_in_every_form() {
    let percent = |millionths| BudgetSpec::Percent(Percent::from_millionths(millionths).unwrap());
    for (text, spec) in [
        ("256M", BudgetSpec::Bytes(256 * MIB)),
        ("auto", BudgetSpec::Auto),
        (" AUTO ", BudgetSpec::Auto),
        ("25%", percent(250_000)),
        ("12.5 %", percent(125_000)),
        ("0.0001%", percent(1)),
        ("100%", percent(1_000_000)),
        ("100.0000%", percent(1_000_000)),
    ] {
        assert_eq!(budget(text), Ok(spec), "{text:?}");
    }
}

#[test]
fn what_is_no_budget_says_why() {
    use SizeProblem as P;
    for (text, problem) in [
        ("0", P::Zero),
        ("0M", P::Zero),
        ("0%", P::Zero),
        ("0.0000%", P::Zero),
        ("%", P::Empty),
        ("-5%", P::Negative),
        ("5M%", P::UnknownUnit("M%".into())),
        ("100.0001%", P::MoreThanAll),
        ("429497%", P::MoreThanAll),
        ("18446744073709551615%", P::MoreThanAll),
        ("99999999999999999999%", P::TooLarge),
        ("1.00001%", P::TooManyDigits(4)),
        ("automatic", P::NotANumber),
    ] {
        assert_eq!(budget(text), Err(problem), "{text:?}");
    }
}

#[test]
fn budgets_resolve_against_the_smaller_of_machine_and_cgroup() {
    let machine = FakeMachine::new();
    let resolve = |text: &str| budget(text).unwrap().resolve(&machine.files()).unwrap();
    assert_eq!(resolve("auto"), 4 * GIB);
    assert_eq!(resolve("50%"), 8 * GIB);
    assert_eq!(resolve("100T"), 100 << 40);
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("own", "1073741824\n", "max\n", MIB, 0);
    assert_eq!(resolve("auto"), 256 * MIB);
    assert_eq!(resolve("50%"), 512 * MIB);
    assert_eq!(resolve("3G"), 3 * GIB);
    // A limit above the machine's memory limits nothing.
    machine.v2_level("own", "1099511627776\n", "max\n", MIB, 0);
    assert_eq!(resolve("auto"), 4 * GIB);
}

#[test]
fn a_budget_of_nothing_is_an_error() {
    let machine = FakeMachine::new();
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("own", "3\n", "max\n", MIB, 0);
    for text in ["auto", "25%"] {
        let error = budget(text).unwrap().resolve(&machine.files()).unwrap_err();
        assert!(
            matches!(error, MachineError::BudgetIsZero { base_bytes: 3, .. }),
            "{error}"
        );
    }
    assert!(BudgetSpec::Bytes(0).resolve(&machine.files()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_reads_back_within_rounding(shift in 0_u32..64, low in any::<u64>()) {
        let bytes = low >> shift;
        let shown = ByteSize(bytes).to_string();
        match shown.parse::<ByteSize>() {
            Ok(ByteSize(read)) => {
                // One digit after the point: at most a twentieth of the unit, which is at most the
                // value itself and a twentieth (1 MiB may stand for 1,023.95 KiB).
                let unit_bytes = match shown.rsplit(' ').next().unwrap() {
                    "B" => 1,
                    unit => format!("1{unit}").parse::<ByteSize>().unwrap().0,
                };
                prop_assert!(read.abs_diff(bytes) <= unit_bytes / 20 + 1, "{bytes} as {shown} as {read}");
                if unit_bytes == 1 { prop_assert_eq!(read, bytes); }
            }
            // Only 16 EiB, rounded up from just below.
            Err(_) => prop_assert!(shown == "16 EiB" && bytes > u64::MAX - (u64::MAX >> 8), "{bytes} {shown}"),
        }
    }

    #[test]
    fn a_budget_reads_back_exactly(bytes in 1_u64.., millionths in 1_u32..=1_000_000) {
        let spec = BudgetSpec::Bytes(bytes);
        prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        let spec = BudgetSpec::Percent(Percent::from_millionths(millionths).unwrap());
        prop_assert_eq!(spec.to_string().parse(), Ok(spec));
    }

    #[test]
    fn whole_numbers_of_units_are_exact(count in 0_u64..1 << 14, power in 0_u32..6) {
        let letter = ["", "K", "M", "G", "T", "P"][usize::try_from(power).unwrap()];
        prop_assert_eq!(size(&format!("{count}{letter}")), Ok(count << (10 * power)));
    }

    #[test]
    fn a_fraction_is_the_nearest_byte(whole in 0_u64..1000, thousandths in 0_u64..1000) {
        let exact = (whole * 1000 + thousandths) * GIB;
        let bytes = size(&format!("{whole}.{thousandths:03}G")).unwrap();
        prop_assert!((bytes * 1000).abs_diff(exact) <= 500);
    }

    #[test]
    fn no_text_is_too_odd(text in ".*") {
        let _ = text.parse::<ByteSize>();
        let _ = text.parse::<BudgetSpec>();
    }

    #[test]
    fn no_near_miss_is_too_odd(text in "[-+ ]?[0-9]{0,25}[.]?[0-9]{0,25} ?[kKmMgGtTeEbBiI%]{0,4}") {
        if let Ok(spec) = text.parse::<BudgetSpec>() {
            prop_assert_ne!(spec, BudgetSpec::Bytes(0));
        }
        let _ = text.parse::<ByteSize>();
    }
}
