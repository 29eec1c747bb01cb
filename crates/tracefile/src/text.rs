//! Lines and numbers of text formats.

use std::io::{BufRead, Read};

use crate::error::{Problem, echo};
use crate::packing::Content;

/// No format has lines nearly as long; what does is no text.
const LINE_MAX_BYTES: u64 = 64 << 10;

/// The lines of a text, without those that are blank or begin with `#`.
pub(crate) struct Lines {
    content: Content,
    line: Vec<u8>,
    /// Of the line last read, counted from 1.
    number: u64,
}

impl Lines {
    pub(crate) fn new(content: Content) -> Self {
        Lines {
            content,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line and its number.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &[u8])>, Problem> {
        loop {
            self.line.clear();
            let count = (&mut self.content)
                .take(LINE_MAX_BYTES)
                .read_until(b'\n', &mut self.line)?;
            if count == 0 {
                return Ok(None);
            }
            self.number += 1;
            if count as u64 == LINE_MAX_BYTES && !self.line.ends_with(b"\n") {
                return Err(Problem::line(
                    self.number,
                    format!("the line is longer than {LINE_MAX_BYTES} bytes; is this a text?"),
                ));
            }
            if !is_skipped(&self.line) {
                break;
            }
        }
        Ok(Some((self.number, self.line.trim_ascii())))
    }
}

/// Whether a line says nothing.
pub(crate) fn is_skipped(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), None | Some(b'#'))
}

/// The fields of a line whose fields are separated by blanks.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
}

/// Exactly so many fields, or none.
pub(crate) fn exactly<const N: usize>(line: &[u8]) -> Option<[&[u8]; N]> {
    let mut all: [&[u8]; N] = [&[]; N];
    let mut fields = fields(line);
    for place in &mut all {
        *place = fields.next()?;
    }
    fields.next().is_none().then_some(all)
}

/// A whole number in decimal.
pub(crate) fn decimal(field: &[u8]) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A whole number in decimal, or in hexadecimal behind `0x`.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    match field {
        [b'0', b'x' | b'X', digits @ ..] => {
            // A sign would be read as part of a number otherwise.
            let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
            let text = is_hex.then(|| std::str::from_utf8(digits).ok())??;
            u64::from_str_radix(text, 16).ok()
        }
        _ => decimal(field),
    }
}

/// A finite number that is not negative.
pub(crate) fn fraction(field: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(field).ok()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// A cost, as an access keeps it.
pub(crate) fn cost(field: &[u8]) -> Option<f32> {
    // 24 significant bits suffice, and what overflows them to infinity is no cost.
    #[allow(clippy::cast_possible_truncation)]
    let cost = fraction(field)? as f32;
    cost.is_finite().then_some(cost)
}

/// A whole number, or an error that says of `what` it is none.
pub(crate) fn need(line: u64, what: &str, field: &[u8]) -> Result<u64, Problem> {
    number(field).ok_or_else(|| {
        Problem::line(
            line,
            format!("the {what} {} is no whole number below 2^64", echo(field)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_whole_or_not_at_all() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None, "one too large");
        assert_eq!(number(b"0x1Fffff50"), Some(0x1fff_ff50));
        for wrong in [&b""[..], b"0x", b"0x+1", b"-1", b"1.5", b"1 ", b"a"] {
            assert_eq!(number(wrong), None, "{}", echo(wrong));
        }
        assert_eq!(cost(b"1e3"), Some(1000.0));
        for wrong in [&b"-1"[..], b"NaN", b"inf", b"1e39", b""] {
            assert_eq!(cost(wrong), None, "{}", echo(wrong));
        }
    }
}
