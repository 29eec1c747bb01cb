//! Reading our own format, and what other programs made of it. Rows come in batches, column by
//! column; what is in memory is a batch and a page of each column.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::ReaderProperties;
use parquet::file::serialized_reader::SerializedPageReader;
use vidmm_trace::{Class, Event, Kind};

use super::guard::{Checked, Guarded, metadata_bytes};
use super::{ABOUT_KEY, ACCESS_COLUMNS, Column, EVENT_COLUMNS};
use crate::about::About;
use crate::access::Access;
use crate::error::{Place, Problem, echo};
use crate::merge::Recorded;

/// So many rows are decoded at a time.
const BATCH_ROWS: usize = 4096;

/// What the library says, or that it stopped at something that it had not expected.
fn guarded<T>(place: Place, work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    // Whatever the state after a panic is, nothing of it is used again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let problem = "the file is damaged (its reader came upon something that cannot be)";
        Err(Problem::Content(place, problem.to_owned()))
    })
}

fn damaged(place: Place) -> impl Fn(ParquetError) -> Problem {
    move |error| {
        let text = match error {
            ParquetError::General(text) | ParquetError::EOF(text) => text,
            other => other.to_string(),
        };
        Problem::Content(place, format!("the Parquet file cannot be read: {text}"))
    }
}

/// An open file.
struct Groups {
    pages: Arc<Guarded>,
    metadata: ParquetMetaData,
    properties: Arc<ReaderProperties>,
    /// The group to be read next.
    next: usize,
    /// Rows of the group that is being read.
    left: usize,
    /// Rows read, of all groups.
    row: u64,
}

impl Groups {
    fn open(file: File, read_bytes: Arc<AtomicU64>) -> Result<Self, Problem> {
        guarded(Place::File, || {
            let length_bytes = file.metadata()?.len();
            let bytes = metadata_bytes(&file, length_bytes).map_err(damaged(Place::File))?;
            let metadata = ParquetMetaDataReader::decode_metadata(&bytes);
            let metadata = metadata.map_err(damaged(Place::File))?;
            let properties = ReaderProperties::builder()
                .set_read_page_statistics(false)
                .build();
            Ok(Groups {
                pages: Arc::new(Guarded {
                    file,
                    length_bytes,
                    read_bytes,
                }),
                metadata,
                properties: Arc::new(properties),
                next: 0,
                left: 0,
                row: 0,
            })
        })
    }

