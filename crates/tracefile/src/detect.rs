//! Telling formats apart by what a file begins with.
//!
//! Formats are told by what no other format has: bytes that no text has, commas, the number of
//! columns and what is in them. All lines of the sample must agree; if they do not, the file is none
//! that is known, rather than the likeliest.

use crate::error::echo;
use crate::format::Format;
use crate::import::{Columns, RECORD_BYTES, Record};
use crate::open::own_format;
use crate::text::{fields, is_skipped, number};

/// So much of the unpacked content is looked at, in bytes.
pub(crate) const SAMPLE_BYTES: usize = 64 << 10;

/// The format of a file that begins with `sample`; `whole` if that is all of it.
///
/// # Errors
/// Why it cannot be told.
pub(crate) fn detect(sample: &[u8], whole: bool) -> Result<Format, String> {
    if sample.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if let Some(format) = own_format(sample) {
        // What is not packed was told before.
        return Err(format!(
            "the file is {format} within a packing; unpack it first"
        ));
    }
    if is_text(sample) {
        detect_text(sample, whole)
    } else {
        detect_records(sample)
    }
}

/// Whether these are bytes of a text: no control characters but those that separate lines and
/// fields.
fn is_text(sample: &[u8]) -> bool {
    let is_control =
        |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c);
    !sample.iter().any(is_control)
        && std::str::from_utf8(sample).map_or_else(
            // Cut in the middle of a character.
            |error| error.error_len().is_none(),
            |_| true,
        )
}

/// Times that never go back and next accesses that come later: a random file has neither.
fn detect_records(sample: &[u8]) -> Result<Format, String> {
    let (records, _) = sample.as_chunks::<RECORD_BYTES>();
    let mut last_time = 0;
    for (index, bytes) in records.iter().enumerate() {
        let record = Record::read(bytes);
        let offset = index * RECORD_BYTES;
        if record.time < last_time {
            return Err(format!(
                "the file is binary, and no oracleGeneral: at byte {offset} time would go back"
            ));
        }
        if record.next != -1 && u64::try_from(record.next).unwrap_or(0) <= index as u64 {
            return Err(format!(
                "the file is binary, and no oracleGeneral: at byte {offset} the next access would \
                 not come later"
            ));
        }
        last_time = record.time;
    }
    if records.is_empty() {
        return Err("the file is binary and shorter than any record".to_owned());
    }
    Ok(Format::OracleGeneral)
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Format(Format),
    /// Fits nothing.
    None,
}

fn detect_text(sample: &[u8], whole: bool) -> Result<Format, String> {
    // The last line may be cut.
    let end = if whole {
        sample.len()
    } else {
        sample
            .iter()
            .rposition(|&byte| byte == b'\n')
            .ok_or("the first line is longer than any format has")?
    };
    let mut found: Option<Format> = None;
    let lines = sample[..end].split(|&byte| byte == b'\n');
    for (index, line) in lines.enumerate().filter(|(_, line)| !is_skipped(line)) {
        let number = index + 1;
        let line = line.trim_ascii();
        let look = if found == Some(Format::Csv) || (found.is_none() && line.contains(&b',')) {
            if found.is_none() {
                Columns::of(line.split(|&byte| byte == b',')).map_err(|why| {
                    format!("the file has commas, but is no CSV of accesses: {why}")
                })?;
            }
            // Whether each line is whole is the importer's business: the commas of the first
            // suffice.
            Look::Format(Format::Csv)
        } else {
            look_of(line)
        };
        match (look, found) {
            (Look::None, _) => {
                return Err(format!(
                    "line {number} ({}) has the form of no format; there are {}",
                    echo(line),
                    Format::ALL.map(Format::name).join(", ")
                ));
            }
            (Look::Format(format), None) => found = Some(format),
            (Look::Format(format), Some(before)) if format != before => {
                return Err(format!(
                    "line {number} ({}) looks like {format}, the lines before like {before}; say \
                     which format it is",
                    echo(line)
                ));
            }
            (Look::Format(_), Some(_)) => {}
        }
    }
    found.ok_or_else(|| "the file has no line with anything in it".to_owned())
}

