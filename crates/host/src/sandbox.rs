//! Giving up what a manager does not need once it is set up: seccomp for system calls, Landlock for
//! files and the network.
//!
//! A system call that is not on the list answers `EPERM`, as if a right were missing: a surprise
//! costs a function, not the manager.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::error::HostError;

/// What files a manager still needs.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Files and folders to be read, with all below.
    pub(crate) read: Vec<PathBuf>,
    /// Folders in which files are removed.
    pub(crate) remove: Vec<PathBuf>,
    /// Folders in which files are made, written and renamed.
    pub(crate) write: Vec<PathBuf>,
    /// Links of `/proc/PID/exe` are read. Landlock forbids that for processes outside of it, so it
    /// stays off.
    pub(crate) executables: bool,
}

/// What was applied, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) landlock: &'static str,
    pub(crate) seccomp: &'static str,
}

/// Shuts the sandbox around this thread (and, for system calls, all of the process).
pub(crate) fn shut(needs: &Needs) -> Result<Applied, HostError> {
    let landlock = match needs.executables {
        true => "off: rules by executable need to look at other processes",
        false => restrict_files(needs)?,
    };
    Ok(Applied {
        landlock,
        seccomp: restrict_calls()?,
    })
}

fn failed(error: impl std::fmt::Display) -> HostError {
    HostError::Sandbox {
        why: error.to_string(),
    }
}

fn restrict_files(needs: &Needs) -> Result<&'static str, HostError> {
    let abi = ABI::V6;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let writing = reading
        | AccessFs::WriteFile
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    let removing = BitFlags::from(AccessFs::RemoveFile);
    let all = [
        (&needs.read, reading),
        (&needs.remove, removing),
        (&needs.write, writing),
    ];
    for (paths, access) in all {
        for path in paths {
            // What is not there needs no right.
            let Ok(opened) = PathFd::new(path) else {
                continue;
            };
            let access = match is_folder(path) {
                true => access,
                false => access & AccessFs::from_file(abi),
            };
            rules = rules
                .add_rule(PathBeneath::new(opened, access))
                .map_err(failed)?;
        }
    }
    let status = rules.restrict_self().map_err(failed)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "on",
        RulesetStatus::PartiallyEnforced => "on, as far as this kernel knows it",
        RulesetStatus::NotEnforced => "off: this kernel does not have it",
    })
}

fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// What a manager calls, its C library and its allocator included.
fn allowed_calls() -> Vec<i64> {
    let mut calls = vec![
        // sockets
        libc::SYS_accept4,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_connect,
        libc::SYS_shutdown,
        libc::SYS_getsockopt,
        libc::SYS_getsockname,
        // waiting
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_ppoll,
        libc::SYS_futex,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        // files
        libc::SYS_openat,
        libc::SYS_close,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_pwrite64,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_readlinkat,
        libc::SYS_unlinkat,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_ftruncate,
        libc::SYS_fallocate,
        libc::SYS_fcntl,
        libc::SYS_getdents64,
        libc::SYS_dup,
        // memory
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_getrandom,
        // itself, and processes as descriptors
        libc::SYS_pidfd_open,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_geteuid,
        libc::SYS_getuid,
        libc::SYS_clock_gettime,
        libc::SYS_sched_getaffinity,
        libc::SYS_prlimit64,
        // a thread that was being started when the filter came
        libc::SYS_rseq,
        libc::SYS_set_robust_list,
        // signals and the end
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_tgkill,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([
        libc::SYS_epoll_wait,
        libc::SYS_poll,
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_readlink,
        libc::SYS_unlink,
        libc::SYS_rename,
    ]);
    calls
}

fn restrict_calls() -> Result<&'static str, HostError> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok("off: not for this architecture");
    };
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> = allowed_calls()
        .into_iter()
        .map(|call| (call, Vec::new()))
        .collect();
    // The service manager is told through a socket of the machine's own, never of a network.
    let unix = u64::try_from(libc::AF_UNIX).map_err(failed)?;
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, unix)
        .map_err(failed)?;
    let only_unix = SeccompRule::new(vec![condition]).map_err(failed)?;
    rules.insert(libc::SYS_socket, vec![only_unix]);
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).map_err(failed)?);
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch).map_err(failed)?;
    let program = BpfProgram::try_from(filter).map_err(failed)?;
    match seccompiler::apply_filter_all_threads(&program) {
        Ok(()) => Ok("on"),
        Err(seccompiler::Error::Prctl(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
            Ok("off: this kernel does not have it")
        }
        Err(error) => Err(failed(error)),
    }
}
