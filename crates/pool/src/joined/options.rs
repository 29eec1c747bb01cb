//! Where managers are looked for.

use std::path::PathBuf;

/// Whether a pool may share a budget with other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JoinMode {
    /// Never: the budget is the pool's own.
    #[default]
    Embedded,
    /// If there is a manager: also one that appears later.
    Auto,
    /// Only: without a manager there is no memory.
    Shared,
}

/// How a pool joins.
///
/// The pools of a process are one client to a manager, and only one of them can be joined: the
/// first that needs memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinOptions {
    /// Whether.
    pub mode: JoinMode,
    /// Where a manager may listen, best first.
    pub sockets: Vec<PathBuf>,
}

/// The manager of the whole machine listens here.
const SYSTEM_SOCKET: &str = "/run/vidmm/manager.sock";

impl JoinOptions {
    /// The places where a manager may listen: `VIDMM_SOCKET`, if it is set, and nowhere else;
    /// otherwise the user's own manager under `XDG_RUNTIME_DIR`, then the machine's.
    #[must_use]
    pub fn sockets_of(socket: Option<String>, runtime_dir: Option<String>) -> Vec<PathBuf> {
        if let Some(socket) = socket.filter(|socket| !socket.is_empty()) {
            return vec![PathBuf::from(socket)];
        }
        let of_user = runtime_dir
            .filter(|dir| !dir.is_empty())
            .map(|dir| PathBuf::from(dir).join("vidmm/manager.sock"));
        of_user
            .into_iter()
            .chain([PathBuf::from(SYSTEM_SOCKET)])
            .collect()
    }
}
