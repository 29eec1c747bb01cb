//! How a pool is made: by options, or by the environment.

use std::path::PathBuf;
use std::sync::Arc;

use vidmm_machine::{BudgetSpec, MachineFiles, ParseSizeError};
use vidmm_policy::{OldestFirst, Policy};
use vidmm_trace::TraceOptions;

use crate::agent::AgentMode;
use crate::joined::{JoinMode, JoinOptions};

/// What becomes of a pool in a child made by `fork`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForkMode {
    /// The child gets its own copy, contents as they were.
    #[default]
    Copy,
    /// The arena is left out of children: there the pool is empty and refuses everything.
    Drop,
}

/// Whether the machine's pressure is heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PressureMode {
    /// By the agent.
    #[default]
    On,
    /// Not at all: only the budget and explicit trims discard. For deterministic runs.
    Off,
}

/// How a pool is made.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The budget.
    pub budget: BudgetSpec,
    /// Fill memory that lost its content with a pattern before it is locked again.
    pub poison: bool,
    /// Make unlocked memory inaccessible, so that an access through a stale pointer faults. A
    /// debugging aid: lock and unlock make system calls then. It covers as many allocations as
    /// cost a quarter of the kernel's limit on mappings.
    pub protect: bool,
    /// Let core dumps contain the memory.
    pub include_in_core_dumps: bool,
    /// What children made by `fork` get.
    pub fork: ForkMode,
    /// Whether the machine's pressure is heeded.
    pub pressure: PressureMode,
    /// Who runs the agent.
    pub agent: AgentMode,
    /// Which offered allocation of a class goes first; `None`: each pool learns for itself what is
    /// worth holding ([`vidmm_policy::Learned`]).
    pub policy: Option<Arc<dyn Policy>>,
    /// Where the machine's figures are read.
    pub files: MachineFiles,
    /// How much address space to reserve, in bytes; `None`: as much as is sensible.
    pub reserve_bytes: Option<u64>,
    /// Whether the budget may be shared with other processes.
    pub join: JoinOptions,
    /// Where what happens is recorded; `None`: nowhere.
    pub trace: Option<TraceOptions>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions {
            budget: BudgetSpec::Auto,
            poison: false,
            protect: false,
            include_in_core_dumps: false,
            fork: ForkMode::Copy,
            pressure: PressureMode::On,
            agent: AgentMode::Thread,
            policy: None,
            files: MachineFiles::default(),
            reserve_bytes: None,
            join: JoinOptions::default(),
            trace: None,
        }
    }
}

/// A variable of the environment that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// `VIDMM_BUDGET` is no size.
    #[error("VIDMM_BUDGET: {0}")]
    Budget(#[source] ParseSizeError),
    /// Another variable has a value that it cannot have.
    #[error("{name}={value}: {wanted}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it could hold.
        wanted: &'static str,
    },
}

