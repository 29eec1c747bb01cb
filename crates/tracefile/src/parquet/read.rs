//! Reading our own format, and what other programs made of it. Rows come in batches, column by
//! column; what is in memory is a batch and a page of each column.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, ColumnPath};
use vidmm_trace::{Class, Event, Kind};

use super::footer::Footer;
use super::pages::{Pages, Whole};
use super::{ABOUT_KEY, ACCESS_COLUMNS, Column, EVENT_COLUMNS};
use crate::about::About;
use crate::access::Access;
use crate::error::{Place, Problem, echo};
use crate::import::Import;
use crate::merge::Recorded;

/// So many rows are decoded at a time.
const BATCH_ROWS: u64 = 4096;

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
    whole: Arc<Whole>,
    footer: Footer,
    /// The group to be read next.
    next: usize,
    /// Rows of the group that is being read.
    left: u64,
    /// Rows read, of all groups.
    row: u64,
}

impl Groups {
    fn open(file: File, read_bytes: Arc<AtomicU64>) -> Result<Self, Problem> {
        let length_bytes = file.metadata()?.len();
        let footer = Footer::read(&file, length_bytes)?;
        Ok(Groups {
            whole: Arc::new(Whole {
                file,
                length_bytes,
                read_bytes,
            }),
            footer,
            next: 0,
            left: 0,
            row: 0,
        })
    }

    /// Where the columns are.
    fn places<const N: usize>(&self, columns: &'static [Column; N]) -> Result<[Spot; N], Problem> {
        let mut places = Vec::with_capacity(N);
        for column in columns {
            places.push(self.find(column)?);
        }
        places
            .try_into()
            .map_err(|_| Problem::Content(Place::File, "there are too few columns".to_owned()))
    }

    fn find(&self, column: &'static Column) -> Result<Spot, Problem> {
        let Column(name, holds) = column;
        let wrong = |problem: String| Err(Problem::Content(Place::File, problem));
        let all = &self.footer.columns;
        let Some(at) = all.iter().position(|found| found.name == *name) else {
            let names: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
            return wrong(format!(
                "there is no column `{name}`, so this is no trace of vidmm; there are {}",
                echo(names.join(", ").as_bytes())
            ));
        };
        let found = &all[at];
        if !found.is_plain {
            return wrong(format!("the column `{name}` is or has lists"));
        }
        if found.physical != holds.number() {
            return wrong(format!(
                "the column `{name}` has another kind of values than {}",
                holds.physical()
            ));
        }
        Ok(Spot {
            at,
            column,
            may_lack: found.may_lack,
        })
    }

    fn place(&self) -> Place {
        Place::Row(self.row)
    }

    /// Goes on to the next group; `false` if there is none.
    fn advance(&mut self) -> bool {
        let Some(group) = self.footer.groups.get(self.next) else {
            return false;
        };
        self.left = group.rows;
        self.next += 1;
        true
    }

    /// How many rows come next; they are gone then.
    fn take(&mut self) -> (usize, Place) {
        let place = self.place();
        let count = self.left.min(BATCH_ROWS);
        self.left -= count;
        self.row = self.row.saturating_add(count);
        (usize::try_from(count).unwrap_or(0), place)
    }

    /// A column of the group that is being read.
    fn column<T: DataType>(&self, place: Spot) -> Result<Values<T>, Problem> {
        let group = self
            .next
            .checked_sub(1)
            .and_then(|at| self.footer.groups.get(at));
        let chunk = group.and_then(|group| group.chunks.get(place.at));
        let Column(name, holds) = *place.column;
        let chunk = chunk.filter(|chunk| chunk.physical == holds.number());
        let chunk = chunk.ok_or_else(|| {
            let problem = format!("the column `{name}` is lacking in a group of rows");
            Problem::Content(self.place(), problem)
        })?;
        let whole = Arc::clone(&self.whole);
        let pages = Pages::new(whole, chunk, holds, place.may_lack);
        let pages = Box::new(pages.map_err(damaged(self.place()))?);
        let description = description(place).map_err(damaged(self.place()))?;
        Ok(Values {
            name,
            reader: get_typed_column_reader(get_column_reader(description, pages)),
            may_lack: place.may_lack,
            values: Vec::new(),
            levels: Vec::new(),
        })
    }
}

/// Where a column is, and how it is there.
#[derive(Clone, Copy)]
struct Spot {
    at: usize,
    column: &'static Column,
    may_lack: bool,
}

