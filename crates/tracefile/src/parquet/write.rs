//! Writing our own format. What is in memory is one group of rows and, of each group before, what
//! the file's end says of it.

use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;
use vidmm_trace::{Class, Kind};

use super::{
    ABOUT_KEY, ACCESS_COLUMNS, ACCESSES, CLOCK, CLOCK_KEY, Column, EVENT_COLUMNS, EVENTS, Holds,
    SCHEMA_KEY, schema,
};
use crate::about::About;
use crate::access::Access;
use crate::draft::Draft;
use crate::error::{Place, TraceError};
use crate::merge::Recorded;

/// So many rows are a group.
const GROUP_ROWS: usize = 1 << 17;

type File = SerializedFileWriter<Draft>;
type Group<'f> = SerializedRowGroupWriter<'f, Draft>;

fn properties(columns: &[Column]) -> WriterPropertiesPtr {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("vidmm ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for Column(name, holds) in columns {
        let path = ColumnPath::from(*name);
        if matches!(holds, Holds::U32 | Holds::U64) {
            // Where a dictionary would be too long.
            properties =
                properties.set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if name.starts_with("time") {
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    properties.build().into()
}

fn begin(draft: Draft, name: &'static str, columns: &[Column]) -> Result<File, TraceError> {
    let path = draft.path().to_owned();
    schema("vidmm", columns)
        .and_then(|schema| {
            let mut file = SerializedFileWriter::new(draft, schema, properties(columns))?;
            file.append_key_value_metadata(KeyValue::new(SCHEMA_KEY.to_owned(), name.to_owned()));
            Ok(file)
        })
        .map_err(|error| on_write(&path, &error))
}

fn on_write(path: &std::path::Path, error: &ParquetError) -> TraceError {
    match error {
        ParquetError::External(cause) if let Some(cause) = cause.downcast_ref() => {
            crate::draft::on_write(path, cause)
        }
        _ => TraceError::new(path, Place::File, format!("cannot be written: {error}")),
    }
}

/// Writes the next column of a group; `levels` are 1 where there is a value, of columns that may
/// lack some.
fn column<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column too many".to_owned()));
    };
    let writer: &mut ColumnWriterImpl<'_, T> = column.typed::<T>();
    writer.write_batch(values, levels, None)?;
    column.close()
}

/// Signed numbers with the same bits, as the file has them.
fn signed32(number: u32) -> i32 {
    number.cast_signed()
}

fn signed64(number: u64) -> i64 {
    number.cast_signed()
}

#[derive(Default)]
struct Costs {
    values: Vec<f32>,
    levels: Vec<i16>,
}

impl Costs {
    fn push(&mut self, cost: Option<f32>) {
        self.values.extend(cost);
        self.levels.push(i16::from(cost.is_some()));
    }

    fn write(&mut self, group: &mut Group<'_>) -> Result<(), ParquetError> {
        column::<FloatType>(group, &self.values, Some(&self.levels))?;
        self.values.clear();
        self.levels.clear();
        Ok(())
    }
}

/// Writes events.
pub(crate) struct EventWriter {
    file: File,
    rows: Vec<Recorded>,
    words: Words,
}

/// The words for kinds and classes, made once.
struct Words {
    kinds: [ByteArray; Kind::ALL.len()],
    classes: [ByteArray; Class::ALL.len()],
}

impl EventWriter {
    pub(crate) fn begin(draft: Draft) -> Result<Self, TraceError> {
        let mut file = begin(draft, EVENTS, &EVENT_COLUMNS)?;
        file.append_key_value_metadata(KeyValue::new(CLOCK_KEY.to_owned(), CLOCK.to_owned()));
        Ok(EventWriter {
            file,
            rows: Vec::with_capacity(GROUP_ROWS),
            words: Words {
                kinds: Kind::ALL.map(|kind| kind.name().into()),
                classes: Class::ALL.map(|class| class.name().into()),
            },
        })
    }

    pub(crate) fn push(&mut self, row: &Recorded) -> Result<(), TraceError> {
        self.rows.push(*row);
        match self.rows.len() == GROUP_ROWS {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    fn write_group(&mut self) -> Result<(), TraceError> {
        let path = self.file.inner().path().to_owned();
        let written = self.file.next_row_group().and_then(|mut group| {
            write_events(&mut group, &self.rows, &self.words)?;
            group.close()
        });
        written.map_err(|error| on_write(&path, &error))?;
        self.rows.clear();
        Ok(())
    }

    /// Writes the rest, and what the trace says of itself.
    pub(crate) fn finish(mut self, about: &About) -> Result<Draft, TraceError> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        let path = self.file.inner().path().to_owned();
        let about = serde_json::to_string(about)
            .map_err(|error| TraceError::new(&path, Place::File, error.to_string()))?;
        self.file
            .append_key_value_metadata(KeyValue::new(ABOUT_KEY.to_owned(), about));
        self.file
            .into_inner()
            .map_err(|error| on_write(&path, &error))
    }
}

/// The columns in the order of [`EVENT_COLUMNS`].
fn write_events(
    group: &mut Group<'_>,
    rows: &[Recorded],
    words: &Words,
) -> Result<(), ParquetError> {
    let n64 = |of: fn(&Recorded) -> u64| -> Vec<i64> {
        rows.iter().map(|row| signed64(of(row))).collect()
    };
    let n32 = |of: fn(&Recorded) -> u32| -> Vec<i32> {
        rows.iter().map(|row| signed32(of(row))).collect()
    };
    let kinds: Vec<ByteArray> = rows
        .iter()
        .map(|row| words.kinds[row.event.kind as usize - 1].clone())
        .collect();
    let classes: Vec<ByteArray> = rows
        .iter()
        .map(|row| words.classes[row.event.class as usize].clone())
        .collect();
    column::<Int64Type>(group, &n64(|row| row.event.time_ns), None)?;
    column::<Int32Type>(group, &n32(|row| row.pid), None)?;
    column::<Int32Type>(group, &n32(|row| row.pool), None)?;
    column::<Int32Type>(group, &n32(|row| row.thread), None)?;
    column::<ByteArrayType>(group, &kinds, None)?;
    column::<Int64Type>(group, &n64(|row| row.id), None)?;
    column::<Int32Type>(group, &n32(|row| row.event.allocation), None)?;
    column::<Int64Type>(group, &n64(|row| row.event.size_bytes), None)?;
    column::<ByteArrayType>(group, &classes, None)?;
    let mut costs = Costs::default();
    for row in rows {
        let cost_ns = row.event.cost_ns;
        costs.push((cost_ns != 0.0).then_some(cost_ns));
    }
    costs.write(group)
}

/// Writes accesses.
pub(crate) struct AccessWriter {
    file: File,
    times: Vec<i64>,
    ids: Vec<i64>,
    sizes: Vec<i64>,
    costs: Costs,
}

impl AccessWriter {
    pub(crate) fn begin(draft: Draft) -> Result<Self, TraceError> {
        Ok(AccessWriter {
            file: begin(draft, ACCESSES, &ACCESS_COLUMNS)?,
            times: Vec::new(),
            ids: Vec::new(),
            sizes: Vec::new(),
            costs: Costs::default(),
        })
    }

    pub(crate) fn push(&mut self, access: &Access) -> Result<(), TraceError> {
        self.times.push(signed64(access.time));
        self.ids.push(signed64(access.id));
        self.sizes.push(signed64(access.size_bytes));
        self.costs.push(access.cost);
        match self.times.len() == GROUP_ROWS {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    fn write_group(&mut self) -> Result<(), TraceError> {
        let path = self.file.inner().path().to_owned();
        let written = self.file.next_row_group().and_then(|mut group| {
            for numbers in [&mut self.times, &mut self.ids, &mut self.sizes] {
                column::<Int64Type>(&mut group, numbers, None)?;
                numbers.clear();
            }
            self.costs.write(&mut group)?;
            group.close()
        });
        written.map(drop).map_err(|error| on_write(&path, &error))
    }

    pub(crate) fn finish(mut self) -> Result<Draft, TraceError> {
        if !self.times.is_empty() {
            self.write_group()?;
        }
        let path = self.file.inner().path().to_owned();
        self.file
            .into_inner()
            .map_err(|error| on_write(&path, &error))
    }
}