fn look_of(line: &[u8]) -> Look {
    let fields: Vec<&[u8]> = fields(line).take(6).collect();
    let numbers = fields.iter().all(|field| number(field).is_some());
    let is_kind = |field: &[u8]| field.len() <= 8 && field.iter().all(u8::is_ascii_alphabetic);
    match fields.as_slice() {
        [b"*"] => Look::Format(Format::Lirs),
        [_] if numbers => Look::Format(Format::Lirs),
        [_, _, _] if numbers => Look::Format(Format::TimeIdSize),
        [_, _, _, _] if numbers => Look::Format(Format::Lis),
        [kind, rest @ ..]
            if (rest.len() == 2 || rest.len() == 4)
                && is_kind(kind)
                && rest.iter().all(|field| number(field).is_some()) =>
        {
            Look::Format(Format::Penalties)
        }
        _ => Look::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_formats_are_told_by_columns_and_what_is_in_them() {
        let cases: [(&str, Format); 11] = [
            ("1\n2\n*\n3\n", Format::Lirs),
            ("*\n", Format::Lirs),
            ("7", Format::Lirs),
            ("1 0 68\n2 1 7454\n", Format::TimeIdSize),
            ("# made by hand\n\n1\t0\t68\r\n", Format::TimeIdSize),
            ("1 1 0 0\n2 8 0 0\n", Format::Lis),
            ("l 0x10 1 1 100\ns 0x18 1 1 10\n", Format::Penalties),
            ("s 0x1fffff50 1\n", Format::Penalties),
            ("time,id,size\n1,2,3\n", Format::Csv),
            ("1,2,3,4.5\n", Format::Csv),
            ("host, Size ,id,TIME\n", Format::Csv),
        ];
        for (text, format) in cases {
            assert_eq!(detect(text.as_bytes(), true), Ok(format), "{text:?}");
        }
    }

    #[test]
    fn what_fits_no_format_or_two_is_refused_with_the_line() {
        let cases = [
            ("", "empty"),
            ("# nothing\n\n", "no line with anything"),
            ("1 2\n", "line 1"),
            ("1 0 68\n2 1 7454\n7\n", "line 3"),
            ("1 0 68\n1 1 0 0\n", "lis"),
            ("hello world, this is prose\n", "no CSV of accesses"),
            ("1,2\n", "2 values"),
            ("time,id\n1,2\n", "`size`"),
            ("a b c\n", "line 1"),
        ];
        for (text, wanted) in cases {
            let why = detect(text.as_bytes(), true).unwrap_err();
            assert!(why.contains(wanted), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_sample_that_ends_inside_a_line_is_judged_without_it() {
        assert_eq!(detect(b"1 0 68\n2 1", false), Ok(Format::TimeIdSize));
        assert!(detect(b"1 0 68\n2 1", true).is_err());
    }

    #[test]
    fn records_must_make_sense_and_other_binary_files_do_not() {
        let record = |time: u32, next: i64| {
            let mut bytes = time.to_le_bytes().to_vec();
            bytes.extend(77_u64.to_le_bytes());
            bytes.extend(512_u32.to_le_bytes());
            bytes.extend(next.to_le_bytes());
            bytes
        };
        let good = [record(5, 1), record(5, -1)].concat();
        assert_eq!(detect(&good, true), Ok(Format::OracleGeneral));
        let goes_back = [record(5, -1), record(4, -1)].concat();
        assert!(detect(&goes_back, true).unwrap_err().contains("byte 24"));
        let comes_earlier = [record(5, -1), record(5, 1)].concat();
        assert!(detect(&comes_earlier, true).is_err());
        assert!(detect(b"\x7fELF\x02\x01\x01\0", true).is_err());
    }
}
