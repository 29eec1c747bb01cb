//! Files of traces: the public formats read, our own read and written.
//!
//! **Owns:** formats of traces and how they are told apart, packings (gzip, Zstandard, xz), our own
//! format (Parquet) and what is made of it for others (Perfetto, CSV), what is wrong with a file and
//! where.
//!
//! **Must not know:** pools, policies, replays. A trace is a stream of [`Access`]es; whoever reads
//! one decides what to make of it.
//!
//! Everything is read as a stream: memory is bounded whatever a file contains, and whatever it
//! contains ends in accesses or in one [`TraceError`].
//!
//! ```no_run
//! let trace = vidmm_tracefile::open("OLTP.lis.zst".as_ref(), None)?;
//! println!("format: {}", trace.format());
//! for access in trace {
//!     let access = access?;
//!     println!("{} {}", access.time, access.id);
//! }
//! # Ok::<(), vidmm_tracefile::TraceError>(())
//! ```
#![forbid(unsafe_code)]

mod about;
mod access;
mod detect;
mod draft;
mod error;
mod events;
mod format;
mod import;
mod merge;
mod open;
mod output;
mod packing;
mod parquet;
mod perfetto;
mod spool;
mod text;
mod uses;

pub use about::{About, Process};
pub use access::Access;
pub use error::{Place, TraceError};
pub use events::{Events, spools_in};
pub use format::{Format, ParseFormatError};
pub use merge::{Merged, Recorded, merge};
pub use open::{Accesses, Trace, open, open_trace};
pub use output::{Output, ParseOutputError, Written, check_output, write_accesses, write_events};
pub use packing::Packing;
pub use spool::Spool;
pub use vidmm_trace::{Class, End, Event, Kind};
