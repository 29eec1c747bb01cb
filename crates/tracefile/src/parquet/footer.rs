//! The end of a Parquet file, which says what is in it.
//!
//! Read here and not by the library, which takes memory for what a number says - a few bytes can
//! ask for gigabytes, and for more than there is, which ends a process - and goes as deep as the file
//! wants.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::MAGIC;
use super::thrift::{Kind, Source};
use crate::error::{Place, Problem};

/// What a file says of itself is at most so long, in bytes: enough for many thousand groups.
const LENGTH_MAX_BYTES: u64 = 32 << 20;
/// A file has at most so many columns,
const COLUMNS_MAX: usize = 1024;
/// and so many pieces of columns.
const CHUNKS_MAX: usize = 1 << 20;
/// A text under one of our keys is at most so long, in bytes: 100,000 processes.
const VALUE_MAX_BYTES: usize = 24 << 20;
/// Keys that are ours begin like this.
const OUR_KEYS: &[u8] = b"vidmm.";

/// What is in a file.
#[derive(Debug, Default)]
pub(super) struct Footer {
    /// In the order in which groups have them.
    pub(super) columns: Vec<ColumnAbout>,
    pub(super) groups: Vec<Group>,
    pub(super) rows: u64,
    values: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct ColumnAbout {
    pub(super) name: String,
    /// The number of what its values are as bytes, as the format has it.
    pub(super) physical: i64,
    pub(super) may_lack: bool,
    /// A value for each row or none: no lists, nothing within something.
    pub(super) is_plain: bool,
}

/// Rows that are together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) rows: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// A column's values in a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// The number of the packing, as the format has it.
    pub(super) codec: i64,
    pub(super) physical: i64,
    pub(super) values: u64,
    pub(super) start: u64,
    pub(super) length_bytes: u64,
}

fn wrong(problem: impl Into<String>) -> Problem {
    Problem::Content(Place::File, problem.into())
}

impl Footer {
    /// Reads it.
    ///
    /// # Errors
    /// The file is cut, damaged, or beyond the limits.
    pub(super) fn read(file: &File, length_bytes: u64) -> Result<Self, Problem> {
        let bytes = bytes_of(file, length_bytes)?;
        let mut footer = Footer::default();
        let mut limit = None;
        match footer.parse(&mut Source(&bytes), &mut limit) {
            Some(()) => Ok(footer),
            None => Err(limit.map_or_else(
                || wrong("the Parquet file is damaged: what it says of itself makes no sense"),
                wrong,
            )),
        }
    }