    /// What stands under a key of the metadata.
    fn value(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    /// Where the columns are.
    fn places(&self, columns: &[Column]) -> Result<Vec<usize>, Problem> {
        let schema = self.metadata.file_metadata().schema_descr();
        let place = |Column(name, holds): &Column| {
            let wrong = |problem: String| Err(Problem::Content(Place::File, problem));
            let at = schema.columns().iter().position(|column| {
                // Not of the same name within something.
                column.path().parts().len() == 1 && column.name() == *name
            });
            let Some(at) = at else {
                let names: Vec<&str> = schema.columns().iter().map(|c| c.name()).collect();
                return wrong(format!(
                    "there is no column `{name}`, so this is no trace of vidmm; there are {}",
                    echo(names.join(", ").as_bytes())
                ));
            };
            let column = schema.column(at);
            if column.max_rep_level() > 0 || column.max_def_level() > 1 {
                return wrong(format!("the column `{name}` has lists in it"));
            }
            if column.physical_type() != holds.physical() {
                return wrong(format!(
                    "the column `{name}` is {}, not {}",
                    column.physical_type(),
                    holds.physical()
                ));
            }
            Ok(at)
        };
        columns.iter().map(place).collect()
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    fn place(&self) -> Place {
        Place::Row(self.row)
    }

    /// Goes on to the next group; `false` if there is none.
    fn advance(&mut self) -> Result<bool, Problem> {
        if self.next == self.metadata.num_row_groups() {
            return Ok(false);
        }
        let rows = self.metadata.row_group(self.next).num_rows();
        self.left = usize::try_from(rows).map_err(|_| {
            Problem::Content(self.place(), format!("a group of rows has {rows}"))
        })?;
        self.next += 1;
        Ok(true)
    }

    /// A column of the group that is being read.
    fn column<T: DataType>(&self, place: usize) -> Result<Values<T>, Problem> {
        let group = self.metadata.row_group(self.next - 1);
        let about = group.columns().get(place);
        let about = about.ok_or_else(|| {
            Problem::Content(self.place(), "a group of rows lacks a column".to_owned())
        })?;
        let properties = Arc::clone(&self.properties);
        let pages = SerializedPageReader::new_with_properties(
            Arc::clone(&self.pages),
            about,
            self.left,
            None,
            properties,
        );
        let pages = Box::new(Checked(pages.map_err(damaged(self.place()))?));
        let description = self.metadata.file_metadata().schema_descr().column(place);
        let may_lack = description.max_def_level() > 0;
        Ok(Values {
            name: description.name().to_owned(),
            reader: get_typed_column_reader(get_column_reader(description, pages)),
            may_lack,
            values: Vec::new(),
            levels: Vec::new(),
        })
    }
}

/// A column that is being read.
struct Values<T: DataType> {
    name: String,
    reader: ColumnReaderImpl<T>,
    may_lack: bool,
    values: Vec<T::T>,
    levels: Vec<i16>,
}

impl<T: DataType> Values<T> {
    /// Reads the next `count` rows.
    fn fill(&mut self, count: usize, place: Place) -> Result<(), Problem> {
        self.values.clear();
        self.levels.clear();
        let mut have = 0;
        while have < count {
            let levels = self.may_lack.then_some(&mut self.levels);
            let read = self
                .reader
                .read_records(count - have, levels, None, &mut self.values)
                .map_err(damaged(place))?;
            if read.0 == 0 {
                break;
            }
            have += read.0;
        }
        let there = match self.may_lack {
            true => self.levels.len(),
            false => self.values.len(),
        };
        match have == count && there == count {
            true => Ok(()),
            false => Err(Problem::Content(
                place,
                format!("the column `{}` is shorter than others", self.name),
            )),
        }
    }

    /// As many values as rows, where none may be lacking.
    fn all(&mut self, count: usize, place: Place) -> Result<&[T::T], Problem> {
        self.fill(count, place)?;
        match self.values.len() == count {
            true => Ok(&self.values),
            false => Err(Problem::Content(
                place,
                format!("a value of the column `{}` is lacking", self.name),
            )),
        }
    }
}

impl Values<FloatType> {
    fn some(&mut self, count: usize, place: Place) -> Result<Vec<Option<f32>>, Problem> {
        self.fill(count, place)?;
        let mut values = self.values.iter().copied();
        let wrong = || {
            let problem = format!("a {} is no number from 0 on", self.name);
            Problem::Content(place, problem)
        };
        let mut take = |is_there: bool| match is_there.then(|| values.next()).flatten() {
            Some(value) if value.is_finite() && value >= 0.0 => Ok(Some(value)),
            Some(_) => Err(wrong()),
            None => Ok(None),
        };
        match self.may_lack {
            true => self.levels.iter().map(|level| take(*level > 0)).collect(),
            false => (0..count).map(|_| take(true)).collect(),
        }
    }
}

/// The number that the file's signed one stands for.
fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// Whether a file has events (or else accesses).
///
/// # Errors
/// It is no Parquet file that can be read, or neither.
pub(crate) fn is_events(path: &Path) -> Result<bool, Problem> {
    let groups = Groups::open(File::open(path)?, Arc::default())?;
    match groups.places(&EVENT_COLUMNS) {
        Ok(_) => Ok(true),
        Err(problem) => match groups.places(&ACCESS_COLUMNS) {
            Ok(_) => Ok(false),
            Err(_) => Err(problem),
        },
    }
}

/// The events of a file.
pub(crate) struct Events {
    groups: Groups,
    places: Vec<usize>,
    columns: Option<EventColumns>,
    batch: VecDeque<Recorded>,
    about: Option<About>,
}

struct EventColumns {
    time_ns: Values<Int64Type>,
    pid: Values<Int32Type>,
    pool: Values<Int32Type>,
    thread: Values<Int32Type>,
    kind: Values<ByteArrayType>,
    id: Values<Int64Type>,
    handle: Values<Int32Type>,
    size_bytes: Values<Int64Type>,
    class: Values<ByteArrayType>,
    cost_ns: Values<FloatType>,
}

impl Events {
    pub(crate) fn open(file: File, read_bytes: Arc<AtomicU64>) -> Result<Self, Problem> {
        let groups = Groups::open(file, read_bytes)?;
        let places = groups.places(&EVENT_COLUMNS)?;
        let about = groups.value(ABOUT_KEY).map(|text| {
            serde_json::from_str::<About>(text).map_err(|error| {
                let problem = format!("what it says of itself makes no sense: {error}");
                Problem::Content(Place::File, problem)
            })
        });
        Ok(Events {
            about: about.transpose()?,
            groups,
            places,
            columns: None,
            batch: VecDeque::new(),
        })
    }

    /// What the file says of itself; what other programs made of one may say nothing.
    pub(crate) fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.groups.rows()
    }

    pub(crate) fn next(&mut self) -> Result<Option<Recorded>, Problem> {
        while self.batch.is_empty() {
            let place = self.groups.place();
            if !guarded(place, || self.read_batch())? {
                return Ok(None);
            }
        }
        Ok(self.batch.pop_front())
    }

    fn read_batch(&mut self) -> Result<bool, Problem> {
        if self.groups.left == 0 {
            if !self.groups.advance()? {
                return Ok(false);
            }
            self.columns = Some(EventColumns::of(&self.groups, &self.places)?);
        }
        let count = self.groups.left.min(BATCH_ROWS);
        let place = self.groups.place();
        if let Some(columns) = &mut self.columns {
            columns.read(count, place, &mut self.batch)?;
        }
        self.groups.left -= count;
        self.groups.row += count as u64;
        Ok(true)
    }
}

impl EventColumns {
    /// In the order of [`EVENT_COLUMNS`].
    fn of(groups: &Groups, places: &[usize]) -> Result<Self, Problem> {
        let place = |column: usize| places.get(column).copied().unwrap_or(usize::MAX);
        Ok(EventColumns {
            time_ns: groups.column(place(0))?,
            pid: groups.column(place(1))?,
            pool: groups.column(place(2))?,
            thread: groups.column(place(3))?,
            kind: groups.column(place(4))?,
            id: groups.column(place(5))?,
            handle: groups.column(place(6))?,
            size_bytes: groups.column(place(7))?,
            class: groups.column(place(8))?,
            cost_ns: groups.column(place(9))?,
        })
    }

