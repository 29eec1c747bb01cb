//! The machine's figures and its cgroups, on made-up machines of every kind.

#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod common;

use std::fs;

use common::{FakeMachine, GIB, MIB, V1_MOUNT, V1_UNLIMITED, V2_MOUNT};
use vidmm_machine::{CgroupVersion, MachineError, PsiScope, default_budget_bytes};

#[test]
fn the_machine_as_a_whole() {
    let machine = FakeMachine::new();
    let memory = machine.files().memory().unwrap();
    assert_eq!(memory.total_bytes, 16 * GIB);
    assert_eq!(memory.available_bytes, 8 * GIB);
    assert_eq!(memory.free_bytes, MIB);
    assert_eq!(memory.swap_total_bytes, 2 * MIB);
    assert_eq!(memory.swap_free_bytes, MIB);
}

#[test]
fn available_is_never_more_than_all() {
    let machine = FakeMachine::new();
    machine.meminfo(GIB, 2 * GIB);
    assert_eq!(machine.files().memory().unwrap().available_bytes, GIB);
}

#[test]
fn a_broken_meminfo_is_a_clear_error() {
    let machine = FakeMachine::new();
    for (text, part) in [
        ("MemTotal: 5 kB\n", "has no MemAvailable"),
        ("MemAvailable: 5 kB\n", "has no MemTotal"),
        ("", "has no MemTotal"),
        (
            "MemTotal: five kB\nMemAvailable: 5 kB\n",
            "MemTotal reads \"five\"",
        ),
        (
            "MemTotal: 5 MB\nMemAvailable: 5 kB\n",
            "MemTotal reads \"5 MB\"",
        ),
        (
            "MemTotal: -5 kB\nMemAvailable: 5 kB\n",
            "MemTotal reads \"-5\"",
        ),
        (
            "MemTotal: 0 kB\nMemAvailable: 0 kB\n",
            "MemTotal reads \"0 kB\"",
        ),
        (
            "MemTotal: 18446744073709551615 kB\nMemAvailable: 5 kB\n",
            "MemTotal reads",
        ),
        (
            "MemTotal: 5 kB\nMemAvailable: 5 kB\nSwapFree: \u{fffd} kB\n",
            "SwapFree reads",
        ),
    ] {
        machine.write("proc/meminfo", text);
        let error = machine.files().memory().unwrap_err().to_string();
        assert!(error.contains(part), "{text:?} gave {error}");
        assert!(
            error.contains("meminfo") && error.contains("state the budget"),
            "{error}"
        );
    }
    fs::remove_file(machine.root().join("proc/meminfo")).unwrap();
    let error = machine.files().memory().unwrap_err();
    assert!(matches!(error, MachineError::Read { .. }), "{error}");
}

#[test]
fn no_cgroup_at_all() {
    let machine = FakeMachine::new();
    assert_eq!(machine.files().cgroup(), None);
    machine.membership("0::/a\n");
    machine.mounts(&[]);
    assert_eq!(machine.files().cgroup(), None);
    assert_eq!(machine.files().psi_path(PsiScope::Cgroup), None);
    assert_eq!(default_budget_bytes(&machine.files()).unwrap(), 4 * GIB);
}

#[test]
fn version_2_with_nested_limits() {
    let machine = FakeMachine::new();
    machine.membership("0::/outer/middle/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("outer", "4294967296\n", "max\n", 3 * GIB, GIB);
    machine.v2_level("outer/middle", "max\n", "2147483648\n", 2 * GIB, 100 * MIB);
    machine.v2_level("outer/middle/own", "max\n", "max\n", 50 * MIB, 10 * MIB);
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.version(), CgroupVersion::V2);
    assert_eq!(cgroup.dir(), machine.cgroup("outer/middle/own"));
    assert_eq!(cgroup.limit_bytes().unwrap(), Some(2 * GIB));
    assert_eq!(cgroup.usage_bytes().unwrap(), Some(40 * MIB));
    // The middle level is nearest to its limit, though this process uses little of it.
    assert_eq!(cgroup.headroom_bytes().unwrap(), Some(100 * MIB));
    let dirs: Vec<_> = cgroup
        .limited_levels()
        .unwrap()
        .into_iter()
        .map(|level| level.dir)
        .collect();
    assert_eq!(
        dirs,
        [machine.cgroup("outer/middle"), machine.cgroup("outer")]
    );
    assert_eq!(default_budget_bytes(&machine.files()).unwrap(), 512 * MIB);
    let psi = machine.files().psi_path(PsiScope::Cgroup);
    assert_eq!(
        psi,
        Some(machine.cgroup("outer/middle/own/memory.pressure"))
    );
}

