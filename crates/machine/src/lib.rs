//! What the machine says of its memory: totals, cgroups, pressure; and sizes as people write them.
//!
//! **This crate owns** the reading of `/proc` and of the cgroup file systems ([`MachineFiles`],
//! [`Cgroup`]), the sources of memory pressure and how much each asks for ([`Pressure`],
//! [`MachinePressure`]), and the text form of sizes and budgets ([`ByteSize`], [`BudgetSpec`]).
//!
//! **It must not know** pools, slots, what can be given back, or which budget is in force: a caller
//! says how many bytes it could give, this crate says how many it should. It reads no environment
//! variable and no clock, starts no thread and waits for nothing: whoever calls owns the waiting.
//!
//! Everything is read under roots that the caller names, so a test describes a machine as a folder.
//!
//! ```
//! use vidmm_machine::{BudgetSpec, ByteSize, MachineFiles};
//!
//! let files = MachineFiles::default();
//! let budget: BudgetSpec = "256M".parse()?;
//! assert_eq!(budget.resolve(&files)?, 256 << 20);
//! assert_eq!(ByteSize(1_610_612_736).to_string(), "1.5 GiB");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod base64;
mod budget;
mod cgroup;
mod error;
mod files;
mod find;
mod marks;
mod pressure;
mod psi;
mod read;
mod scripted;
mod size;
mod sources;
mod systemd;

pub use budget::{BudgetSpec, Percent, default_budget_bytes};
pub use cgroup::{Cgroup, CgroupLevel, CgroupVersion};
pub use error::MachineError;
pub use files::{MachineFiles, MachineMemory, PsiScope};
pub use marks::{
    AVAILABLE_MARK_MAX_BYTES, AVAILABLE_MARK_SHARE, CGROUP_MARK_MIN_BYTES, CGROUP_MARK_SHARE,
    available_mark_bytes, cgroup_mark_bytes,
};
pub use pressure::{
    Answer, Demand, Event, Interest, NoPressure, Pressure, Reason, SourceReport, SourceState,
    Token, Watch,
};
pub use psi::{PSI_MIN_BYTES, PSI_SHARE, PSI_TRIGGER, psi_demand_bytes};
pub use scripted::{SCRIPT_EVENTS_MAX, ScriptFull, ScriptedPressure, ScriptedPressureHandle};
pub use size::{ByteSize, ParseSizeError, SizeProblem};
pub use sources::MachinePressure;
pub use systemd::{
    SYSTEMD_WATCH_VARIABLE, SYSTEMD_WRITE_BYTES_MAX, SYSTEMD_WRITE_VARIABLE, SystemdEnvironment,
    SystemdError, SystemdWatch,
};
