//! The environment: each variable has the effect it promises, wrong values say so, and in
//! secure-execution mode nobody listens.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use common::{MIB, agents, alone_with, check_passed, command, in_fork, is_child, mapping_of};
use vidmm::{Allocation, Class, Outcome, Pool};

fn pool() -> Pool {
    Pool::from_environment().unwrap().build().unwrap()
}

fn used(pool: &Pool) -> Allocation {
    let mut allocation = pool.options().allocate_shared(MIB).unwrap();
    allocation.lock_mut().unwrap().fill(1);
    allocation
}

fn start(allocation: &Allocation) -> usize {
    allocation.lock().unwrap().as_ptr().addr()
}

#[test]
fn silence_gives_the_defaults() {
    alone_with("silence_gives_the_defaults", &[], expect_defaults);
}

fn expect_defaults() {
    let pool = pool();
    let automatic = Pool::builder().build().unwrap();
    assert_eq!(pool.budget_bytes(), automatic.budget_bytes());
    let used = used(&pool);
    let mapping = mapping_of(start(&used)).unwrap();
    assert!(mapping.has_flag("dd"), "not in core dumps");
    assert_eq!(mapping.permissions, "rw-p", "not protected");
    assert!(!pool.pressure_sources().is_empty());
    common::agent();
    in_fork(|| assert!(used.lock().unwrap().iter().all(|&byte| byte == 1)));
    used.offer(Class::Low).unwrap();
    pool.trim(u64::MAX).unwrap();
    assert_eq!(used.reclaim(), Ok(Outcome::Discarded));
    let bytes = used.lock().unwrap();
    assert!(!bytes.iter().all(|&byte| byte == 0xDB), "not poisoned");
}

#[test]
fn empty_and_zero_leave_the_defaults() {
    let name = "empty_and_zero_leave_the_defaults";
    let variables = [
        ("VIDMM_POISON", "0"),
        ("VIDMM_DEBUG", ""),
        ("VIDMM_FORK", ""),
        ("VIDMM_PRESSURE", ""),
        ("VIDMM_AGENT", ""),
        ("VIDMM_COREDUMP", "0"),
        ("VIDMM_POLICY", ""),
    ];
    alone_with(name, &variables, expect_defaults);
}

#[test]
fn the_budget_is_heeded() {
    alone_with("the_budget_is_heeded", &[("VIDMM_BUDGET", "96M")], || {
        assert_eq!(pool().budget_bytes(), 96 << 20);
        let global = Pool::global().unwrap();
        assert_eq!(global.budget_bytes(), 96 << 20);
        assert!(global.allocate(97 * MIB).is_err());
        // What is set in the program comes after.
        let builder = Pool::from_environment().unwrap().budget_bytes(1 << 20);
        assert_eq!(builder.build().unwrap().budget_bytes(), 1 << 20);
    });
}

#[test]
fn a_share_of_the_machine_is_heeded() {
    let name = "a_share_of_the_machine_is_heeded";
    alone_with(name, &[("VIDMM_BUDGET", "25%")], || {
        let automatic = Pool::builder().build().unwrap();
        assert_eq!(pool().budget_bytes(), automatic.budget_bytes());
    });
}

#[test]
fn poison_is_heeded() {
    alone_with("poison_is_heeded", &[("VIDMM_POISON", "1")], || {
        let pool = pool();
        let used = used(&pool);
        used.offer(Class::Low).unwrap();
        pool.trim(u64::MAX).unwrap();
        assert_eq!(used.reclaim(), Ok(Outcome::Discarded));
        assert!(used.lock().unwrap().iter().all(|&byte| byte == 0xDB));
    });
}

#[test]
fn protect_is_heeded() {
    alone_with("protect_is_heeded", &[("VIDMM_DEBUG", "protect")], || {
        let pool = pool();
        let used = used(&pool);
        assert_eq!(mapping_of(start(&used)).unwrap().permissions, "---p");
        assert!(used.lock().unwrap().iter().all(|&byte| byte == 1));
    });
}

#[test]
fn fork_is_heeded() {
    alone_with("fork_is_heeded", &[("VIDMM_FORK", "drop")], || {
        let pool = pool();
        let used = used(&pool);
        let start = start(&used);
        in_fork(|| assert!(mapping_of(start).is_none() && used.lock().is_err()));
        assert!(used.lock().is_ok());
    });
}

