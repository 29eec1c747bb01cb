//! Comma-separated values.

use std::io::BufRead;

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};

use crate::access::Access;
use crate::error::{Problem, echo};
use crate::import::Import;
use crate::packing::Content;
use crate::text::{cost, fraction, need, number};

/// Which column is what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    time: usize,
    id: usize,
    size: usize,
    cost: Option<usize>,
    /// The line that says so is a line of names and no access.
    pub(crate) named: bool,
}

impl Columns {
    /// What the first line says: names, in any order and with others between them, or the values of
    /// an access in the order `time,id,size[,cost]`.
    pub(crate) fn of<'a>(first: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, String> {
        let fields: Vec<&[u8]> = first.into_iter().map(<[u8]>::trim_ascii).collect();
        if fields.first().is_some_and(|field| is_time(field)) {
            return match fields.len() {
                3 | 4 => Ok(Columns {
                    time: 0,
                    id: 1,
                    size: 2,
                    cost: (fields.len() == 4).then_some(3),
                    named: false,
                }),
                count => Err(format!(
                    "{count} values where a line is time,id,size or time,id,size,cost (with other \
                     columns, the first line must name them)"
                )),
            };
        }
        let place = |name: &str| {
            fields
                .iter()
                .position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
        };
        let need = |name: &str| {
            place(name).ok_or_else(|| {
                format!(
                    "the first line has neither numbers nor a column named `{name}`; it begins with \
                     {}",
                    echo(fields.first().copied().unwrap_or_default())
                )
            })
        };
        Ok(Columns {
            time: need("time")?,
            id: need("id")?,
            size: need("size")?,
            cost: place("cost"),
            named: true,
        })
    }
}

fn is_time(field: &[u8]) -> bool {
    number(field).is_some() || fraction(field).is_some()
}

pub(super) struct Values {
    reader: Reader<Box<dyn BufRead + Send>>,
    record: ByteRecord,
    columns: Option<Columns>,
}

impl Values {
    pub(super) fn new(content: Content) -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(Trim::All)
            // A quote that is never closed would make the rest of the file one value.
            .quoting(false)
            .from_reader(content);
        Values {
            reader,
            record: ByteRecord::new(),
            columns: None,
        }
    }

    /// Reads a record; says in which line, or `None` at the end.
    fn read(&mut self) -> Result<Option<u64>, Problem> {
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(self.record.position().map_or(0, csv::Position::line))),
            Err(error) => {
                let line = self.reader.position().line();
                let text = error.to_string();
                match error.into_kind() {
                    csv::ErrorKind::Io(error) => Err(error.into()),
                    _ => Err(Problem::line(line, text)),
                }
            }
        }
    }
}

impl Import for Values {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        let Some(mut line) = self.read()? else {
            return Ok(None);
        };
        let columns = match self.columns {
            Some(columns) => columns,
            None => {
                let columns = Columns::of(&self.record).map_err(|why| Problem::line(line, why))?;
                self.columns = Some(columns);
                if columns.named {
                    let Some(next) = self.read()? else {
                        return Ok(None);
                    };
                    line = next;
                }
                columns
            }
        };
        access(line, &self.record, columns).map(Some)
    }
}

fn access(line: u64, record: &ByteRecord, columns: Columns) -> Result<Access, Problem> {
    let value = |name: &str, column: usize| {
        record.get(column).ok_or_else(|| {
            Problem::line(
                line,
                format!(
                    "there is no {name}: the line has only {} values",
                    record.len()
                ),
            )
        })
    };
    let cost = match columns.cost {
        None => None,
        Some(column) => match value("cost", column)? {
            // Not known.
            b"" => None,
            text => Some(cost(text).ok_or_else(|| {
                Problem::line(
                    line,
                    format!("the cost {} is no number from 0 on", echo(text)),
                )
            })?),
        },
    };
    if !columns.named && record.len() > 4 {
        return Err(Problem::line(
            line,
            format!("{} values where there were fewer before", record.len()),
        ));
    }
    Ok(Access {
        time: time(line, value("time", columns.time)?)?,
        id: need(line, "id", value("id", columns.id)?)?,
        size_bytes: need(line, "size", value("size", columns.size)?)?,
        cost,
    })
}

/// A time may have a fraction, which is dropped.
fn time(line: u64, text: &[u8]) -> Result<u64, Problem> {
    if let Some(time) = number(text) {
        return Ok(time);
    }
    match fraction(text) {
        // The bound: 2^64, beyond which the conversion would saturate.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(time) if time < 18_446_744_073_709_551_616.0 => Ok(time as u64),
        _ => Err(Problem::line(
            line,
            format!("the time {} is no number from 0 to 2^64", echo(text)),
        )),
    }
}
