//! The pages of a column, as the library wants them: found, unpacked and looked at here, so that what
//! it decodes has a form that it expects, and memory is taken for what is there.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

use super::Holds;
use super::footer::Chunk;
use super::thrift::{Kind, Source};

/// A page has at most so many bytes, packed or not; usual ones have one MiB.
const PAGE_MAX_BYTES: u64 = 32 << 20;
/// The head of a page has at most so many.
const HEAD_MAX_BYTES: u64 = 8 << 10;
/// A dictionary has at most so many values.
const DICTIONARY_MAX: u64 = 1 << 20;
/// A block of differences has at most so many values; usual ones have 128 or 256.
const BLOCK_MAX: u64 = 1 << 16;

/// The packings that are read, by their numbers in the format.
const PLAIN: i64 = 0;
const SNAPPY: i64 = 1;

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(ParquetError::General(why.into()))
}

/// A file that is read at places.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) file: File,
    pub(super) length_bytes: u64,
    /// How much has been read.
    pub(super) read_bytes: Arc<AtomicU64>,
}

/// The pages of a column in one group.
pub(super) struct Pages {
    whole: Arc<Whole>,
    is_packed: bool,
    holds: Holds,
    /// Values may be lacking, and pages say which.
    may_lack: bool,
    next: u64,
    end: u64,
    /// Values that are to come, those that lack counted.
    left: u64,
    has_dictionary: bool,
}

/// What stands before a page.
#[derive(Debug, Default)]
struct Head {
    kind: Option<i64>,
    unpacked_bytes: Option<u64>,
    packed_bytes: Option<u64>,
    data: Option<About>,
    dictionary: Option<About>,
    data_v2: Option<About>,
}

#[derive(Debug, Default)]
struct About {
    values: u64,
    encoding: i64,
    level_encoding: i64,
    /// Of the second version of pages only.
    nulls: u64,
    rows: u64,
    levels_bytes: u64,
    repetitions_bytes: u64,
    is_plain: bool,
}

impl Pages {
    pub(super) fn new(
        whole: Arc<Whole>,
        chunk: &Chunk,
        holds: Holds,
        may_lack: bool,
    ) -> Result<Self> {
        let end = chunk.start.checked_add(chunk.length_bytes);
        let Some(end) = end.filter(|end| *end <= whole.length_bytes) else {
            return refuse("a column reaches beyond the end of the file");
        };
        Ok(Pages {
            is_packed: match chunk.codec {
                PLAIN => false,
                SNAPPY => true,
                _ => return refuse("it is packed in a way that is not read here; snappy is"),
            },
            holds,
            may_lack,
            next: chunk.start,
            end,
            left: chunk.values,
            whole,
            has_dictionary: false,
        })
    }

