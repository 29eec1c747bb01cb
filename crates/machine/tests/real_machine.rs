//! The machine that runs the tests: its figures make sense, and its triggers open.

#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

use std::fs;
use std::path::Path;

use vidmm_machine::{
    Answer, BudgetSpec, CgroupVersion, Event, Interest, MachineFiles, MachinePressure, Pressure,
    Reason, SourceState, SystemdEnvironment, default_budget_bytes,
};

#[test]
fn memory_is_what_the_kernel_tells_others_too() {
    let memory = MachineFiles::default().memory().unwrap();
    let told = rustix::system::sysinfo();
    let told_bytes = told.totalram * u64::from(told.mem_unit);
    assert_eq!(memory.total_bytes, told_bytes);
    assert!(memory.available_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    assert!(memory.free_bytes <= memory.total_bytes);
    assert!(memory.swap_free_bytes <= memory.swap_total_bytes);
}

#[test]
fn the_cgroup_lists_this_process() {
    let Some(cgroup) = MachineFiles::default().cgroup() else {
        println!("SKIPPED: no memory cgroup shows this process");
        return;
    };
    let listed = fs::read_to_string(cgroup.dir().join("cgroup.procs")).unwrap();
    let own = std::process::id().to_string();
    if !listed.lines().any(|line| line == own) {
        // A version 2 namespace or a bind mount may show an ancestor only.
        println!(
            "SKIPPED: {} is an ancestor of this process's cgroup",
            cgroup.dir().display()
        );
        return;
    }
    let usage_bytes = cgroup.usage_bytes().unwrap();
    match cgroup.version() {
        // This process itself has touched more than nothing.
        CgroupVersion::V1 => assert!(usage_bytes.unwrap() > 0),
        CgroupVersion::V2 => assert!(usage_bytes.is_none_or(|bytes| bytes > 0)),
    }
    let limit_bytes = cgroup.limit_bytes().unwrap();
    assert_eq!(
        limit_bytes.is_some(),
        cgroup.headroom_bytes().unwrap().is_some()
    );
    if let (Some(limit), Some(headroom)) = (limit_bytes, cgroup.headroom_bytes().unwrap()) {
        assert!(headroom <= limit || !cgroup.limited_levels().unwrap().is_empty());
    }
}

#[test]
fn the_default_budget_is_a_quarter_of_what_there_is() {
    let files = MachineFiles::default();
    let budget_bytes = default_budget_bytes(&files).unwrap();
    let total_bytes = files.memory().unwrap().total_bytes;
    assert!(budget_bytes > 0 && budget_bytes <= total_bytes / 4);
    assert_eq!(BudgetSpec::Auto.resolve(&files).unwrap(), budget_bytes);
}

#[test]
fn a_stall_trigger_opens_and_is_quiet() {
    let pressure = MachinePressure::open(MachineFiles::default(), &SystemdEnvironment::default());
    let reports = pressure.describe();
    let machine = reports
        .iter()
        .find(|report| report.reason == Reason::PsiMachine)
        .unwrap();
    if let SourceState::Absent(why) = &machine.state {
        // Another kernel may have no PSI or not allow it; none may find the trigger wrong.
        assert!(!why.contains("refused the trigger"), "{machine}");
        println!("SKIPPED: {machine}");
        return;
    }
    for watch in pressure.descriptors() {
        assert_eq!(watch.interest, Interest::Priority);
        let mut polled = [rustix::event::PollFd::from_borrowed_fd(
            watch.descriptor,
            watch.interest.poll_flags(),
        )];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut polled, Some(&now)).unwrap();
        // A trigger that was not accepted shows an error at once and for ever.
        assert!(!polled[0].revents().contains(rustix::event::PollFlags::ERR));
    }
}

#[test]
fn the_service_manager_may_name_the_real_pressure_file() {
    let path = Path::new("/proc/pressure/memory");
    let environment = SystemdEnvironment {
        watch: Some(path.into()),
        write: Some("c29tZSAyMDAwMDAgMjAwMDAwMAA=".into()),
    };
    let pressure = MachinePressure::open(MachineFiles::default(), &environment);
    let reports = pressure.describe();
    let systemd = reports
        .iter()
        .find(|report| report.reason == Reason::Systemd)
        .unwrap();
    if let SourceState::Absent(why) = &systemd.state {
        println!("SKIPPED: {why}");
        return;
    }
    assert_eq!(systemd.state, SourceState::Watching);
}

#[test]
fn a_check_of_this_machine_reads_everything_it_needs() {
    let mut pressure =
        MachinePressure::open(MachineFiles::default(), &SystemdEnvironment::default());
    if let Answer::GiveBack(demand) = pressure.answer(Event::Check, 0) {
        assert!(matches!(
            demand.reason,
            Reason::CgroupLimit | Reason::LowAvailable
        ));
    }
    for report in pressure.describe() {
        assert!(!matches!(report.state, SourceState::Failed(_)), "{report}");
    }
}