    /// What stands under one of our keys.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let pair = self.values.iter().find(|(name, _)| name == key)?;
        Some(&pair.1)
    }

    /// The structure of the whole. Other programs may leave out and add what they like, but the columns
    /// come before the groups.
    fn parse(&mut self, source: &mut Source<'_>, limit: &mut Option<String>) -> Option<()> {
        let mut chunks = 0;
        let mut has_groups = false;
        source.members(|source, number, kind| match number {
            2 => {
                if !self.columns.is_empty() {
                    return None;
                }
                self.parse_columns(source, kind, limit)
            }
            3 => {
                self.rows = source.count(kind)?;
                Some(())
            }
            4 => {
                if self.columns.is_empty() || std::mem::replace(&mut has_groups, true) {
                    return None;
                }
                let columns = self.columns.len();
                source.structs(kind, |source| {
                    chunks += columns;
                    if chunks > CHUNKS_MAX {
                        *limit = Some(format!("the file has more than {CHUNKS_MAX} pieces"));
                        return None;
                    }
                    self.groups.push(parse_group(source, columns)?);
                    Some(())
                })
            }
            5 => source.structs(kind, |source| self.parse_value(source, limit)),
            _ => source.skip(kind),
        })?;
        has_groups.then_some(())
    }

    /// The schema is a tree, written root first, each before its children.
    fn parse_columns(
        &mut self,
        source: &mut Source<'_>,
        kind: Kind,
        limit: &mut Option<String>,
    ) -> Option<()> {
        // How many children are still to come, of the root and of all that are open.
        let mut open: Vec<u64> = Vec::new();
        let mut is_root = true;
        source.structs(kind, |source| {
            let element = Element::parse(source)?;
            if std::mem::replace(&mut is_root, false) {
                open.push(element.children);
                return Some(());
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            let depth = open.len();
            let left = open.last_mut()?;
            *left -= 1;
            if element.children > 0 {
                open.push(element.children);
            } else {
                self.columns.push(ColumnAbout {
                    name: element.name,
                    physical: element.physical?,
                    may_lack: element.repetition == 1,
                    is_plain: depth == 1 && element.repetition < 2,
                });
            }
            if self.columns.len() > COLUMNS_MAX || open.len() > COLUMNS_MAX {
                *limit = Some(format!("the file has more than {COLUMNS_MAX} columns"));
                return None;
            }
            Some(())
        })?;
        open.iter().all(|left| *left == 0).then_some(())
    }

    fn parse_value(&mut self, source: &mut Source<'_>, limit: &mut Option<String>) -> Option<()> {
        let (mut key, mut value) = (&b""[..], &b""[..]);
        source.members(|source, number, kind| {
            match number {
                1 => key = source.binary(kind)?,
                2 => value = source.binary(kind)?,
                _ => source.skip(kind)?,
            }
            Some(())
        })?;
        if !key.starts_with(OUR_KEYS) || key.len() > 64 || self.values.len() >= 16 {
            return Some(());
        }
        if value.len() > VALUE_MAX_BYTES {
            *limit = Some("what the file says of its processes is too long".to_owned());
            return None;
        }
        let text = |bytes| std::str::from_utf8(bytes).ok().map(str::to_owned);
        self.values.push((text(key)?, text(value)?));
        Some(())
    }
}

/// A node of the schema.
#[derive(Default)]
struct Element {
    name: String,
    physical: Option<i64>,
    /// 0 one, 1 one or none, 2 many.
    repetition: i64,
    children: u64,
}

impl Element {
    fn parse(source: &mut Source<'_>) -> Option<Self> {
        let mut element = Element::default();
        source.members(|source, number, kind| {
            match number {
                1 => element.physical = Some(source.int(kind)?),
                3 => element.repetition = source.int(kind)?,
                4 => {
                    let name = source.binary(kind)?;
                    element.name = String::from_utf8_lossy(&name[..name.len().min(256)]).into();
                }
                5 => element.children = source.count(kind)?,
                _ => source.skip(kind)?,
            }
            Some(())
        })?;
        Some(element)
    }
}

fn parse_group(source: &mut Source<'_>, columns: usize) -> Option<Group> {
    let mut group = Group::default();
    source.members(|source, number, kind| match number {
        1 => {
            let is_again = !group.chunks.is_empty();
            source.structs(kind, |source| {
                if is_again || group.chunks.len() == columns {
                    return None;
                }
                group.chunks.push(parse_chunk(source)?);
                Some(())
            })
        }
        3 => {
            group.rows = source.count(kind)?;
            Some(())
        }
        _ => source.skip(kind),
    })?;
    (group.chunks.len() == columns).then_some(group)
}

fn parse_chunk(source: &mut Source<'_>) -> Option<Chunk> {
    let mut chunk = None;
    source.members(|source, number, kind| match (number, kind) {
        (3, Kind::Struct) => {
            chunk = Some(parse_chunk_about(source)?);
            Some(())
        }
        _ => source.skip(kind),
    })?;
    chunk
}

