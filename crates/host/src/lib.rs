//! The host of a manager: everything around the pure [`vidmm_manager::Manager`] that a system has -
//! sockets, processes, a ledger, configuration, pressure, signals, a log, figures.
//!
//! **Owns:** one socket and its lock, who is behind each connection, the ledger beside the socket,
//! limits on what strangers may cost (descriptors, memory, time).
//!
//! **Must not know:** who may hold how much, who is asked to give: that is the manager's.
//!
//! One thread does it all and waits for nobody: sockets are non-blocking, outboxes are bounded, and
//! of other processes only small files of `/proc` are read. With clients that do nothing it does
//! not wake.
//!
//! ```no_run
//! use vidmm_host::{Options, Server};
//!
//! let server = Server::bind(Options::embedded("/tmp/mine/manager.sock", 256 << 20))?;
//! let mut serving = server.spawn()?;
//! // Clients find it by `VIDMM_SOCKET`.
//! serving.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things live
//!
//! | room | what is in it |
//! |---|---|
//! | `server.rs`, `serving.rs` | the whole, its start, its loop, its end; on a thread of its own |
//! | `intake.rs` | who connects; packets to events; limits |
//! | `identity.rs` | who is behind a connection; deaths; audits |
//! | `acts.rs` | actions to packets, ledger entries and lines of the log |
//! | `reload.rs` | a configuration read anew |
//! | `place.rs`, `ledger/`, `config/`, `metrics/` | the socket's place; files |
//! | `connections.rs`, `watched.rs`, `presses.rs`, `stop.rs` | what the loop waits for |
//! | `process.rs`, `sys.rs`, `sandbox.rs`, `clock.rs`, `log.rs` | the system |

mod acts;
mod clock;
mod config;
mod connections;
mod error;
mod identity;
mod intake;
mod ledger;
mod log;
mod metrics;
mod options;
mod place;
mod presses;
mod process;
mod reload;
mod sandbox;
mod server;
mod serving;
mod sources;
mod stop;
mod sys;
mod watched;

pub use config::ConfigError;
pub use error::HostError;
pub use log::{LogFormat, LogLevel, LogSink};
pub use options::{Audience, MetricsAddress, Options};
pub use server::Server;
pub use serving::Serving;
pub use stop::Stopper;
