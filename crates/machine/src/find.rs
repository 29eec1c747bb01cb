//! Finding this process's cgroup folders from `/proc/self/cgroup` and `/proc/self/mountinfo`.
//!
//! The first names the cgroup by its path in a hierarchy, as seen from the process's cgroup
//! namespace; the second says which part of which hierarchy is mounted where, seen from the same
//! namespace. Containers with a namespace, containers with only a bind mount of their own folder,
//! and mounts that show more than the namespace all differ, so the two are always joined.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::cgroup::{Cgroup, CgroupVersion};
use crate::files::MachineFiles;
use crate::read::read_optional;

/// Where cgroups are mounted on a machine as it comes; what `cgroup_root` stands for.
const USUAL_ROOT: &str = "/sys/fs/cgroup";

/// Deeper cgroups than this are cut at the top: the kernel's own limit on a path is 4,096 bytes.
const LEVELS_MAX: usize = 256;

/// The memory cgroup of this process, see [`MachineFiles::cgroup`].
pub(crate) fn memory_cgroup(files: &MachineFiles) -> Option<Cgroup> {
    memory_cgroup_of(files, &Membership::read(files))
}

/// The memory cgroup of any process, see [`MachineFiles::cgroup_of`].
pub(crate) fn memory_cgroup_of_process(files: &MachineFiles, pid: u32) -> Option<Cgroup> {
    let path = files.proc_root.join(pid.to_string()).join("cgroup");
    let text = read_optional(&path).ok().flatten()?;
    memory_cgroup_of(files, &Membership::parse(&text))
}

fn memory_cgroup_of(files: &MachineFiles, membership: &Membership) -> Option<Cgroup> {
    let mounts = mounts(files);
    let in_version = |version: CgroupVersion, path: Option<&Path>| {
        let levels = resolve(&mounts, version, path?)?;
        Some(Cgroup::new(version, levels))
    };
    // In a hybrid set-up both have a line and the memory controller is in exactly one: the first
    // that names it is the one that charges.
    in_version(CgroupVersion::V1, membership.v1_memory.as_deref())
        .or_else(|| in_version(CgroupVersion::V2, membership.v2.as_deref()))
}

/// The folder of this process in the unified hierarchy, with or without a memory controller.
pub(crate) fn unified_dir(files: &MachineFiles) -> Option<PathBuf> {
    let path = Membership::read(files).v2?;
    resolve(&mounts(files), CgroupVersion::V2, &path)?
        .into_iter()
        .next()
}

/// The raw text that changes when the process is moved to another cgroup.
pub(crate) fn membership_text(files: &MachineFiles) -> Vec<u8> {
    let path = files.proc_root.join("self/cgroup");
    read_optional(&path).ok().flatten().unwrap_or_default()
}

/// The process's path in each hierarchy that matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Membership {
    v1_memory: Option<PathBuf>,
    v2: Option<PathBuf>,
}

impl Membership {
    fn read(files: &MachineFiles) -> Self {
        Self::parse(&membership_text(files))
    }

    /// Lines of `number:controllers:path`; the unified hierarchy has number 0 and no controllers.
    fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let mut fields = line.splitn(3, |&byte| byte == b':');
            let (Some(number), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            // The mark of a cgroup that was removed around a living process.
            let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            if number == b"0" && controllers.is_empty() {
                found.v2 = Some(path);
            } else if controllers
                .split(|&byte| byte == b',')
                .any(|name| name == b"memory")
            {
                found.v1_memory = Some(path);
            }
        }
        found
    }
}

/// One mount of a hierarchy that can charge memory.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: CgroupVersion,
    /// Which folder of the hierarchy is mounted; `/..` and so on where it lies above the namespace.
    root: PathBuf,
    /// Where it is seen, already moved under the caller's `cgroup_root`.
    point: PathBuf,
}

/// All cgroup mounts; the usual two where `mountinfo` cannot be read.
fn mounts(files: &MachineFiles) -> Vec<Mount> {
    let path = files.proc_root.join("self/mountinfo");
    if let Ok(Some(text)) = read_optional(&path) {
        let lines = text.split(|&byte| byte == b'\n');
        return lines
            .filter_map(|line| parse_mount(line, &files.cgroup_root))
            .collect();
    }
    let usual = |version, point: PathBuf| Mount {
        version,
        root: "/".into(),
        point,
    };
    vec![
        usual(CgroupVersion::V1, files.cgroup_root.join("memory")),
        usual(CgroupVersion::V2, files.cgroup_root.clone()),
    ]
}

/// `id parent dev root point options [optional...] - type source super-options`
fn parse_mount(line: &[u8], cgroup_root: &Path) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    let mut tail = fields.skip_while(|&field| field != b"-").skip(1);
    let kind = tail.next()?;
    let super_options = tail.nth(1)?;
    let version = match kind {
        b"cgroup2" => CgroupVersion::V2,
        b"cgroup"
            if super_options
                .split(|&byte| byte == b',')
                .any(|word| word == b"memory") =>
        {
            CgroupVersion::V1
        }
        _ => return None,
    };
    let point = unescape(point);
    let point = match point.strip_prefix(USUAL_ROOT) {
        Ok(rest) if rest.as_os_str().is_empty() => cgroup_root.to_owned(),
        Ok(rest) => cgroup_root.join(rest),
        Err(_) => point,
    };
    Some(Mount {
        version,
        root: unescape(root),
        point,
    })
}

/// The kernel writes space, tab, newline and backslash in these fields as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(octal_byte);
        bytes.push(digits.unwrap_or(first));
        rest = if digits.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    let all_octal = text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    u8::from_str_radix(text, 8).ok().filter(|_| all_octal)
}

