//! Sizes of caches, and rates of samples, as people write them.

use std::fmt;
use std::str::FromStr;

use vidmm_machine::{BudgetSpec, ByteSize, Percent, SizeProblem};

/// The size of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Never 0.
    Bytes(u64),
    /// A share of the trace's footprint.
    Share(Percent),
}

impl Size {
    /// In bytes, for a trace of this footprint. A share of little is at least a byte.
    pub(crate) fn resolve(self, footprint_bytes: u64) -> u64 {
        match self {
            Size::Bytes(bytes) => bytes,
            Size::Share(share) => share.of_bytes(footprint_bytes).max(1),
        }
    }

    /// Shares of the footprint, in millionths.
    pub(crate) fn shares(millionths: &[u32]) -> Vec<Size> {
        let shares = millionths.iter().copied();
        shares
            .filter_map(Percent::from_millionths)
            .map(Size::Share)
            .collect()
    }
}

impl FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let wrong = |problem: String| NoSize {
            what: "size of a cache",
            problem,
            write: "bytes (4096), a number with K, M, G or T, which are powers of 1024 (64M), or a \
                    share of the trace's footprint (5%)",
        };
        if text.trim_end().ends_with('%') {
            return share(text).map(Size::Share).map_err(wrong);
        }
        match text.parse::<ByteSize>() {
            Ok(ByteSize(0)) => Err(wrong(NOTHING.to_owned())),
            Ok(ByteSize(bytes)) => Ok(Size::Bytes(bytes)),
            Err(error) => Err(wrong(error.problem().to_string())),
        }
    }
}

/// How much of a trace is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    /// This share of its objects, with all their requests.
    Share(Percent),
    /// All of it, or as much as takes a moderate time.
    Auto,
}

impl FromStr for Rate {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let wrong = |problem: String| NoSize {
            what: "rate of a sample",
            problem,
            write: "a share of the objects (10%, 1%, 0.1%) or auto",
        };
        match text.trim() {
            auto if auto.eq_ignore_ascii_case("auto") => Ok(Rate::Auto),
            percent if percent.ends_with('%') => share(text).map(Rate::Share).map_err(wrong),
            _ => Err(wrong("it has no % at its end".to_owned())),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Share(share) => share.fmt(f),
            Rate::Auto => f.write_str("auto"),
        }
    }
}

const NOTHING: &str = "nothing fits into nothing";

/// A text that ends in `%`.
fn share(text: &str) -> Result<Percent, String> {
    match text.parse() {
        Ok(BudgetSpec::Percent(share)) => Ok(share),
        Ok(_) => Err("it is no share".to_owned()),
        Err(error) => Err(match error.problem() {
            SizeProblem::Zero => NOTHING.to_owned(),
            problem => problem.to_string(),
        }),
    }
}

/// A text that is no size or no rate. (What was written, whoever prints this repeats.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no {what}: {problem}; write {write}")]
pub(crate) struct NoSize {
    what: &'static str,
    problem: String,
    write: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, footprint_bytes: u64) -> u64 {
        text.parse::<Size>().unwrap().resolve(footprint_bytes)
    }

    #[test]
    fn sizes_are_bytes_or_shares_of_the_footprint() {
        assert_eq!(resolved("64M", 10), 64 << 20);
        assert_eq!(resolved("4096", 10), 4096);
        assert_eq!(resolved("1%", 1_000), 10);
        assert_eq!(resolved("7 %", 100), 7);
        assert_eq!(resolved("0.5%", 1_000), 5);
        assert_eq!(resolved("100%", u64::MAX), u64::MAX);
        // a share of next to nothing still holds something
        assert_eq!(resolved("1%", 7), 1);
    }

    #[test]
    fn what_is_no_size_is_told_why() {
        for (text, why) in [
            ("0", "nothing"),
            ("0%", "nothing"),
            ("0.0%", "nothing"),
            ("", "empty"),
            ("-1", "negative"),
            ("-1%", "negative"),
            ("101%", "100%"),
            ("12x", "unit"),
            ("5MB", "1024"),
            ("1.5", "whole"),
            ("inf%", "number"),
            ("auto", "number"),
            ("99999999999999999999", "16 EiB"),
        ] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("5%"),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn rates_are_shares_or_auto() {
        assert_eq!("auto".parse(), Ok(Rate::Auto));
        for text in ["10%", "0.0001%", "100%"] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), text);
        }
        for text in ["0%", "10", "0.1", "", "101%", "%", "x%"] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("auto"), "{text:?}: {error}");
        }
    }
}