fn description(place: Spot) -> Result<ColumnDescPtr, ParquetError> {
    let Column(name, _) = *place.column;
    let field = place.column.field(place.may_lack)?;
    let path = ColumnPath::from(name);
    let level = i16::from(place.may_lack);
    Ok(ColumnDescriptor::new(field, level, 0, path).into())
}

/// A column that is being read.
struct Values<T: DataType> {
    name: &'static str,
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

/// What a file has.
pub(crate) enum Content {
    Events(Box<Events>),
    Accesses(Box<Accesses>),
}

/// Opens a file, whatever it has; `read_bytes` is to count what is read of it.
///
/// # Errors
/// It is no Parquet file that can be read, or has neither events nor accesses.
pub(crate) fn open(file: File, read_bytes: Arc<AtomicU64>) -> Result<Content, Problem> {
    let groups = Groups::open(file, read_bytes)?;
    let problem = match groups.places(&EVENT_COLUMNS) {
        Ok(places) => {
            return Events::new(groups, places)
                .map(Box::new)
                .map(Content::Events);
        }
        Err(problem) => problem,
    };
    match groups.places(&ACCESS_COLUMNS) {
        Ok(places) => Ok(Content::Accesses(Box::new(Accesses {
            groups,
            places,
            columns: None,
            batch: VecDeque::new(),
        }))),
        Err(other) => Err(
            match groups.footer.columns.iter().any(|c| c.name == "time_ns") {
                true => problem,
                false => other,
            },
        ),
    }
}

/// The events of a file.
pub(crate) struct Events {
    groups: Groups,
    places: [Spot; EVENT_COLUMNS.len()],
    columns: Option<EventColumns>,
    batch: VecDeque<Recorded>,
    about: About,
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
    fn new(groups: Groups, places: [Spot; EVENT_COLUMNS.len()]) -> Result<Self, Problem> {
        let about = match groups.footer.value(ABOUT_KEY) {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                let problem =
                    format!("what the file says of its processes makes no sense: {error}");
                Problem::Content(Place::File, problem)
            })?,
            // Another program made it.
            None => About {
                recorded: groups.footer.rows,
                ..About::default()
            },
        };
        Ok(Events {
            about,
            groups,
            places,
            columns: None,
            batch: VecDeque::new(),
        })
    }

    /// What the file says of itself.
    pub(crate) fn about(&self) -> &About {
        &self.about
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
            if !self.groups.advance() {
                return Ok(false);
            }
            self.columns = Some(EventColumns::of(&self.groups, &self.places)?);
        }
        let (count, place) = self.groups.take();
        if let Some(columns) = &mut self.columns {
            columns.read(count, place, &mut self.batch)?;
        }
        Ok(true)
    }
}

impl EventColumns {
    fn of(groups: &Groups, places: &[Spot; EVENT_COLUMNS.len()]) -> Result<Self, Problem> {
        // In the order of [`EVENT_COLUMNS`].
        let [
            time_ns,
            pid,
            pool,
            thread,
            kind,
            id,
            handle,
            size_bytes,
            class,
            cost_ns,
        ] = *places;
        Ok(EventColumns {
            time_ns: groups.column(time_ns)?,
            pid: groups.column(pid)?,
            pool: groups.column(pool)?,
            thread: groups.column(thread)?,
            kind: groups.column(kind)?,
            id: groups.column(id)?,
            handle: groups.column(handle)?,
            size_bytes: groups.column(size_bytes)?,
            class: groups.column(class)?,
            cost_ns: groups.column(cost_ns)?,
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
    places: [Spot; ACCESS_COLUMNS.len()],
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
    fn read_batch(&mut self) -> Result<bool, Problem> {
        if self.groups.left == 0 {
            if !self.groups.advance() {
                return Ok(false);
            }
            // In the order of [`ACCESS_COLUMNS`].
            let [time, id, size_bytes, cost] = self.places;
            self.columns = Some(AccessColumns {
                time: self.groups.column(time)?,
                id: self.groups.column(id)?,
                size_bytes: self.groups.column(size_bytes)?,
                cost: self.groups.column(cost)?,
            });
        }
        let (count, place) = self.groups.take();
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
        Ok(true)
    }
}

impl Import for Accesses {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        while self.batch.is_empty() {
            let place = self.groups.place();
            if !guarded(place, || self.read_batch())? {
                return Ok(None);
            }
        }
        Ok(self.batch.pop_front())
    }
}
