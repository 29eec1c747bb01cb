//! The formats by name.

use std::fmt;
use std::str::FromStr;

/// A format of traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Packed little-endian records of 24 bytes: `u32 time, u64 id, u32 size, i64 next` (the index
    /// of the next access to the object or -1, which is not looked at here).
    OracleGeneral,
    /// Text, a line `start count ignored request`: `count` accesses, one to each of the ids from
    /// `start` on.
    Lis,
    /// Text, a line `time id size`.
    TimeIdSize,
    /// Text, a line `kind address n hit_penalty miss_penalty`: one access to the object `address`
    /// (hexadecimal), whose cost is the miss penalty. Lines may also end after `n`; then nothing
    /// is known of the cost.
    Penalties,
    /// Text, an id a line; `*` ends a section, and sections follow each other.
    Lirs,
    /// Comma-separated values: `time,id,size[,cost]`, with or without a line of names.
    Csv,
    /// Parquet as vidmm writes it, of events or of accesses; not packed.
    Parquet,
    /// What a recorder of vidmm writes (`*.vtrace`), or a directory of it; not packed.
    Spool,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 8] = [
        Format::OracleGeneral,
        Format::Lis,
        Format::TimeIdSize,
        Format::Penalties,
        Format::Lirs,
        Format::Csv,
        Format::Parquet,
        Format::Spool,
    ];

    /// The name by which it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::OracleGeneral => "oracle-general",
            Format::Lis => "lis",
            Format::TimeIdSize => "time-id-size",
            Format::Penalties => "penalties",
            Format::Lirs => "lirs",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Spool => "spool",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no format of traces; there are {}", names())]
pub struct ParseFormatError {
    text: String,
}

fn names() -> String {
    Format::ALL.map(Format::name).join(", ")
}

impl FromStr for Format {
    type Err = ParseFormatError;

    fn from_str(text: &str) -> Result<Self, ParseFormatError> {
        Format::ALL
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseFormatError {
                text: text.chars().take(64).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_an_unknown_one_lists_them() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let message = "arc".parse::<Format>().unwrap_err().to_string();
        assert!(message.contains("oracle-general") && message.contains("csv"));
    }
}
