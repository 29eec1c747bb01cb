//! The file behind a ledger, as a trait, so that a test can let it fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;

/// What a ledger needs of its file.
pub(crate) trait LedgerFile: std::fmt::Debug + Send {
    /// Writes all of `bytes` at `offset`, or fails.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes sure that writes below `len_bytes` find room on the disk.
    fn allocate(&mut self, len_bytes: u64) -> io::Result<()>;
}

impl LedgerFile for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn allocate(&mut self, len_bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&*self, FallocateFlags::empty(), 0, len_bytes) {
            Ok(()) => Ok(()),
            // A file system without it: zeroes take the room as well. Only what is beyond the end.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let old_bytes = self.metadata()?.len();
                let zeroes = [0; 4096];
                let mut at = old_bytes;
                while at < len_bytes {
                    let count = (len_bytes - at).min(4096);
                    self.write_all_at(&zeroes[..usize::try_from(count).unwrap_or(0)], at)?;
                    at += count;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