    fn read(&self, start: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.whole.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// The next page, and what its head says.
    fn read_page(&mut self) -> Result<(Head, Vec<u8>)> {
        let most = (self.end - self.next).min(HEAD_MAX_BYTES);
        let bytes = self.read(self.next, most)?;
        let mut source = Source(&bytes);
        let Some(head) = Head::parse(&mut source) else {
            return refuse("the head of a page makes no sense");
        };
        let head_bytes = (bytes.len() - source.0.len()) as u64;
        let start = self.next + head_bytes;
        let (Some(packed), Some(unpacked)) = (head.packed_bytes, head.unpacked_bytes) else {
            return refuse("a page does not say how long it is");
        };
        if packed > self.end - start {
            return refuse("a page is longer than its column");
        }
        if packed > PAGE_MAX_BYTES || unpacked > PAGE_MAX_BYTES {
            return refuse("a page is longer than any should be");
        }
        let body = self.read(start, packed)?;
        self.next = start + packed;
        let read_bytes = &self.whole.read_bytes;
        read_bytes.fetch_add(head_bytes + packed, Ordering::Relaxed);
        Ok((head, body))
    }

    /// Unpacks all behind the first `bare` bytes.
    fn unpack(&self, body: Vec<u8>, bare: u64, unpacked: u64, is_plain: bool) -> Result<Bytes> {
        let total = usize::try_from(unpacked).unwrap_or(usize::MAX);
        let bare = usize::try_from(bare).unwrap_or(usize::MAX);
        if bare > body.len() || bare > total {
            return refuse("a page is shorter than its levels");
        }
        if !self.is_packed || is_plain {
            return match body.len() == total {
                true => Ok(body.into()),
                false => refuse("a page is not as long as it says"),
            };
        }
        let packed = &body[bare..];
        if total == bare && packed.is_empty() {
            return Ok(body.into());
        }
        if snap::raw::decompress_len(packed).ok() != Some(total - bare) {
            return refuse("a page does not unpack to what it says");
        }
        let mut bytes = vec![0; total];
        bytes[..bare].copy_from_slice(&body[..bare]);
        let unpacked = snap::raw::Decoder::new().decompress(packed, &mut bytes[bare..]);
        match unpacked {
            Ok(count) if count == total - bare => Ok(bytes.into()),
            _ => refuse("a page does not unpack"),
        }
    }

    fn dictionary(&mut self, about: &About, buf: Bytes) -> Result<Page> {
        if std::mem::replace(&mut self.has_dictionary, true) {
            return refuse("a column has two dictionaries");
        }
        if !matches!(about.encoding, 0 | 2) {
            return refuse("a dictionary is encoded in a way that is not read here");
        }
        if about.values > DICTIONARY_MAX {
            return refuse("a dictionary has more values than any should have");
        }
        self.check_plain(&buf, about.values)?;
        Ok(Page::DictionaryPage {
            buf,
            num_values: number(about.values)?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        })
    }

    /// Values one after the other: are there so many? (Of pages with lacking values it is not known
    /// how many there are; the library finds that out.)
    fn check_plain(&self, mut bytes: &[u8], values: u64) -> Result<()> {
        let is_enough = match self.holds {
            Holds::U32 | Holds::Float => values.saturating_mul(4) <= bytes.len() as u64,
            Holds::U64 => values.saturating_mul(8) <= bytes.len() as u64,
            Holds::Text => (0..values).all(|_| {
                let rest = bytes
                    .split_first_chunk()
                    .and_then(|(length, rest)| rest.get(u32::from_le_bytes(*length) as usize..));
                rest.map(|rest| bytes = rest).is_some()
            }),
        };
        match is_enough {
            true => Ok(()),
            false => refuse("a page has fewer values than it says"),
        }
    }

    /// How the values are encoded, if that is read here and `values` begin like that.
    fn check_values(&self, about: &About, values: &[u8]) -> Result<Encoding> {
        match about.encoding {
            0 => {
                if !self.may_lack {
                    self.check_plain(values, about.values)?;
                } else if self.holds == Holds::Text {
                    return refuse("a text may be lacking");
                }
                Ok(Encoding::PLAIN)
            }
            2 | 8 if self.has_dictionary => Ok(Encoding::RLE_DICTIONARY),
            2 | 8 => refuse("a page needs a dictionary, and there is none"),
            5 if matches!(self.holds, Holds::U32 | Holds::U64) => {
                let mut source = Source(values);
                let block = source.varint().unwrap_or(0);
                let parts = source.varint().unwrap_or(0);
                let total = source.varint().unwrap_or(0);
                if !(1..=BLOCK_MAX).contains(&block) || !(1..=block).contains(&parts) {
                    return refuse("a page has blocks of no size that is read here");
                }
                // Where values may be lacking it is not known here how many there are.
                let least = if self.may_lack { 1 } else { about.values };
                match (least..=about.values).contains(&total) {
                    true => Ok(Encoding::DELTA_BINARY_PACKED),
                    false => refuse("a page has fewer values than it says"),
                }
            }
            other => refuse(format!(
                "a page is encoded in a way that is not read here (number {other})"
            )),
        }
    }

    fn data(&self, about: &About, buf: Bytes) -> Result<Page> {
        // The levels, behind their length.
        const RLE: i64 = 3;
        let values = match self.may_lack {
            false => Some(&buf[..]),
            true if about.level_encoding != RLE => None,
            true => buf
                .split_first_chunk()
                .and_then(|(length, rest)| rest.get(u32::from_le_bytes(*length) as usize..)),
        };
        let Some(values) = values else {
            return refuse("a page does not say which values it lacks");
        };
        let encoding = self.check_values(about, values)?;
        Ok(Page::DataPage {
            buf,
            num_values: number(about.values)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })
    }

    fn data_v2(&self, about: &About, buf: Bytes) -> Result<Page> {
        let skip = usize::try_from(about.levels_bytes).unwrap_or(usize::MAX);
        let values = buf.get(skip..).filter(|_| about.nulls <= about.values);
        let Some(values) = values.filter(|_| about.repetitions_bytes == 0) else {
            return refuse("a page does not say which values it lacks");
        };
        let there = About {
            values: about.values - about.nulls,
            encoding: about.encoding,
            ..About::default()
        };
        let encoding = self.check_values(&there, values)?;
        Ok(Page::DataPageV2 {
            num_values: number(about.values)?,
            encoding,
            num_nulls: number(about.nulls)?,
            num_rows: number(about.rows)?,
            def_levels_byte_len: number(about.levels_bytes)?,
            rep_levels_byte_len: 0,
            is_compressed: false,
            statistics: None,
            buf,
        })
    }
}

fn number(count: u64) -> Result<u32> {
    // The format's numbers are signed.
    match i32::try_from(count) {
        Ok(count) => Ok(count.unsigned_abs()),
        Err(_) => refuse("a page has more values than any can have"),
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        while self.left > 0 && self.next < self.end {
            let (head, body) = self.read_page()?;
            let unpacked = head.unpacked_bytes.unwrap_or(0);
            let (page, about) = match head {
                Head {
                    kind: Some(0),
                    data: Some(about),
                    ..
                } => {
                    let buf = self.unpack(body, 0, unpacked, false)?;
                    (self.data(&about, buf)?, about)
                }
                Head {
                    kind: Some(2),
                    dictionary: Some(about),
                    ..
                } => {
                    let buf = self.unpack(body, 0, unpacked, false)?;
                    return self.dictionary(&about, buf).map(Some);
                }
                Head {
                    kind: Some(3),
                    data_v2: Some(about),
                    ..
                } => {
                    let levels = about.levels_bytes.saturating_add(about.repetitions_bytes);
                    let buf = self.unpack(body, levels, unpacked, about.is_plain)?;
                    (self.data_v2(&about, buf)?, about)
                }
                // An index, which nobody here needs.
                Head { kind: Some(1), .. } => continue,
                _ => return refuse("the head of a page makes no sense"),
            };
            if about.values > self.left {
                return refuse("a column has more values than it says");
            }
            self.left -= about.values;
            if about.values > 0 {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        refuse("pages are read in their order here")
    }

    fn skip_next_page(&mut self) -> Result<()> {
        refuse("pages are read in their order here")
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl Head {
    fn parse(source: &mut Source<'_>) -> Option<Self> {
        let mut head = Head::default();
        source.members(|source, number, kind| {
            match (number, kind) {
                (1, _) => head.kind = Some(source.int(kind)?),
                (2, _) => head.unpacked_bytes = Some(source.count(kind)?),
                (3, _) => head.packed_bytes = Some(source.count(kind)?),
                (5, Kind::Struct) => head.data = Some(About::parse_data(source)?),
                (7, Kind::Struct) => head.dictionary = Some(About::parse_dictionary(source)?),
                (8, Kind::Struct) => head.data_v2 = Some(About::parse_v2(source)?),
                _ => source.skip(kind)?,
            }
            Some(())
        })?;
        Some(head)
    }
}

impl About {
    fn parse_data(source: &mut Source<'_>) -> Option<Self> {
        let mut about = About::default();
        source.members(|source, number, kind| {
            match number {
                1 => about.values = source.count(kind)?,
                2 => about.encoding = source.int(kind)?,
                3 => about.level_encoding = source.int(kind)?,
                _ => source.skip(kind)?,
            }
            Some(())
        })?;
        Some(about)
    }

    fn parse_dictionary(source: &mut Source<'_>) -> Option<Self> {
        let mut about = About::default();
        source.members(|source, number, kind| {
            match number {
                1 => about.values = source.count(kind)?,
                2 => about.encoding = source.int(kind)?,
                _ => source.skip(kind)?,
            }
            Some(())
        })?;
        Some(about)
    }

    fn parse_v2(source: &mut Source<'_>) -> Option<Self> {
        let mut about = About::default();
        source.members(|source, number, kind| {
            match number {
                1 => about.values = source.count(kind)?,
                2 => about.nulls = source.count(kind)?,
                3 => about.rows = source.count(kind)?,
                4 => about.encoding = source.int(kind)?,
                5 => about.levels_bytes = source.count(kind)?,
                6 => about.repetitions_bytes = source.count(kind)?,
                // Packed unless it is said that it is not.
                7 => about.is_plain = kind == Kind::False,
                _ => source.skip(kind)?,
            }
            Some(())
        })?;
        Some(about)
    }
}
