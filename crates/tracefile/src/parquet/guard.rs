//! What stands between a file that somebody made and the library that reads it: what a page says of
//! itself is looked at before memory is taken for it. Without this a few bytes could ask for
//! gigabytes, and for more than there is, which ends a process.

use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// A page, unpacked, has at most so many bytes; usual ones have one MiB.
const PAGE_MAX_BYTES: u64 = 64 << 20;
/// Before a page stands at most this.
const PAGE_HEAD_MAX_BYTES: usize = 4 << 10;
/// A dictionary has at most so many values.
const DICTIONARY_MAX: u32 = 1 << 20;

fn refuse<T>(why: &str) -> Result<T> {
    Err(ParquetError::General(why.to_owned()))
}

/// The pages of a file.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) file: File,
    pub(super) length_bytes: u64,
    /// How much has been read.
    pub(super) read_bytes: Arc<AtomicU64>,
}

impl Guarded {
    fn read(&self, start: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        self.read_bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

impl Length for Guarded {
    fn len(&self) -> u64 {
        self.length_bytes
    }
}

impl ChunkReader for Guarded {
    type T = Cursor<Vec<u8>>;

    /// The head of a page.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let left = self.length_bytes.saturating_sub(start);
        let length = usize::try_from(left).unwrap_or(usize::MAX);
        let head = self.read(start, length.min(PAGE_HEAD_MAX_BYTES))?;
        if unpacked_bytes(&head).is_none_or(|bytes| bytes > PAGE_MAX_BYTES) {
            return refuse("the head of a page is damaged, or the page longer than any should be");
        }
        // The head is read from here; what stands in it is read again, from the page's start.
        self.read_bytes
            .fetch_sub(head.len() as u64, Ordering::Relaxed);
        Ok(Cursor::new(head))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if length as u64 > PAGE_MAX_BYTES || end.is_none_or(|end| end > self.length_bytes) {
            return refuse("a page is longer than any should be, or than the file");
        }
        Ok(self.read(start, length)?.into())
    }
}

/// How long a page says that it is when unpacked. Its head is a structure whose first members are
/// 32-bit numbers: kind, then this; each is a byte that says so and a number of variable length.
/// Everybody writes them in this order.
fn unpacked_bytes(head: &[u8]) -> Option<u64> {
    const NEXT_I32: u8 = 0x15;
    let mut head = head.iter();
    let mut member = || {
        if *head.next()? != NEXT_I32 {
            return None;
        }
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *head.next()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // The sign is the lowest bit.
                return (number & 1 == 0).then_some(number >> 1);
            }
        }
        None
    };
    let _kind = member()?;
    member()
}

/// The pages of a column, looked at before they are decoded.
pub(super) struct Checked<P>(pub(super) P);

impl<P: PageReader> PageReader for Checked<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(page) = self.0.get_next_page()? else {
            return Ok(None);
        };
        match &page {
            Page::DictionaryPage {
                buf, num_values, ..
            } if *num_values > DICTIONARY_MAX || *num_values as usize > buf.len() => {
                refuse("a dictionary has more values than it can have")
            }
            Page::DictionaryPage {
                encoding: Encoding::PLAIN | Encoding::PLAIN_DICTIONARY,
                ..
            }
            | Page::DataPage {
                encoding:
                    Encoding::PLAIN
                    | Encoding::PLAIN_DICTIONARY
                    | Encoding::RLE_DICTIONARY
                    | Encoding::DELTA_BINARY_PACKED,
                ..
            }
            | Page::DataPageV2 {
                encoding:
                    Encoding::PLAIN
                    | Encoding::PLAIN_DICTIONARY
                    | Encoding::RLE_DICTIONARY
                    | Encoding::DELTA_BINARY_PACKED,
                ..
            } => Ok(Some(page)),
            page => refuse(&format!(
                "a page is encoded in a way that is not read here: {:?}",
                page.encoding()
            )),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }
}

impl<P: PageReader> Iterator for Checked<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// The end of a file, which says what is in it.
///
/// # Errors
/// It is longer than any should be, or the file cannot be read.
pub(super) fn metadata_bytes(file: &File, length_bytes: u64) -> Result<Bytes> {
    const TAIL_BYTES: u64 = 8;
    let mut tail = [0; TAIL_BYTES as usize];
    let end = length_bytes.checked_sub(TAIL_BYTES);
    let Some(end) = end.filter(|end| *end >= 4) else {
        return refuse("the file is too short");
    };
    file.read_exact_at(&mut tail, end)?;
    let [l0, l1, l2, l3, magic @ ..] = tail;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let start = end.checked_sub(u64::from(length)).filter(|s| *s >= 4);
    match start {
        _ if magic != *super::MAGIC => refuse("the file does not end as it should: it is cut short"),
        Some(start) if u64::from(length) <= PAGE_MAX_BYTES => {
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, start)?;
            Ok(bytes.into())
        }
        _ => refuse("what the file says of itself is longer than it should be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_how_long_it_is() {
        // A data page (0) of 300 bytes, packed into 7.
        assert_eq!(
            unpacked_bytes(&[0x15, 0, 0x15, 0xd8, 0x04, 0x15, 14]),
            Some(300)
        );
        let two_gib = [0x15, 4, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(unpacked_bytes(&two_gib), Some(i32::MAX as u64));
        // Negative, endless, in another order, cut.
        assert_eq!(unpacked_bytes(&[0x15, 0, 0x15, 1]), None);
        assert_eq!(unpacked_bytes(&[0x15, 0, 0x15, 255, 255, 255, 255, 255, 1]), None);
        assert_eq!(unpacked_bytes(&[0x25, 0, 0x05, 2, 4]), None);
        assert_eq!(unpacked_bytes(&[0x15, 0, 0x15]), None);
    }
}