#[test]
fn another_process_is_found_by_its_own_membership() {
    let machine = FakeMachine::new();
    machine.membership("0::/mine\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("mine", "max\n", "max\n", MIB, 0);
    machine.v2_level("theirs", "1073741824\n", "max\n", 100 * MIB, 0);
    machine.write("proc/77/cgroup", "0::/theirs\n");
    machine.write("proc/78/cgroup", "0::/gone/below\n");
    let cgroup = machine.files().cgroup_of(77).unwrap();
    assert_eq!(cgroup.dir(), machine.cgroup("theirs"));
    assert_eq!(cgroup.headroom_bytes().unwrap(), Some(924 * MIB));
    let gone = machine.files().cgroup_of(78).unwrap();
    assert_eq!(gone.headroom_bytes().unwrap(), None);
    assert_eq!(machine.files().cgroup_of(79), None, "no such process");
}

#[test]
fn version_2_without_any_limit() {
    let machine = FakeMachine::new();
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("own", "max\n", "max", 50 * MIB, 60 * MIB);
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.limit_bytes().unwrap(), None);
    assert_eq!(cgroup.headroom_bytes().unwrap(), None);
    // The two files are read at different instants and need not agree.
    assert_eq!(cgroup.usage_bytes().unwrap(), Some(0));
    assert_eq!(default_budget_bytes(&machine.files()).unwrap(), 4 * GIB);
}

#[test]
fn version_2_in_the_root_has_no_figures_and_no_pressure_of_its_own() {
    let machine = FakeMachine::new();
    machine.membership("0::/\n");
    machine.mounts(&[V2_MOUNT]);
    machine.write("cgroup/cgroup.procs", "1\n");
    machine.write("cgroup/memory.pressure", "");
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.dir(), machine.cgroup(""));
    assert_eq!(cgroup.limit_bytes().unwrap(), None);
    assert_eq!(cgroup.usage_bytes().unwrap(), None);
    assert_eq!(machine.files().psi_path(PsiScope::Cgroup), None);
}

#[test]
fn version_2_above_its_throttling_limit_has_no_headroom() {
    let machine = FakeMachine::new();
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("own", "1073741824\n", "536870912\n", 600 * MIB, 0);
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.headroom_bytes().unwrap(), Some(0));
}

#[test]
fn version_1_with_nested_and_hidden_limits() {
    let machine = FakeMachine::new();
    machine.membership("5:cpu:/x\n4:memory:/outer/own\n");
    machine.mounts(&[V1_MOUNT]);
    machine.v1_level("memory", V1_UNLIMITED, 9 * GIB, 0, "9223372036854771712");
    machine.v1_level("memory/outer", "1073741824\n", GIB, 200 * MIB, "1073741824");
    machine.v1_level(
        "memory/outer/own",
        V1_UNLIMITED,
        500 * MIB,
        100 * MIB,
        "943718400",
    );
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.version(), CgroupVersion::V1);
    assert_eq!(cgroup.dir(), machine.cgroup("memory/outer/own"));
    // 900 MiB: the kernel's own minimum knows a level that is not shown.
    assert_eq!(cgroup.limit_bytes().unwrap(), Some(900 * MIB));
    assert_eq!(cgroup.usage_bytes().unwrap(), Some(400 * MIB));
    assert_eq!(cgroup.headroom_bytes().unwrap(), Some(200 * MIB));
}

#[test]
fn version_1_unlimited_is_no_limit() {
    let machine = FakeMachine::new();
    machine.membership("4:memory:/own\n");
    machine.mounts(&[V1_MOUNT]);
    machine.v1_level("memory/own", V1_UNLIMITED, MIB, 0, "9223372036854771712");
    assert_eq!(
        machine.files().cgroup().unwrap().limit_bytes().unwrap(),
        None
    );
}

