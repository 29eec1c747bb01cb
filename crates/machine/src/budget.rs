//! Budgets as people write them, and the default where nobody did.

use std::fmt;
use std::str::FromStr;

use crate::error::MachineError;
use crate::files::MachineFiles;
use crate::size::{ByteSize, ParseSizeError, SizeProblem, parse_size_bytes, split_number};

/// The default budget is one part in this many of what the process may have.
const DEFAULT_SHARE: u64 = 4;

/// Digits after the point in a percentage: the resolution is one millionth of the whole.
const PERCENT_DIGITS_MAX: u32 = 4;

const MILLION: u32 = 1_000_000;

/// A budget as somebody wrote it: `256M`, `1.5 GiB`, `25%`, `auto`.
///
/// `Display` writes a text that reads back as the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BudgetSpec {
    /// So many bytes; never 0 when it came from a text.
    Bytes(u64),
    /// A share of the smaller of the machine's memory and the cgroup's limit.
    Percent(Percent),
    /// [`default_budget_bytes`].
    Auto,
}

/// A share between one millionth and the whole, in steps of a millionth (`0.0001%`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    millionths: u32,
}

/// A quarter of the smaller of the machine's memory and the cgroup's limit, in bytes; never 0.
///
/// # Errors
/// The machine's figures cannot be read, or a quarter of them is less than a byte.
pub fn default_budget_bytes(files: &MachineFiles) -> Result<u64, MachineError> {
    let base_bytes = base_bytes(files)?;
    not_zero(base_bytes / DEFAULT_SHARE, base_bytes, || {
        "a quarter".to_owned()
    })
}

impl BudgetSpec {
    /// The budget in bytes on the machine that `files` describes; never 0 unless it is `Bytes(0)`
    /// made by hand, which is an error here.
    ///
    /// A budget above the machine's memory is allowed: the kernel may have swap.
    ///
    /// # Errors
    /// The machine's figures cannot be read, or the budget comes to nothing.
    pub fn resolve(&self, files: &MachineFiles) -> Result<u64, MachineError> {
        match self {
            Self::Auto => default_budget_bytes(files),
            Self::Bytes(bytes) => not_zero(*bytes, *bytes, || "all".to_owned()),
            Self::Percent(percent) => {
                let base_bytes = base_bytes(files)?;
                not_zero(percent.of_bytes(base_bytes), base_bytes, || {
                    percent.to_string()
                })
            }
        }
    }
}

impl Percent {
    /// A share in millionths of the whole; `None` unless from 1 to 1,000,000.
    #[must_use]
    pub fn from_millionths(millionths: u32) -> Option<Self> {
        (1..=MILLION)
            .contains(&millionths)
            .then_some(Self { millionths })
    }

    /// The share in millionths of the whole, from 1 to 1,000,000.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.millionths
    }

    /// This share of `base_bytes`, rounded down.
    #[must_use]
    pub fn of_bytes(self, base_bytes: u64) -> u64 {
        let share = u128::from(base_bytes) * u128::from(self.millionths) / u128::from(MILLION);
        // A share of at most the whole fits where the whole did.
        u64::try_from(share).unwrap_or(base_bytes)
    }

    fn parse(text: &str) -> Result<Self, SizeProblem> {
        let (number, rest) = split_number(text)?;
        if !rest.is_empty() {
            return Err(SizeProblem::UnknownUnit(format!("{rest}%")));
        }
        let missing_digits = PERCENT_DIGITS_MAX
            .checked_sub(number.fraction_digits)
            .ok_or(SizeProblem::TooManyDigits(4))?;
        let fraction = number.fraction * 10_u64.pow(missing_digits);
        let millionths = number
            .whole
            .checked_mul(10_000)
            .and_then(|m| m.checked_add(fraction));
        let millionths = millionths.and_then(|m| u32::try_from(m).ok());
        match millionths {
            Some(0) => Err(SizeProblem::Zero),
            Some(millionths) => Self::from_millionths(millionths).ok_or(SizeProblem::MoreThanAll),
            None => Err(SizeProblem::MoreThanAll),
        }
    }
}

impl FromStr for BudgetSpec {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let parsed = if trimmed.eq_ignore_ascii_case("auto") {
            Ok(Self::Auto)
        } else if let Some(share) = trimmed.strip_suffix('%') {
            Percent::parse(share.trim_end()).map(Self::Percent)
        } else {
            match parse_size_bytes(trimmed) {
                Ok(0) => Err(SizeProblem::Zero),
                other => other.map(Self::Bytes),
            }
        };
        parsed.map_err(|problem| ParseSizeError::new(text, problem, true))
    }
}

impl fmt::Display for BudgetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Percent(percent) => percent.fmt(f),
            Self::Bytes(bytes) => {
                let rounded = ByteSize(*bytes).to_string();
                // The short form only where it says the same.
                if rounded.parse() == Ok(ByteSize(*bytes)) {
                    f.pad(&rounded)
                } else {
                    bytes.fmt(f)
                }
            }
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!(
            "{}.{:04}",
            self.millionths / 10_000,
            self.millionths % 10_000
        );
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        f.pad(&format!("{digits}%"))
    }
}

/// What shares are taken of: the smaller of the machine's memory and the cgroup's limit.
fn base_bytes(files: &MachineFiles) -> Result<u64, MachineError> {
    let total_bytes = files.memory()?.total_bytes;
    let limit_bytes = match files.cgroup() {
        Some(cgroup) => cgroup.limit_bytes()?,
        None => None,
    };
    Ok(limit_bytes.map_or(total_bytes, |limit_bytes| limit_bytes.min(total_bytes)))
}

fn not_zero(
    bytes: u64,
    base_bytes: u64,
    share: impl FnOnce() -> String,
) -> Result<u64, MachineError> {
    if bytes > 0 {
        return Ok(bytes);
    }
    Err(MachineError::BudgetIsZero {
        share: share(),
        base_bytes,
    })
}
