//! Reading the kernel's small text files: bounded, tolerant of absence, exact about numbers.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::io::Errno;

use crate::error::MachineError;

/// The most that is read of one file. `mountinfo` is the longest: about 200 bytes a mount, and the
/// kernel stops at 100,000 mounts in a namespace by default.
pub(crate) const FILE_BYTES_MAX: u64 = 32 << 20;

/// The characters of a bad value that an error repeats.
const ECHO_CHARS_MAX: usize = 64;

/// The whole file, or `None` where it does not exist.
///
/// A cgroup may be removed between two reads; its files then answer `ENODEV`, which is absence too.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, MachineError> {
    // Most are short; without a start, a file is read in pieces of 32 bytes at first.
    let mut bytes = Vec::with_capacity(4096);
    let read = File::open(path).and_then(|file| {
        let mut bounded = file.take(FILE_BYTES_MAX + 1);
        bounded.read_to_end(&mut bytes)
    });
    match read {
        Err(error) if means_absent(&error) => Ok(None),
        Err(source) => Err(MachineError::Read {
            path: path.to_owned(),
            source,
        }),
        Ok(_) if as_u64(bytes.len()) > FILE_BYTES_MAX => Err(MachineError::TooLong {
            path: path.to_owned(),
            limit_bytes: FILE_BYTES_MAX,
        }),
        Ok(_) => Ok(Some(bytes)),
    }
}

/// The whole file; absence is an error.
pub(crate) fn read_required(path: &Path) -> Result<Vec<u8>, MachineError> {
    read_optional(path)?.ok_or_else(|| MachineError::Read {
        path: path.to_owned(),
        source: io::Error::from(io::ErrorKind::NotFound),
    })
}

/// A file that holds one number, `None` where it does not exist.
pub(crate) fn read_number(path: &Path, field: &'static str) -> Result<Option<u64>, MachineError> {
    match read_optional(path)? {
        None => Ok(None),
        Some(bytes) => parse_number(path, field, &bytes).map(Some),
    }
}

/// A decimal number with white space around it, and nothing else.
pub(crate) fn parse_number(
    path: &Path,
    field: &'static str,
    bytes: &[u8],
) -> Result<u64, MachineError> {
    let text = bytes.trim_ascii();
    let is_decimal = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| is_decimal)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| not_a_number(path, field, bytes))
}

/// The error for a value that is no number; the value is repeated, but not without end.
pub(crate) fn not_a_number(path: &Path, field: &'static str, bytes: &[u8]) -> MachineError {
    let shown = &bytes[..bytes.len().min(4 * ECHO_CHARS_MAX)];
    MachineError::Number {
        path: path.to_owned(),
        field,
        text: String::from_utf8_lossy(shown)
            .trim()
            .chars()
            .take(ECHO_CHARS_MAX)
            .collect(),
    }
}

/// The text behind `name` at the start of a line: `name 123` and `name: 123 kB` alike.
pub(crate) fn line_value<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    bytes.split(|&byte| byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(name.as_bytes())?;
        let rest = rest.strip_prefix(b":").unwrap_or(rest);
        // `Mem` must not match `MemTotal`.
        rest.first()
            .is_some_and(u8::is_ascii_whitespace)
            .then(|| rest.trim_ascii())
    })
}

/// A length in memory as a count of bytes: `usize` has at most 64 bits on every Linux target.
pub(crate) fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn means_absent(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::NODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = b"MemTotalX: 1 kB\nMemTotal:   2 kB\ninactive_file 3\nlast 4";
        assert_eq!(line_value(text, "MemTotal"), Some(&b"2 kB"[..]));
        assert_eq!(line_value(text, "inactive_file"), Some(&b"3"[..]));
        assert_eq!(line_value(text, "last"), Some(&b"4"[..]));
        assert_eq!(line_value(text, "MemT"), None);
        assert_eq!(line_value(text, "absent"), None);
    }

    #[test]
    fn numbers_are_decimal_and_nothing_else() {
        let path = Path::new("f");
        assert_eq!(parse_number(path, "x", b" 12\n").unwrap(), 12);
        for bad in [
            &b""[..],
            b"\n",
            b"-1",
            b"+1",
            b"1 2",
            b"0x10",
            b"99999999999999999999",
            b"\xff",
        ] {
            assert!(parse_number(path, "x", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_megabyte() {
        let error = not_a_number(Path::new("f"), "x", &vec![b'z'; 1 << 20]);
        assert!(error.to_string().len() < 300);
    }
}
