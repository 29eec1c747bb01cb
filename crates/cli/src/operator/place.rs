//! Where a manager listens.

use std::path::{Path, PathBuf};

/// Where the manager of the whole machine listens.
const SYSTEM_SOCKET: &str = "/run/vidmm/manager.sock";

// The option that all operators' commands share. (A doc comment would become their help text.)
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SocketArg {
    /// The manager's socket [default: VIDMM_SOCKET, else $XDG_RUNTIME_DIR/vidmm/manager.sock,
    /// else /run/vidmm/manager.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

/// The sockets to try, in this order; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) Vec<PathBuf>);

impl Place {
    /// One socket and no other.
    pub(crate) fn at(path: &Path) -> Self {
        Self(vec![path.to_path_buf()])
    }

    /// What the option says, else what the environment says.
    pub(crate) fn from(argument: &SocketArg) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::choose(
            argument.socket.clone(),
            set("VIDMM_SOCKET").map(PathBuf::from),
            set("XDG_RUNTIME_DIR").map(PathBuf::from),
        )
    }

    /// Whoever names a socket means that one. Otherwise the user's manager comes before the
    /// machine's.
    fn choose(
        argument: Option<PathBuf>,
        variable: Option<PathBuf>,
        runtime_directory: Option<PathBuf>,
    ) -> Self {
        match argument.or(variable) {
            Some(path) => Self(vec![path]),
            None => Self(
                runtime_directory
                    .map(|directory| directory.join("vidmm/manager.sock"))
                    .into_iter()
                    .chain([PathBuf::from(SYSTEM_SOCKET)])
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_comes_before_what_is_usual() {
        let path = |text: &str| Some(PathBuf::from(text));
        let places = |a, b, c| Place::choose(a, b, c).0;
        assert_eq!(
            places(path("/a"), path("/b"), path("/c")),
            [Path::new("/a")]
        );
        assert_eq!(places(None, path("/b"), path("/c")), [Path::new("/b")]);
        assert_eq!(
            places(None, None, path("/c")),
            [Path::new("/c/vidmm/manager.sock"), Path::new(SYSTEM_SOCKET)]
        );
        assert_eq!(places(None, None, None), [Path::new(SYSTEM_SOCKET)]);
    }
}