/// The folders that charge a process at `path`: its own (or the nearest one that is visible) first,
/// then each visible ancestor. `None` where no mount shows any of them.
fn resolve(mounts: &[Mount], version: CgroupVersion, path: &Path) -> Option<Vec<PathBuf>> {
    let of_version = mounts.iter().filter(|mount| mount.version == version);
    let candidates = of_version.filter_map(|mount| {
        let below = below_mount(&mount.root, path)?;
        let (dir, missing) = nearest_visible(&mount.point, &below)?;
        // Best is the mount that shows the folder itself, then the one that shows most ancestors.
        let root_depth = mount.root.components().count();
        Some(((missing, root_depth), mount, dir))
    });
    let (_, mount, dir) = candidates.min_by_key(|(order, _, _)| *order)?;
    let inside = dir
        .ancestors()
        .take_while(|level| level.starts_with(&mount.point));
    Some(inside.take(LEVELS_MAX).map(Path::to_owned).collect())
}

/// Where `path` lies below a mount of `root`, both seen from the cgroup namespace. An empty answer
/// is the mount's own folder. `None` where the mount shows no part of the way to `path`.
fn below_mount(root: &Path, path: &Path) -> Option<PathBuf> {
    if let Ok(rest) = path.strip_prefix(root) {
        return climbs(rest).eq(&0).then(|| rest.to_owned());
    }
    // The mount starts above the namespace (`/../..`), at a folder that contains it: the names in
    // between are hidden, but the mount's own folder is an ancestor and charges the process too.
    let only_climbs = root
        .components()
        .skip(1)
        .all(|part| part == Component::ParentDir);
    (only_climbs && climbs(path) < climbs(root)).then(PathBuf::new)
}

/// How many `..` a path has.
fn climbs(path: &Path) -> usize {
    path.components()
        .filter(|part| *part == Component::ParentDir)
        .count()
}

/// The deepest folder on the way from `point` to `point/below` that can be seen, and how many parts
/// of the way are missing.
fn nearest_visible(point: &Path, below: &Path) -> Option<(PathBuf, usize)> {
    let mut dir = point.to_owned();
    // Not `join`: an empty `below` would leave a trailing slash.
    dir.extend(below.components());
    let mut missing = 0;
    while !dir.is_dir() {
        if dir.as_os_str().as_bytes() == point.as_os_str().as_bytes() || !dir.pop() {
            return None;
        }
        missing += 1;
    }
    Some((dir, missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_lines_of_all_kinds() {
        let text =
            b"9:name=systemd:/a\n4:cpu,memory:/b:c\n0::/d (deleted)\nnonsense\n7:memory_x:/e\n";
        let expected = Membership {
            v1_memory: Some("/b:c".into()),
            v2: Some("/d".into()),
        };
        assert_eq!(Membership::parse(text), expected);
        assert_eq!(Membership::parse(b""), Membership::default());
        assert_eq!(
            Membership::parse(b"\xff:\xff\n::\n0:"),
            Membership::default()
        );
    }

    #[test]
    fn mount_lines_with_escapes_and_optional_fields() {
        let line =
            b"35 31 0:32 /x\\040y /mnt/c\\134g rw,relatime shared:9 master:1 - cgroup cg rw,memory";
        let mount = parse_mount(line, Path::new("/elsewhere")).unwrap();
        assert_eq!(mount.version, CgroupVersion::V1);
        assert_eq!(mount.root, Path::new("/x y"));
        assert_eq!(mount.point, Path::new("/mnt/c\\g"));
        let line = b"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let mount = parse_mount(line, Path::new("/elsewhere")).unwrap();
        assert_eq!(mount.point, Path::new("/elsewhere/unified"));
    }

    #[test]
    fn other_mounts_and_broken_lines_are_passed_over() {
        let root = Path::new("/r");
        for line in [
            &b""[..],
            b"1 2 3",
            b"22 27 0:21 / /proc rw - proc proc rw",
            b"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
            b"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup",
            b"32 31 0:29 / /sys/fs/cgroup rw cgroup2 cgroup2 rw",
        ] {
            assert_eq!(
                parse_mount(line, root),
                None,
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn escapes_are_three_octal_digits_or_no_escape() {
        assert_eq!(unescape(b"a\\040b\\011"), Path::new("a b\t"));
        assert_eq!(unescape(b"\\04"), Path::new("\\04"));
        assert_eq!(unescape(b"\\777\\0x1\\"), Path::new("\\777\\0x1\\"));
        assert_eq!(unescape(b"\\+12"), Path::new("\\+12"));
    }

    #[test]
    fn a_path_is_placed_below_its_mount() {
        let below = |root: &str, path: &str| below_mount(Path::new(root), Path::new(path));
        assert_eq!(below("/", "/"), Some("".into()));
        assert_eq!(below("/", "/a/b"), Some("a/b".into()));
        assert_eq!(below("/docker/x", "/docker/x"), Some("".into()));
        assert_eq!(below("/docker/x", "/docker/x/y"), Some("y".into()));
        assert_eq!(below("/docker/x", "/docker/other"), None);
        // The process was moved out of its namespace: the mount shows nothing of its way.
        assert_eq!(below("/", "/../other"), None);
        // The mount shows more than the namespace.
        assert_eq!(below("/..", "/"), Some("".into()));
        assert_eq!(below("/../..", "/../a"), Some("".into()));
        assert_eq!(below("/..", "/../a"), Some("a".into()));
        assert_eq!(below("/..", "/../../a"), None);
    }
}
