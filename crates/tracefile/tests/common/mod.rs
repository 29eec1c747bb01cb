//! Spools made by hand.

use std::io::Write;
use std::path::{Path, PathBuf};

use vidmm_trace::{EVENT_BYTES, FrameHead, Header};
use vidmm_tracefile::Event;

/// Writes a spool with these frames, each of one thread; it looks like that of a process that was
/// killed.
pub(crate) fn spool(directory: &Path, pid: u32, frames: &[(u32, Vec<Event>)]) -> PathBuf {
    let path = directory.join(format!("{pid}-0.vtrace"));
    let mut file = std::fs::File::create(&path).unwrap();
    let header = Header {
        pid,
        pool: 0,
        start_ns: 1,
        to_real_ns: 1_700_000_000_000_000_000,
        command: format!("program {pid}"),
    };
    file.write_all(&header.to_bytes()).unwrap();
    for (thread, events) in frames {
        let bytes: Vec<u8> = events.iter().flat_map(|event| event.to_bytes()).collect();
        let head = FrameHead {
            thread: *thread,
            count: u32::try_from(bytes.len() / EVENT_BYTES).unwrap(),
            before: 0,
            lost: 0,
        };
        file.write_all(&head.to_bytes(&bytes)).unwrap();
        file.write_all(&bytes).unwrap();
    }
    path
}
