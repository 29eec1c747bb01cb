//! A manager of one's own, for `vidmm run` and `vidmm demo`: on a thread of this process, its socket
//! in a temporary directory that nobody else can enter and that goes with it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vidmm_host::{Options, Server, Serving};

use crate::output::Failure;

/// The directory's mode: for this user only.
const MODE_PRIVATE: u32 = 0o700;
/// A socket's path has at most so many bytes (the kernel's limit, with its ending zero).
const SOCKET_PATH_MAX: usize = 107;
/// Where the socket goes if the usual place has too long a name.
const SHORT_PLACE: &str = "/tmp";

/// A temporary directory with a place for a manager's socket; removed on drop.
#[derive(Debug)]
pub(crate) struct Lodging {
    directory: TempDir,
}

impl Lodging {
    /// Makes one: under `XDG_RUNTIME_DIR`, which is for such things, else under `TMPDIR`.
    ///
    /// # Errors
    /// No directory can be made.
    pub(crate) fn new() -> Result<Self, Failure> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
        let usual = std::env::temp_dir();
        let places = runtime
            .map(PathBuf::from)
            .into_iter()
            .chain([usual, PathBuf::from(SHORT_PLACE)]);
        let mut trouble = String::new();
        for place in places {
            match make_in(&place) {
                Ok(lodging) if lodging.socket().as_os_str().len() <= SOCKET_PATH_MAX => {
                    return Ok(lodging);
                }
                Ok(_) => trouble = format!("the path of {} is too long", place.display()),
                Err(error) => trouble = format!("in {}: {error}", place.display()),
            }
        }
        Err(format!(
            "cannot make a directory for the manager's socket ({trouble}); set TMPDIR to a directory \
             that can be written to"
        )
        .into())
    }

    /// Where the socket is to be.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("manager.sock")
    }
}

fn make_in(place: &Path) -> std::io::Result<Lodging> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new()
        .prefix("vidmm-")
        .permissions(std::fs::Permissions::from_mode(MODE_PRIVATE))
        .tempdir_in(place)?;
    Ok(Lodging { directory })
}

/// A manager on a thread. It ends on drop, before its directory goes.
#[derive(Debug)]
pub(crate) struct OwnManager {
    serving: Serving,
    lodging: Lodging,
}

impl OwnManager {
    /// Starts one. Clients may connect when this returns.
    ///
    /// # Errors
    /// No directory, no socket, no thread.
    pub(crate) fn start(setup: Setup) -> Result<Self, Failure> {
        let lodging = Lodging::new()?;
        let server = Server::bind(options(&lodging.socket(), setup))?;
        Ok(Self {
            serving: server.spawn()?,
            lodging,
        })
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.lodging.socket()
    }
}

impl Drop for OwnManager {
    fn drop(&mut self) {
        if let Err(error) = self.serving.stop() {
            crate::output::note(&format!("vidmm: the manager ended by an error: {error}"));
        }
    }
}

/// Of its fair share a process is safe in so much, in percent, unless it is said otherwise. Its
/// neighbours are no strangers but parts of the same work, so memory is to flow to where it saves
/// most; some is left to each, so that none starves.
pub(crate) const GUARDED_PERCENT: u32 = 25;

/// What is decided for the clients of a manager of one's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// For all together.
    pub(crate) budget_bytes: u64,
    /// What of it is kept for newcomers.
    pub(crate) reserve_bytes: u64,
    /// See [`Options::guarded_percent`].
    pub(crate) guarded_percent: u32,
}

impl Setup {
    /// The usual ones.
    pub(crate) fn of_budget(budget_bytes: u64) -> Self {
        Setup {
            budget_bytes,
            reserve_bytes: 0,
            guarded_percent: GUARDED_PERCENT,
        }
    }
}

/// What all managers of one's own are started with.
pub(crate) fn options(socket: &Path, setup: Setup) -> Options {
    let mut options = Options::embedded(socket, setup.budget_bytes);
    options.reserve_bytes = Some(setup.reserve_bytes);
    options.guarded_percent = Some(setup.guarded_percent);
    options
}