impl PoolOptions {
    /// The options that the environment asks for, the defaults where it is silent: `VIDMM_BUDGET`
    /// (`256M`, `4G`, `25%`, `auto`), `VIDMM_POISON=1`, `VIDMM_DEBUG=protect`, `VIDMM_FORK=drop`,
    /// `VIDMM_PRESSURE=off`, `VIDMM_AGENT=off`, `VIDMM_COREDUMP=1`, `VIDMM_MODE` (`auto`,
    /// `embedded`, `shared`), `VIDMM_SOCKET` (where the manager is), `XDG_RUNTIME_DIR` (where it
    /// is otherwise), `VIDMM_POLICY` (`vidmm`, `oldest-first`) and `VIDMM_TRACE` (the directory to
    /// record a trace in). In secure-execution mode (`AT_SECURE`) the environment is somebody
    /// else's and is ignored.
    ///
    /// # Errors
    /// A variable with a value that it cannot have.
    pub fn from_environment() -> Result<Self, EnvironmentError> {
        if crate::process::secure_execution() {
            return Self::from_variables(|_| None);
        }
        Self::from_variables(|name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// As [`PoolOptions::from_environment`], with the variables looked up by `get`.
    ///
    /// # Errors
    /// A variable with a value that it cannot have.
    pub fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, EnvironmentError> {
        let mut options = Self::default();
        if let Some(budget) = get("VIDMM_BUDGET") {
            options.budget = budget.parse().map_err(EnvironmentError::Budget)?;
        }
        // Each switch has one value that turns it; its absence, or "" leaves the default.
        let switch = |name, on: &str, wanted| match get(name) {
            None => Ok(false),
            Some(value) if value.is_empty() || value == "0" => Ok(false),
            Some(value) if value == on => Ok(true),
            Some(value) => Err(EnvironmentError::Value {
                name,
                value,
                wanted,
            }),
        };
        options.poison = switch(
            "VIDMM_POISON",
            "1",
            "1 fills discarded memory with a pattern",
        )?;
        options.protect = switch(
            "VIDMM_DEBUG",
            "protect",
            "protect makes unlocked memory inaccessible",
        )?;
        options.include_in_core_dumps = switch(
            "VIDMM_COREDUMP",
            "1",
            "1 lets core dumps contain the memory",
        )?;
        if switch(
            "VIDMM_FORK",
            "drop",
            "drop leaves the memory out of children",
        )? {
            options.fork = ForkMode::Drop;
        }
        if switch(
            "VIDMM_PRESSURE",
            "off",
            "off ignores the machine's pressure",
        )? {
            options.pressure = PressureMode::Off;
        }
        if switch(
            "VIDMM_AGENT",
            "off",
            "off leaves the agent to agent_fd and agent_run",
        )? {
            options.agent = AgentMode::Host;
        }
        let mode = get("VIDMM_MODE").unwrap_or_default();
        options.join.mode = match mode.as_str() {
            "" | "auto" => JoinMode::Auto,
            "embedded" => JoinMode::Embedded,
            "shared" => JoinMode::Shared,
            _ => {
                return Err(EnvironmentError::Value {
                    name: "VIDMM_MODE",
                    value: mode,
                    wanted: "auto joins a manager if there is one, embedded never does, shared \
                             wants one",
                });
            }
        };
        let policy = get("VIDMM_POLICY").unwrap_or_default();
        options.policy = match policy.as_str() {
            "" | "vidmm" => None,
            "oldest-first" => Some(Arc::new(OldestFirst)),
            _ => {
                return Err(EnvironmentError::Value {
                    name: "VIDMM_POLICY",
                    value: policy,
                    wanted: "vidmm learns what is worth holding, oldest-first is least recently \
                             used",
                });
            }
        };
        options.trace = get("VIDMM_TRACE")
            .filter(|directory| !directory.is_empty())
            .map(TraceOptions::in_directory);
        options.join.sockets = JoinOptions::sockets_of(get("VIDMM_SOCKET"), get("XDG_RUNTIME_DIR"));
        Ok(options)
    }

    /// Reads the machine's figures under these roots instead of `/proc` and `/sys/fs/cgroup`.
    #[must_use]
    pub fn with_roots(mut self, proc_root: PathBuf, cgroup_root: PathBuf) -> Self {
        self.files = MachineFiles {
            proc_root,
            cgroup_root,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<PoolOptions, EnvironmentError> {
        PoolOptions::from_variables(|name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_heeded_and_wrong_ones_named() {
        let options = read(&[
            ("VIDMM_BUDGET", "256M"),
            ("VIDMM_POISON", "1"),
            ("VIDMM_FORK", "drop"),
            ("VIDMM_TRACE", "traces"),
        ])
        .unwrap();
        assert_eq!(options.budget, BudgetSpec::Bytes(256 << 20));
        assert!(options.poison && !options.protect);
        assert_eq!(options.fork, ForkMode::Drop);
        assert_eq!(options.trace, Some(TraceOptions::in_directory("traces")));
        assert_eq!(read(&[("VIDMM_TRACE", "")]).unwrap().trace, None);
        assert_eq!(
            read(&[("VIDMM_AGENT", "off")]).unwrap().agent,
            AgentMode::Host
        );
        let policy = |value| read(&[("VIDMM_POLICY", value)]).unwrap().policy;
        assert_eq!(policy("oldest-first").unwrap().name(), "oldest-first");
        assert!(policy("vidmm").is_none());
        let message = read(&[("VIDMM_MODE", "both")]).unwrap_err().to_string();
        assert!(message.contains("VIDMM_MODE=both"), "{message}");
        let join = read(&[("VIDMM_MODE", "shared"), ("XDG_RUNTIME_DIR", "/run/user/7")])
            .unwrap()
            .join;
        assert_eq!(join.mode, JoinMode::Shared);
        assert_eq!(
            join.sockets[0],
            PathBuf::from("/run/user/7/vidmm/manager.sock")
        );
        assert_eq!(join.sockets.len(), 2, "and the machine's");
        let message = read(&[("VIDMM_BUDGET", "lots")]).unwrap_err().to_string();
        assert!(message.contains("VIDMM_BUDGET"), "{message}");
        let message = read(&[("VIDMM_DEBUG", "yes")]).unwrap_err().to_string();
        assert!(message.contains("VIDMM_DEBUG=yes"), "{message}");
    }
}
