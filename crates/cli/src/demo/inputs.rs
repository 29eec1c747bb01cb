//! Finding the packed files that the demo reads: cargo's package cache, or a directory tree.
//!
//! Owns: which files count as inputs, and the limits on looking for them. Does not open a file.
//! The order of what it finds depends on the names only, so that a seed gives the same run again.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// How deep below the directory named by the user files are looked for.
pub(crate) const DEPTH_MAX: usize = 16;
/// How many packed files are used at most.
pub(crate) const FILES_MAX: usize = 4096;
/// How many directory entries are looked at before the search ends.
const ENTRIES_MAX: usize = 1_000_000;
/// How many packed bytes are used at most, over all files.
pub(crate) const PACKED_TOTAL_MAX_BYTES: u64 = 1 << 30;

/// How a file is packed, told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    /// gzip, one member or several (`.gz`, and `.crate`: a gzipped tar archive).
    Gzip,
    /// Zstandard frames (`.zst`).
    Zstd,
    /// A zip archive (`.zip`).
    Zip,
    /// A PNG image (`.png`).
    Png,
    /// A JPEG image (`.jpg`, `.jpeg`).
    Jpeg,
}

/// Which names are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Only cargo's packages: the cache holds other files too.
    Crates,
    /// Every kind that [`Kind`] lists.
    Everything,
}

/// A packed file that was found, not yet opened.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) packed_bytes: u64,
}

/// A file or directory that could not be used, and why.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Skipped {
    /// The path as text; bytes that are no text are shown as replacement characters.
    pub(crate) path: String,
    pub(crate) reason: String,
}

impl Skipped {
    pub(crate) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: path.display().to_string(),
            reason: reason.into(),
        }
    }
}

/// What a search brought.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) inputs: Vec<Input>,
    /// Directories and files that could not be looked at.
    pub(crate) skipped: Vec<Skipped>,
    /// Usable files beyond the limits of this module. A lower bound if the search itself ended.
    pub(crate) left_out: usize,
}

/// Where cargo keeps the packages it has downloaded: `registry/cache` under `CARGO_HOME`, or
/// under `~/.cargo`. `None` if neither variable is set.
pub(crate) fn cargo_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = set("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&set("HOME")?).join(".cargo")))?;
    Some(home.join("registry").join("cache"))
}

/// Looks through `root` and what is below it, at most [`DEPTH_MAX`] deep, in the order of names.
/// Links inside are not followed. What cannot be read is named in the answer.
///
/// # Errors
/// Only if `root` itself cannot be read as a directory.
pub(crate) fn find(root: &Path, wanted: Wanted) -> std::io::Result<Found> {
    let mut found = Found::default();
    let mut entries_left = ENTRIES_MAX;
    let mut packed_bytes = 0_u64;
    // Directories still to be read, next one last.
    let mut pending = Vec::new();
    push_children(list(root, &mut entries_left)?, 1, &mut pending);
    while let Some((path, depth)) = pending.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => {
                found
                    .skipped
                    .push(Skipped::new(&path, format!("cannot be looked at: {error}")));
                continue;
            }
        };
        if metadata.is_dir() && depth < DEPTH_MAX {
            match list(&path, &mut entries_left) {
                Ok(children) => push_children(children, depth + 1, &mut pending),
                Err(error) => found
                    .skipped
                    .push(Skipped::new(&path, format!("cannot be listed: {error}"))),
            }
        } else if metadata.is_file() {
            let Some(kind) = kind_of(&path, wanted) else {
                continue;
            };
            let total_bytes = packed_bytes.saturating_add(metadata.len());
            if found.inputs.len() == FILES_MAX || total_bytes > PACKED_TOTAL_MAX_BYTES {
                found.left_out += 1;
                continue;
            }
            packed_bytes = total_bytes;
            found.inputs.push(Input {
                path,
                kind,
                packed_bytes: metadata.len(),
            });
        }
    }
    Ok(found)
}

/// The entries of one directory, sorted; no more than are left to look at.
fn list(directory: &Path, entries_left: &mut usize) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        if *entries_left == 0 {
            break;
        }
        *entries_left -= 1;
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

fn push_children(children: Vec<PathBuf>, depth: usize, pending: &mut Vec<(PathBuf, usize)>) {
    pending.extend(children.into_iter().rev().map(|path| (path, depth)));
}

/// How `path` is packed, by the end of its name in any mixture of cases.
fn kind_of(path: &Path, wanted: Wanted) -> Option<Kind> {
    let extension = path
        .extension()
        .and_then(OsStr::to_str)?
        .to_ascii_lowercase();
    match (extension.as_str(), wanted) {
        ("crate", _) => Some(Kind::Gzip),
        (_, Wanted::Crates) => None,
        ("gz", _) => Some(Kind::Gzip),
        ("zst", _) => Some(Kind::Zstd),
        ("zip", _) => Some(Kind::Zip),
        ("png", _) => Some(Kind::Png),
        ("jpg" | "jpeg", _) => Some(Kind::Jpeg),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &Found) -> Vec<String> {
        let name = |input: &Input| input.path.file_name().unwrap().to_str().unwrap().to_owned();
        found.inputs.iter().map(name).collect()
    }

    #[test]
    fn finds_by_extension_in_order_and_follows_no_link() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("b")).unwrap();
        for name in [
            "c.gz",
            "a.PNG",
            "b/z.zst",
            "b/y.crate",
            "x.txt",
            "noext",
            "d.jpeg",
        ] {
            fs::write(root.join(name), b"x").unwrap();
        }
        std::os::unix::fs::symlink(root.join("c.gz"), root.join("link.gz")).unwrap();
        std::os::unix::fs::symlink(root, root.join("loop")).unwrap();
        let found = find(root, Wanted::Everything).unwrap();
        assert_eq!(
            names(&found),
            ["a.PNG", "y.crate", "z.zst", "c.gz", "d.jpeg"]
        );
        assert_eq!(found.inputs[0].kind, Kind::Png);
        assert_eq!(found.inputs[1].kind, Kind::Gzip);
        assert!(found.skipped.is_empty());
        assert_eq!(names(&find(root, Wanted::Crates).unwrap()), ["y.crate"]);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(find(&directory.path().join("absent"), Wanted::Everything).is_err());
    }

    #[test]
    fn the_search_ends_at_its_depth() {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().to_path_buf();
        for level in 0..DEPTH_MAX + 2 {
            fs::write(path.join(format!("{level:02}.gz")), b"x").unwrap();
            path.push("deeper");
            fs::create_dir(&path).unwrap();
        }
        let found = find(directory.path(), Wanted::Everything).unwrap();
        assert_eq!(found.inputs.len(), DEPTH_MAX);
    }
}