fn parse_chunk_about(source: &mut Source<'_>) -> Option<Chunk> {
    let (mut physical, mut codec, mut values, mut length, mut data) =
        (None, None, None, None, None);
    let mut dictionary = None;
    source.members(|source, number, kind| {
        match number {
            1 => physical = Some(source.int(kind)?),
            4 => codec = Some(source.int(kind)?),
            5 => values = Some(source.count(kind)?),
            7 => length = Some(source.count(kind)?),
            9 => data = Some(source.count(kind)?),
            11 => dictionary = Some(source.count(kind)?),
            _ => source.skip(kind)?,
        }
        Some(())
    })?;
    let data = data?;
    Some(Chunk {
        codec: codec?,
        physical: physical?,
        values: values?,
        // Some write 0 where there is none.
        start: dictionary
            .filter(|start| *start > 0)
            .unwrap_or(data)
            .min(data),
        length_bytes: length?,
    })
}

fn bytes_of(file: &File, length_bytes: u64) -> Result<Vec<u8>, Problem> {
    let magic_bytes = MAGIC.len() as u64;
    let mut tail = [0; 8];
    let Some(end) = length_bytes
        .checked_sub(tail.len() as u64)
        .filter(|end| *end >= magic_bytes)
    else {
        return Err(wrong("the file is too short for a Parquet file: it is cut"));
    };
    file.read_exact_at(&mut tail, end)?;
    let [l0, l1, l2, l3, magic @ ..] = tail;
    if magic != *MAGIC {
        return Err(wrong(
            "the Parquet file does not end as it should: it is cut short",
        ));
    }
    let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    let start = end
        .checked_sub(length)
        .filter(|start| *start >= magic_bytes);
    let Some(start) = start else {
        return Err(wrong(
            "the Parquet file is damaged: its end is longer than the whole",
        ));
    };
    if length > LENGTH_MAX_BYTES {
        return Err(wrong(format!(
            "the file says more of itself than is read here: {length} bytes"
        )));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(footer: &[u8]) -> Result<Footer, String> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(footer);
        bytes.extend(u32::try_from(footer.len()).unwrap().to_le_bytes());
        bytes.extend(MAGIC);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        Footer::read(&file, bytes.len() as u64).map_err(|problem| match problem {
            Problem::Content(_, text) => text,
            Problem::Read(error) => error.to_string(),
        })
    }

    /// A root with so many children (in a number of variable length) and a leaf `x`.
    fn schema(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x29, 0x2c, 0x48, 1, b'r', 0x15];
        bytes.extend(children);
        bytes.extend([0, 0x15, 2, 0x25, 0, 0x18, 1, b'x', 0]);
        bytes
    }

    #[test]
    fn a_file_of_no_rows_is_read() {
        let mut bytes = schema(&[2]);
        // No rows, no groups, the end.
        bytes.extend([0x16, 0, 0x19, 0x0c, 0]);
        let footer = read(&bytes).unwrap();
        assert_eq!((footer.columns.len(), footer.groups.len()), (1, 0));
        assert!(footer.columns[0].is_plain && footer.columns[0].name == "x");
    }

    #[test]
    fn what_asks_for_more_than_there_is_gets_nothing() {
        // A root with two thousand million children, or with none.
        for children in [&[0xfe, 0xff, 0xff, 0xff, 0x0f][..], &[0]] {
            let mut bytes = schema(children);
            bytes.extend([0x16, 0, 0x19, 0x0c, 0]);
            assert!(read(&bytes).unwrap_err().contains("makes no sense"));
        }
        // A group for each byte, and more groups than bytes.
        let mut bytes = schema(&[2]);
        bytes.extend([0x16, 0, 0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f]);
        assert!(read(&bytes).unwrap_err().contains("makes no sense"));
        // As deep as there are bytes.
        let mut bytes = vec![0x29, 0xfc, 0xd0, 0x0f];
        for _ in 0..2000 {
            bytes.extend([0x48, 1, b'g', 0x15, 2, 0]);
        }
        assert!(read(&bytes).unwrap_err().contains("columns"));
        assert!(read(&[]).unwrap_err().contains("makes no sense"));
    }
}