#[test]
fn version_1_ancestors_without_hierarchy_do_not_charge() {
    let machine = FakeMachine::new();
    machine.membership("4:memory:/outer/own\n");
    machine.mounts(&[V1_MOUNT]);
    machine.v1_level("memory/outer", "1048576\n", MIB, 0, "1048576");
    machine.write("cgroup/memory/outer/memory.use_hierarchy", "0\n");
    machine.v1_level("memory/outer/own", "1073741824\n", MIB, 0, "1073741824");
    assert_eq!(
        machine.files().cgroup().unwrap().limit_bytes().unwrap(),
        Some(GIB)
    );
}

#[test]
fn hybrid_charges_in_version_1_and_reports_stalls_in_version_2() {
    let machine = FakeMachine::new();
    machine.membership("4:memory:/own\n0::/service\n");
    let unified = ("/", "/sys/fs/cgroup/unified", "cgroup2", "rw");
    machine.mounts(&[V1_MOUNT, unified]);
    machine.v1_level("memory/own", "1073741824\n", MIB, 0, "1073741824");
    machine.write("cgroup/unified/service/cgroup.events", "populated 1\n");
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.version(), CgroupVersion::V1);
    assert_eq!(cgroup.limit_bytes().unwrap(), Some(GIB));
    let psi = machine.files().psi_path(PsiScope::Cgroup);
    assert_eq!(psi, Some(machine.cgroup("unified/service/memory.pressure")));
}

#[test]
fn hybrid_with_the_memory_controller_in_version_2() {
    let machine = FakeMachine::new();
    machine.membership("3:cpu:/c\n0::/own\n");
    let cpu = ("/", "/sys/fs/cgroup/cpu", "cgroup", "rw,cpu");
    let unified = ("/", "/sys/fs/cgroup/unified", "cgroup2", "rw");
    machine.mounts(&[cpu, unified]);
    machine.v2_level("unified/own", "1073741824\n", "max\n", MIB, 0);
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.version(), CgroupVersion::V2);
    assert_eq!(cgroup.limit_bytes().unwrap(), Some(GIB));
}

#[test]
fn a_container_with_only_its_own_folder_mounted() {
    // No cgroup namespace: the path is the machine's, the mount shows the container's part as root.
    let machine = FakeMachine::new();
    machine.membership("4:memory:/docker/abc/inner\n");
    machine.mounts(&[(
        "/docker/abc",
        "/sys/fs/cgroup/memory",
        "cgroup",
        "rw,memory",
    )]);
    machine.v1_level("memory", "1073741824\n", MIB, 0, "1073741824");
    machine.v1_level("memory/inner", "536870912\n", MIB, 0, "536870912");
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.dir(), machine.cgroup("memory/inner"));
    let limits: Vec<_> = cgroup
        .limited_levels()
        .unwrap()
        .into_iter()
        .map(|level| level.limit_bytes)
        .collect();
    assert_eq!(limits, [512 * MIB, GIB]);
}

#[test]
fn a_container_with_a_namespace() {
    let machine = FakeMachine::new();
    machine.membership("0::/\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("", "268435456\n", "max\n", MIB, 0);
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.limit_bytes().unwrap(), Some(256 * MIB));
    let psi = machine.files().psi_path(PsiScope::Cgroup);
    assert_eq!(psi, Some(machine.cgroup("memory.pressure")));
}

#[test]
fn a_mount_that_shows_more_than_the_namespace_limits_too() {
    let machine = FakeMachine::new();
    machine.membership("0::/\n");
    machine.mounts(&[("/..", "/sys/fs/cgroup", "cgroup2", "rw")]);
    machine.v2_level("", "268435456\n", "max\n", MIB, 0);
    assert_eq!(
        machine.files().cgroup().unwrap().limit_bytes().unwrap(),
        Some(256 * MIB)
    );
}