#[test]
fn pressure_is_heeded() {
    alone_with("pressure_is_heeded", &[("VIDMM_PRESSURE", "off")], || {
        let pool = pool();
        let _used = used(&pool);
        assert!(pool.pressure_sources().is_empty());
        common::agent();
    });
}

#[test]
fn agent_is_heeded() {
    alone_with("agent_is_heeded", &[("VIDMM_AGENT", "off")], || {
        let pool = pool();
        let _used = used(&pool);
        pool.agent_fd().unwrap();
        pool.agent_run().unwrap();
        assert!(agents().is_empty());
    });
}

#[test]
fn coredump_is_heeded() {
    alone_with("coredump_is_heeded", &[("VIDMM_COREDUMP", "1")], || {
        let pool = pool();
        assert!(!mapping_of(start(&used(&pool))).unwrap().has_flag("dd"));
    });
}

/// Whatever is wrong, the message names the variable, what it holds and what it could hold.
const WRONG: [(&str, &str, &str); 10] = [
    ("VIDMM_BUDGET", "lots", "256M"),
    ("VIDMM_BUDGET", "-5M", "256M"),
    ("VIDMM_BUDGET", "101%", "%"),
    ("VIDMM_POISON", "yes", "1"),
    ("VIDMM_DEBUG", "1", "protect"),
    ("VIDMM_FORK", "copy-on-write", "drop"),
    ("VIDMM_PRESSURE", "0ff", "off"),
    ("VIDMM_AGENT", "none", "off"),
    ("VIDMM_COREDUMP", "on", "1"),
    ("VIDMM_POLICY", "lru", "oldest-first"),
];

const WRONG_INDEX: &str = "TEST_WRONG_INDEX";

#[test]
fn wrong_values_are_named_with_what_would_be_right() {
    let name = "wrong_values_are_named_with_what_would_be_right";
    if is_child(name) {
        let index: usize = std::env::var(WRONG_INDEX).unwrap().parse().unwrap();
        let (variable, value, right) = WRONG[index];
        let message = Pool::from_environment().unwrap_err().to_string();
        for part in [variable, value, right] {
            assert!(message.contains(part), "{variable}={value}: {message}");
        }
        // The process's own pool says the same, each time.
        for _ in 0..2 {
            assert_eq!(Pool::global().unwrap_err().to_string(), message);
        }
        return;
    }
    for (index, (variable, value, _)) in WRONG.into_iter().enumerate() {
        let mut command = command(name);
        command.env(variable, value);
        command.env(WRONG_INDEX, index.to_string());
        check_passed(name, &command.output().unwrap());
    }
}

/// A user that owns nothing here.
const NOBODY: u32 = 65_534;

#[test]
fn in_secure_execution_mode_the_environment_is_ignored() {
    let name = "in_secure_execution_mode_the_environment_is_ignored";
    if is_child(name) {
        // SAFETY: it only reads the process's auxiliary vector.
        if unsafe { libc::getauxval(libc::AT_SECURE) } == 0 {
            println!("SKIPPED: this file system honours no set-user-id bit");
            return;
        }
        let pool = Pool::from_environment().unwrap().build().unwrap();
        let automatic = Pool::builder().build().unwrap();
        assert_eq!(pool.budget_bytes(), automatic.budget_bytes());
        assert_eq!(pool.recording(), None);
        let used = used(&pool);
        used.offer(Class::Low).unwrap();
        pool.trim(u64::MAX).unwrap();
        assert_eq!(used.reclaim(), Ok(Outcome::Discarded));
        assert!(!used.lock().unwrap().iter().all(|&byte| byte == 0xDB));
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can make a set-user-id copy of this program");
        return;
    }
    // A copy of this program that runs with another user's rights.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("secure");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    chown(&copy, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
    let plain = command(name);
    let mut secure = std::process::Command::new(copy);
    secure.args(plain.get_args());
    for (variable, value) in plain.get_envs() {
        if let Some(value) = value {
            secure.env(variable, value);
        }
    }
    // The first is wrong: heeded, it would be an error.
    let variables = [
        ("VIDMM_AGENT", "nonsense"),
        ("VIDMM_BUDGET", "7M"),
        ("VIDMM_POISON", "1"),
        ("VIDMM_TRACE", "/tmp"),
    ];
    secure.envs(variables).current_dir("/");
    check_passed(name, &secure.output().unwrap());
}
