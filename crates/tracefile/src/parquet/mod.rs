//! Our own format: Parquet, in two schemas. `docs/trace.md` has them as tables.

mod footer;
mod pages;
mod read;
mod thrift;
mod write;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

pub(crate) use read::{Content, Events, open};
pub(crate) use write::{AccessWriter, EventWriter};

/// What a Parquet file begins with.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";

/// Where a file's metadata say which of the schemas it has, and its version.
const SCHEMA_KEY: &str = "vidmm.schema";
const EVENTS: &str = "vidmm.trace/1";
const ACCESSES: &str = "vidmm.accesses/1";
/// Where they have [`crate::About`], as JSON.
const ABOUT_KEY: &str = "vidmm.about";
/// Where they say what clock the times are of.
const CLOCK_KEY: &str = "vidmm.clock";
const CLOCK: &str = "CLOCK_MONOTONIC, nanoseconds";

/// A column: its name and what is in it.
struct Column(&'static str, Holds);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    U32,
    U64,
    Text,
    /// May be unknown.
    Float,
}

const EVENT_COLUMNS: [Column; 10] = [
    Column("time_ns", Holds::U64),
    Column("pid", Holds::U32),
    Column("pool", Holds::U32),
    Column("thread", Holds::U32),
    Column("kind", Holds::Text),
    Column("id", Holds::U64),
    Column("handle", Holds::U32),
    Column("size_bytes", Holds::U64),
    Column("class", Holds::Text),
    Column("cost_ns", Holds::Float),
];

const ACCESS_COLUMNS: [Column; 4] = [
    Column("time", Holds::U64),
    Column("id", Holds::U64),
    Column("size_bytes", Holds::U64),
    Column("cost", Holds::Float),
];

impl Holds {
    fn physical(self) -> Physical {
        match self {
            Holds::U32 => Physical::INT32,
            Holds::U64 => Physical::INT64,
            Holds::Text => Physical::BYTE_ARRAY,
            Holds::Float => Physical::FLOAT,
        }
    }

    /// The number of that in the format.
    fn number(self) -> i64 {
        match self {
            Holds::U32 => 1,
            Holds::U64 => 2,
            Holds::Text => 6,
            Holds::Float => 4,
        }
    }

    fn logical(self) -> Option<LogicalType> {
        match self {
            Holds::U32 => Some(LogicalType::integer(32, false)),
            Holds::U64 => Some(LogicalType::integer(64, false)),
            Holds::Text => Some(LogicalType::String),
            Holds::Float => None,
        }
    }
}

impl Column {
    fn field(&self, may_lack: bool) -> Result<TypePtr, ParquetError> {
        let Column(name, holds) = self;
        let repetition = match may_lack {
            true => Repetition::OPTIONAL,
            false => Repetition::REQUIRED,
        };
        let field = Type::primitive_type_builder(name, holds.physical())
            .with_logical_type(holds.logical())
            .with_repetition(repetition)
            .build()?;
        Ok(TypePtr::new(field))
    }
}

fn schema(name: &str, columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns
        .iter()
        .map(|column| column.field(column.1 == Holds::Float));
    let fields = fields.collect::<Result<_, _>>()?;
    let group = Type::group_type_builder(name).with_fields(fields).build()?;
    Ok(TypePtr::new(group))
}
