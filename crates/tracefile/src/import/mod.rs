//! The importers, one for each format.

mod lines;
mod oracle;
mod values;

use crate::access::Access;
use crate::error::Problem;
use crate::format::Format;
use crate::packing::Content;

pub(crate) use oracle::{RECORD_BYTES, Record};
pub(crate) use values::Columns;

/// A stream of accesses.
pub(crate) trait Import: Send {
    /// The next access; `None` at the end.
    fn next(&mut self) -> Result<Option<Access>, Problem>;
}

/// The accesses of a content in a format; `None` of formats that are no stream of bytes.
pub(crate) fn import(content: Content, format: Format) -> Option<Box<dyn Import>> {
    Some(match format {
        Format::OracleGeneral => Box::new(oracle::Oracle::new(content)),
        Format::Lis => Box::new(lines::Lis::new(content)),
        Format::TimeIdSize => Box::new(lines::TimeIdSize::new(content)),
        Format::Penalties => Box::new(lines::Penalties::new(content)),
        Format::Lirs => Box::new(lines::Lirs::new(content)),
        Format::Csv => Box::new(values::Values::new(content)),
        Format::Parquet | Format::Spool => return None,
    })
}
