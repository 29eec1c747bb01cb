//! Sizes as people write and read them: `256M`, `1.5 GiB`.

use std::fmt;
use std::str::FromStr;

/// The unit letters, each 1,024 times the one before; the first is 1,024 bytes.
const UNIT_LETTERS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];

/// Digits after the point beyond this cannot change a 64-bit count of bytes.
const FRACTION_DIGITS_MAX: usize = 18;

/// The characters of a bad text that an error repeats.
const ECHO_CHARS_MAX: usize = 64;

/// A count of bytes that is written and read as people do.
///
/// `Display` gives at most one digit after the point (`1.5 GiB`, `340 B`), so what is read back may
/// differ by up to a twentieth of the unit that was shown. `FromStr` takes a whole number of bytes, or a number with
/// `K`, `M`, `G`, `T`, `P` or `E`, which are powers of 1,024: `4096`, `256M`, `1.5G`, `64MiB`,
/// `1 GiB`; case does not matter. `MB` and the like are refused, since they mean two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// A text that is no size (or no budget), and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {}: {problem}; write {}", noun(*.is_budget), accepted(*.is_budget))]
pub struct ParseSizeError {
    /// What was written, cut to 64 characters.
    text: String,
    problem: SizeProblem,
    is_budget: bool,
}

/// What is wrong with a size or a budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeProblem {
    /// Nothing is written.
    #[error("it is empty")]
    Empty,
    /// It does not start with a number such as 12 or 1.5.
    #[error("it does not start with a number such as 12 or 1.5")]
    NotANumber,
    /// It is below zero.
    #[error("a size is never negative")]
    Negative,
    /// The letters behind the number are no unit.
    #[error("{0:?} is not a unit")]
    UnknownUnit(String),
    /// A unit that some read as a power of 1,000 and some as a power of 1,024.
    #[error("{0:?} means a power of 1000 to some and of 1024 to others")]
    AmbiguousUnit(String),
    /// A part of a byte.
    #[error("bytes are whole numbers")]
    PartOfAByte,
    /// More digits after the point than can matter.
    #[error("it has more than {0} digits after the point")]
    TooManyDigits(usize),
    /// More than 64 bits can count.
    #[error("it is more than 16 EiB, the most that can be counted")]
    TooLarge,
    /// A budget of nothing.
    #[error("a budget of nothing holds nothing")]
    Zero,
    /// More than the whole.
    #[error("a share is at most 100%")]
    MoreThanAll,
}

impl ParseSizeError {
    pub(crate) fn new(text: &str, problem: SizeProblem, is_budget: bool) -> Self {
        Self {
            text: shortened(text),
            problem,
            is_budget,
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &SizeProblem {
        &self.problem
    }
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = parse_size_bytes(text.trim());
        parsed
            .map(Self)
            .map_err(|problem| ParseSizeError::new(text, problem, false))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut unit_bytes = 1_u128;
        for letter in UNIT_LETTERS {
            unit_bytes *= 1024;
            let tenths = (u128::from(self.0) * 10 + unit_bytes / 2) / unit_bytes;
            // Decided after rounding, so that 1,023.97 KiB shows as 1 MiB and not as 1024 KiB.
            let is_last = letter == 'E';
            if tenths < 10_240 || is_last {
                let (whole, tenth) = (tenths / 10, tenths % 10);
                let fraction = if tenth == 0 {
                    String::new()
                } else {
                    format!(".{tenth}")
                };
                return f.pad(&format!("{whole}{fraction} {letter}iB"));
            }
        }
        Ok(())
    }
}

/// A number as written: its whole part, and its digits after the point as a fraction.
pub(crate) struct Number {
    pub(crate) whole: u64,
    pub(crate) fraction: u64,
    pub(crate) fraction_digits: u32,
}

/// Splits `text` into the number it starts with and the rest, without the space between.
pub(crate) fn split_number(text: &str) -> Result<(Number, &str), SizeProblem> {
    if text.is_empty() {
        return Err(SizeProblem::Empty);
    }
    let is_of_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let end = text
        .find(|letter| !is_of_number(letter))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    if number.is_empty() && rest.starts_with('-') {
        return Err(SizeProblem::Negative);
    }
    let (whole, fraction) = match number.split_once('.') {
        None => (number, "0"),
        Some(parts) => parts,
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(SizeProblem::NotANumber);
    }
    let fraction_digits = if number.len() == whole.len() {
        0
    } else {
        fraction.len()
    };
    if fraction_digits > FRACTION_DIGITS_MAX {
        return Err(SizeProblem::TooManyDigits(FRACTION_DIGITS_MAX));
    }
    let number = Number {
        whole: whole.parse().map_err(|_| SizeProblem::TooLarge)?,
        fraction: fraction.parse().map_err(|_| SizeProblem::TooLarge)?,
        fraction_digits: u32::try_from(fraction_digits).map_err(|_| SizeProblem::TooLarge)?,
    };
    Ok((number, rest.trim_start()))
}

/// A size without white space around it.
pub(crate) fn parse_size_bytes(text: &str) -> Result<u64, SizeProblem> {
    let (number, unit) = split_number(text)?;
    let unit_bytes = unit_bytes(unit)?;
    if unit_bytes == 1 && number.fraction_digits > 0 {
        return Err(SizeProblem::PartOfAByte);
    }
    let unit_bytes = u128::from(unit_bytes);
    let one = 10_u128.pow(number.fraction_digits);
    // At most 10^18 x 2^60: far inside 128 bits.
    let fraction_bytes = (u128::from(number.fraction) * unit_bytes + one / 2) / one;
    let bytes = u128::from(number.whole) * unit_bytes + fraction_bytes;
    u64::try_from(bytes).map_err(|_| SizeProblem::TooLarge)
}

fn unit_bytes(unit: &str) -> Result<u64, SizeProblem> {
    let upper = unit.to_ascii_uppercase();
    if matches!(upper.as_str(), "" | "B") {
        return Ok(1);
    }
    let mut bytes = 1_u64;
    for letter in UNIT_LETTERS {
        bytes *= 1024;
        match upper.strip_prefix(letter) {
            Some("" | "I" | "IB") => return Ok(bytes),
            Some("B") => return Err(SizeProblem::AmbiguousUnit(shortened(unit))),
            _ => {}
        }
    }
    Err(SizeProblem::UnknownUnit(shortened(unit)))
}

fn shortened(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

fn noun(is_budget: bool) -> &'static str {
    if is_budget { "budget" } else { "size" }
}

fn accepted(is_budget: bool) -> &'static str {
    if is_budget {
        "bytes (4096), a number with K, M, G or T, which are powers of 1024 (256M, 1.5G, 64MiB), \
         a share of memory (25%), or auto"
    } else {
        "bytes (4096) or a number with K, M, G or T, which are powers of 1024 (256M, 1.5G, 64MiB)"
    }
}
