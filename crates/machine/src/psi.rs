//! Pressure-stall triggers: opening the kernel's files, and what one event asks for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::epoll;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The trigger: some task stalled on memory for 150 ms within 2 s. Without privilege the window must
/// be a multiple of 2 s. The closing zero byte belongs to it: the kernel overwrites the last byte that
/// is written, and would read a tenth of the window without it.
pub const PSI_TRIGGER: &[u8] = b"some 150000 2000000\0";

/// One pressure event asks for one part in this many of what can be given ...
pub const PSI_SHARE: u64 = 8;

/// ... but for no less than this many bytes, so that giving everything takes few events.
pub const PSI_MIN_BYTES: u64 = 1 << 20;

/// What one pressure event asks for: an eighth of `givable_bytes`, at least 1 MiB, at most all.
///
/// The kernel reports at most one event per trigger and window (2 s), so under steady pressure half
/// of a large holding is given in about 10 s.
#[must_use]
pub fn psi_demand_bytes(givable_bytes: u64) -> u64 {
    (givable_bytes / PSI_SHARE)
        .max(PSI_MIN_BYTES)
        .min(givable_bytes)
}

/// `some avg10=1.23 avg60=...` in hundredths of a percent.
pub(crate) fn parse_some_avg10(text: &[u8]) -> Option<u32> {
    let line = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"some "))?;
    let value = line
        .split(|&byte| byte == b' ')
        .find_map(|field| field.strip_prefix(b"avg10="))?;
    let (whole, hundredths) = std::str::from_utf8(value).ok()?.split_once('.')?;
    let is_decimal = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if hundredths.len() != 2 || !is_decimal(hundredths) || !is_decimal(whole) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    whole
        .checked_mul(100)?
        .checked_add(hundredths.parse().ok()?)
}

/// Opens a pressure-stall file and writes `trigger` to it, unless that is empty.
///
/// # Errors
/// The kernel's; `EPERM` where the file cannot be waited on, in which case nothing was written.
pub(crate) fn open_trigger(path: &Path, trigger: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    must_be_waitable(file.as_fd())?;
    write_whole(file.as_fd(), trigger)?;
    Ok(file)
}

/// Writes `bytes` in one call: triggers are read by the call.
pub(crate) fn write_whole(file: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() || rustix::io::write(file, bytes)? == bytes.len() {
        return Ok(());
    }
    Err(io::ErrorKind::WriteZero.into())
}

/// Only what an epoll set accepts is a source. It also keeps us from writing into an ordinary file
/// that happens to lie there, since epoll refuses those.
pub(crate) fn must_be_waitable(file: impl AsFd) -> io::Result<()> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &set,
        file,
        epoll::EventData::new_u64(0),
        epoll::EventFlags::PRI,
    )?;
    Ok(())
}

/// Why a source is not there, in words and with what helps.
pub(crate) fn why_absent(error: &io::Error) -> String {
    let help = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NODEV) => {
            "there is no such file (Linux 4.20 or later with PSI has it)"
        }
        Some(Errno::OPNOTSUPP) => "PSI is compiled in but off; boot with psi=1",
        Some(Errno::ACCESS) => "not writable by this user",
        Some(Errno::PERM) => {
            "not a file that can be waited on, or not allowed (Linux 6.5 or CAP_SYS_RESOURCE is needed)"
        }
        Some(Errno::INVAL) => "the kernel refused the trigger",
        _ => return error.to_string(),
    };
    format!("{error}: {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_asks_for_an_eighth_within_bounds() {
        assert_eq!(psi_demand_bytes(0), 0);
        assert_eq!(psi_demand_bytes(4096), 4096);
        assert_eq!(psi_demand_bytes(2 << 20), 1 << 20);
        assert_eq!(psi_demand_bytes(64 << 20), 8 << 20);
        assert_eq!(psi_demand_bytes(u64::MAX), u64::MAX / 8);
    }

    #[test]
    fn the_share_of_stalls_is_read_or_left_out() {
        let text = b"some avg10=12.05 avg60=1.00 avg300=0.00 total=7\nfull avg10=3.00\n";
        assert_eq!(parse_some_avg10(text), Some(1205));
        for broken in [
            &b""[..],
            b"full avg10=3.00",
            b"some avg60=1.00",
            b"some avg10=1",
            b"some avg10=1.2",
            b"some avg10=-1.20",
            b"some avg10=1.+2",
            b"some avg10=99999999999.00",
        ] {
            assert_eq!(parse_some_avg10(broken), None);
        }
    }

    #[test]
    fn an_ordinary_file_is_refused_and_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        std::fs::write(&path, "mine").unwrap();
        let error = open_trigger(&path, PSI_TRIGGER).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