    fn read(
        &mut self,
        count: usize,
        place: Place,
        into: &mut VecDeque<Recorded>,
    ) -> Result<(), Problem> {
        let times = self.time_ns.all(count, place)?;
        let pids = self.pid.all(count, place)?;
        let pools = self.pool.all(count, place)?;
        let threads = self.thread.all(count, place)?;
        let kinds = self.kind.all(count, place)?;
        let ids = self.id.all(count, place)?;
        let handles = self.handle.all(count, place)?;
        let sizes = self.size_bytes.all(count, place)?;
        let classes = self.class.all(count, place)?;
        let costs = self.cost_ns.some(count, place)?;
        for row in 0..count {
            let event = Event {
                time_ns: unsigned(times[row]),
                kind: word(&kinds[row], &Kind::ALL, Kind::name, place)?,
                class: word(&classes[row], &Class::ALL, Class::name, place)?,
                allocation: handles[row].cast_unsigned(),
                size_bytes: unsigned(sizes[row]),
                cost_ns: costs[row].unwrap_or(0.0),
            };
            into.push_back(Recorded {
                event,
                pid: pids[row].cast_unsigned(),
                pool: pools[row].cast_unsigned(),
                thread: threads[row].cast_unsigned(),
                id: unsigned(ids[row]),
            });
        }
        Ok(())
    }
}

/// The one of `all` that has this name.
fn word<T: Copy>(
    text: &ByteArray,
    all: &[T],
    name: fn(T) -> &'static str,
    place: Place,
) -> Result<T, Problem> {
    let found = all.iter().find(|one| name(**one).as_bytes() == text.data());
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        let problem = format!("{} is none of {}", echo(text.data()), names.join(", "));
        Problem::Content(place, problem)
    })
}

/// The accesses of a file that has accesses.
pub(crate) struct Accesses {
    groups: Groups,
    places: Vec<usize>,
    columns: Option<AccessColumns>,
    batch: VecDeque<Access>,
}

struct AccessColumns {
    time: Values<Int64Type>,
    id: Values<Int64Type>,
    size_bytes: Values<Int64Type>,
    cost: Values<FloatType>,
}

impl Accesses {
    pub(crate) fn open(file: File, read_bytes: Arc<AtomicU64>) -> Result<Self, Problem> {
        let groups = Groups::open(file, read_bytes)?;
        Ok(Accesses {
            places: groups.places(&ACCESS_COLUMNS)?,
            groups,
            columns: None,
            batch: VecDeque::new(),
        })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Access>, Problem> {
        while self.batch.is_empty() {
            let place = self.groups.place();
            if !guarded(place, || self.read_batch())? {
                return Ok(None);
            }
        }
        Ok(self.batch.pop_front())
    }

    fn read_batch(&mut self) -> Result<bool, Problem> {
        if self.groups.left == 0 {
            if !self.groups.advance()? {
                return Ok(false);
            }
            let place = |column: usize| self.places.get(column).copied().unwrap_or(usize::MAX);
            self.columns = Some(AccessColumns {
                time: self.groups.column(place(0))?,
                id: self.groups.column(place(1))?,
                size_bytes: self.groups.column(place(2))?,
                cost: self.groups.column(place(3))?,
            });
        }
        let count = self.groups.left.min(BATCH_ROWS);
        let place = self.groups.place();
        if let Some(columns) = &mut self.columns {
            let times = columns.time.all(count, place)?;
            let ids = columns.id.all(count, place)?;
            let sizes = columns.size_bytes.all(count, place)?;
            let costs = columns.cost.some(count, place)?;
            self.batch.extend((0..count).map(|row| Access {
                time: unsigned(times[row]),
                id: unsigned(ids[row]),
                size_bytes: unsigned(sizes[row]),
                cost: costs[row],
            }));
        }
        self.groups.left -= count;
        self.groups.row += count as u64;
        Ok(true)
    }
}