#[test]
fn of_two_mounts_the_one_that_shows_more_is_read() {
    let machine = FakeMachine::new();
    machine.membership("0::/outer/own\n");
    let whole = machine.root().join("whole tree");
    let point = whole.to_str().unwrap().replace(' ', "\\040");
    machine.mounts(&[
        ("/outer/own", "/sys/fs/cgroup", "cgroup2", "rw"),
        ("/", &point, "cgroup2", "rw"),
    ]);
    machine.v2_level("", "max\n", "max\n", MIB, 0);
    machine.write("whole tree/outer/own/memory.max", "max\n");
    machine.write("whole tree/outer/memory.max", "134217728\n");
    machine.write("whole tree/outer/memory.current", "0\n");
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.dir(), whole.join("outer/own"));
    assert_eq!(cgroup.limit_bytes().unwrap(), Some(128 * MIB));
    // A mount that is hidden under another shows nothing: the other is taken.
    fs::remove_dir_all(&whole).unwrap();
    assert_eq!(machine.files().cgroup().unwrap().dir(), machine.cgroup(""));
}

#[test]
fn a_removed_cgroup_falls_back_to_what_still_charges() {
    let machine = FakeMachine::new();
    machine.membership("0::/outer/gone (deleted)\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("outer", "268435456\n", "max\n", MIB, 0);
    let cgroup = machine.files().cgroup().unwrap();
    assert_eq!(cgroup.dir(), machine.cgroup("outer"));
    assert_eq!(cgroup.limit_bytes().unwrap(), Some(256 * MIB));
    // Removed after it was found.
    fs::remove_dir_all(machine.cgroup("outer")).unwrap();
    assert_eq!(cgroup.limit_bytes().unwrap(), None);
    assert_eq!(cgroup.usage_bytes().unwrap(), None);
}

#[test]
fn a_process_outside_its_namespace_sees_no_cgroup() {
    let machine = FakeMachine::new();
    machine.membership("0::/../elsewhere\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("", "268435456\n", "max\n", MIB, 0);
    assert_eq!(machine.files().cgroup(), None);
}

#[test]
fn without_mountinfo_the_usual_places_are_looked_at() {
    let machine = FakeMachine::new();
    machine.membership("4:memory:/own\n");
    machine.v1_level("memory/own", "268435456\n", MIB, 0, "268435456");
    assert_eq!(
        machine.files().cgroup().unwrap().limit_bytes().unwrap(),
        Some(256 * MIB)
    );
    machine.membership("0::/own\n");
    machine.v2_level("own", "134217728\n", "max\n", MIB, 0);
    assert_eq!(
        machine.files().cgroup().unwrap().limit_bytes().unwrap(),
        Some(128 * MIB)
    );
}

#[test]
fn garbage_in_a_limit_is_a_clear_error() {
    let machine = FakeMachine::new();
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    for bad in [
        "",
        "lots",
        "-1",
        "1.5",
        "maximum",
        "18446744073709551616",
        "\0\0",
        "1\n2",
    ] {
        machine.v2_level("own", bad, "max\n", MIB, 0);
        let error = machine.files().cgroup().unwrap().limit_bytes().unwrap_err();
        assert!(
            matches!(
                &error,
                MachineError::Number {
                    field: "memory.max",
                    ..
                }
            ),
            "{error}"
        );
        let text = default_budget_bytes(&machine.files())
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("own/memory.max") && text.contains("state the budget"),
            "{text}"
        );
    }
    machine.v2_level("own", "1048576\n", "max\n", MIB, 0);
    machine.write("cgroup/own/memory.current", "many\n");
    assert!(machine.files().cgroup().unwrap().headroom_bytes().is_err());
    machine.write("cgroup/own/memory.current", "4096\n");
    machine.write("cgroup/own/memory.stat", "inactive_file none\n");
    assert!(machine.files().cgroup().unwrap().usage_bytes().is_err());
}

#[test]
fn garbage_where_cgroups_are_named_is_no_cgroup() {
    let machine = FakeMachine::new();
    for text in ["", "::::", "0:", "\u{0}\u{1}", "4:memory", "0::relative"] {
        machine.membership(text);
        machine.write(
            "proc/self/mountinfo",
            "garbage\n- - -\n1 2 3 4 5 6 - cgroup2\n",
        );
        assert_eq!(machine.files().cgroup(), None, "{text:?}");
    }
}
