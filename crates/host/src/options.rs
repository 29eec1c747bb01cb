//! What a manager is started with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use vidmm_machine::{BudgetSpec, MachineFiles};
use vidmm_wire::Served;

use crate::error::HostError;
use crate::log::{LogFormat, LogLevel, LogSink};

/// Where the system's manager has its socket.
const SYSTEM_SOCKET: &str = "/run/vidmm/manager.sock";

/// Whom a manager serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Its own user (and root): the socket has mode 0600, a directory that it makes 0700.
    #[default]
    User,
    /// All users: the socket has mode 0666, a directory that it makes 0755. Everybody may join and
    /// see what is theirs; only the manager's own user and root see all and give orders.
    System,
}

/// Where metrics can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// By anybody who can reach this address: choose a loopback one.
    Tcp(SocketAddr),
    /// By the manager's own user, at a socket of this path.
    Unix(PathBuf),
}

/// What a manager is started with. [`Options::default`] is what `vidmm serve` starts from;
/// [`Options::embedded`] is a manager within another program.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where the socket is to be. `None`: `VIDMM_SOCKET`, else (unless for all users)
    /// `$XDG_RUNTIME_DIR/vidmm/manager.sock`, else `/run/vidmm/manager.sock`.
    pub socket: Option<PathBuf>,
    /// Whom to serve. `None`: all users at `/run/vidmm/manager.sock`, one's own elsewhere.
    pub audience: Option<Audience>,
    /// The budget. `None`: the configuration's, else a quarter of memory.
    pub budget: Option<BudgetSpec>,
    /// The budget may be as large as memory and swap space together, instead of memory alone.
    pub allow_swap: bool,
    /// What is kept for newcomers, in bytes. `None`: the configuration's, else a sixteenth of the
    /// budget.
    pub reserve_bytes: Option<u64>,
    /// How much of its fair share a client is safe in, in percent, at most 100. `None`: the
    /// configuration's, else all of it.
    pub guarded_percent: Option<u32>,
    /// The configuration. `None`: defaults.
    pub config: Option<PathBuf>,
    /// Where metrics can be asked for. `None`: as the configuration says, else nowhere.
    pub metrics: Option<MetricsAddress>,
    /// A file for metrics. `None`: as the configuration says, else none.
    pub metrics_textfile: Option<PathBuf>,
    /// Where the log goes.
    pub log_sink: LogSink,
    /// How its lines look.
    pub log_format: LogFormat,
    /// Which lines are written. `None`: as the configuration says, else `Info`.
    pub log_level: Option<LogLevel>,
    /// A socket may be handed over by the service manager (`LISTEN_FDS`), which is told how the
    /// manager fares (`NOTIFY_SOCKET`).
    pub service_manager: bool,
    /// `SIGTERM` and `SIGINT` stop, `SIGHUP` reloads. Signals are the whole process's: at most one
    /// manager of a process may do this.
    pub signals: bool,
    /// Once set up, the thread gives up all rights that it does not need (seccomp, Landlock): for
    /// programs that do nothing else.
    pub sandbox: bool,
    /// This process may open as many descriptors as the system ever allows it, since each client
    /// takes two. Children inherit that, and programs that use `select` cannot bear it.
    pub raise_descriptor_limit: bool,
    /// The machine's pressure is watched.
    pub pressure: bool,
    /// Which versions of the protocol are served; tests play managers of the future.
    pub served: Served,
    /// Where the machine's figures are read.
    pub files: MachineFiles,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            socket: None,
            audience: None,
            budget: None,
            allow_swap: false,
            reserve_bytes: None,
            guarded_percent: None,
            config: None,
            metrics: None,
            metrics_textfile: None,
            log_sink: LogSink::default(),
            log_format: LogFormat::default(),
            log_level: None,
            service_manager: false,
            signals: false,
            sandbox: false,
            raise_descriptor_limit: true,
            pressure: true,
            served: Served::default(),
            files: MachineFiles::default(),
        }
    }
}

impl Options {
    /// A manager within another program: its socket where the program says, for the program's own
    /// user, nothing kept for newcomers, no log, no signals, no sandbox, limits as they are.
    #[must_use]
    pub fn embedded(socket: impl Into<PathBuf>, budget_bytes: u64) -> Self {
        Options {
            socket: Some(socket.into()),
            audience: Some(Audience::User),
            budget: Some(BudgetSpec::Bytes(budget_bytes)),
            reserve_bytes: Some(0),
            log_sink: LogSink::Nowhere,
            raise_descriptor_limit: false,
            ..Options::default()
        }
    }
}

/// Where the socket is to be, and for whom.
///
/// # Errors
/// [`HostError::NoPlace`].
pub(crate) fn place(
    options: &Options,
    lookup: impl Fn(&str) -> Option<PathBuf>,
    is_root: bool,
) -> Result<(PathBuf, Audience), HostError> {
    let named = |name: &str| lookup(name).filter(|path| !path.as_os_str().is_empty());
    let for_all = options.audience == Some(Audience::System);
    let runtime = || {
        if for_all {
            // Nobody else could enter that directory.
            return None;
        }
        let dir = named("XDG_RUNTIME_DIR").filter(|dir| dir.is_absolute())?;
        Some(dir.join("vidmm/manager.sock"))
    };
    let found = options
        .socket
        .clone()
        .or_else(|| named("VIDMM_SOCKET"))
        .or_else(runtime)
        .or_else(|| (is_root || for_all).then(|| PathBuf::from(SYSTEM_SOCKET)))
        .ok_or(HostError::NoPlace)?;
    let usual = match found == Path::new(SYSTEM_SOCKET) {
        true => Audience::System,
        false => Audience::User,
    };
    Ok((found, options.audience.unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(pairs: &[(&str, &str)], is_root: bool) -> Option<(String, Audience)> {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let (path, audience) = place(&Options::default(), lookup, is_root).ok()?;
        Some((path.display().to_string(), audience))
    }

    #[test]
    fn the_first_place_that_there_is() {
        let user = |path: &str| Some((path.to_owned(), Audience::User));
        let both = [("VIDMM_SOCKET", "s"), ("XDG_RUNTIME_DIR", "/r")];
        assert_eq!(placed(&both, true), user("s"));
        assert_eq!(placed(&both[1..], true), user("/r/vidmm/manager.sock"));
        let empty = [("VIDMM_SOCKET", ""), ("XDG_RUNTIME_DIR", "relative")];
        assert_eq!(placed(&empty, false), None);
        let system = (SYSTEM_SOCKET.to_owned(), Audience::System);
        assert_eq!(placed(&empty, true), Some(system));
        let for_all = Options {
            audience: Some(Audience::System),
            ..Options::default()
        };
        let lookup = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| PathBuf::from("/r"));
        let (path, _) = place(&for_all, lookup, true).unwrap();
        assert_eq!(path, Path::new(SYSTEM_SOCKET));
    }
}
