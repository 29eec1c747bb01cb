//! Sources of pressure: what they ask for, how they go away, and that an epoll set can wait on them.

#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod common;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use common::{FakeMachine, GIB, MIB, V2_MOUNT};
use rustix::event::{Timespec, epoll};
use rustix::fs::{CWD, FileType, Mode};
use vidmm_machine::{
    Answer, Demand, Event, MachinePressure, Pressure, Reason, SCRIPT_EVENTS_MAX, ScriptFull,
    ScriptedPressure, SourceState, SystemdEnvironment, SystemdError, SystemdWatch, Token,
};

/// An agent's epoll set, with the events it reports.
struct Set {
    epoll: std::os::fd::OwnedFd,
}

impl Set {
    fn of(pressure: &dyn Pressure) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for watch in pressure.descriptors() {
            let key = epoll::EventData::new_u64(watch.token.0.into());
            epoll::add(&epoll, watch.descriptor, key, watch.interest.epoll_flags()).unwrap();
        }
        Self { epoll }
    }

    /// What is ready now, without waiting.
    fn ready(&self) -> Vec<Event> {
        let mut events = Vec::with_capacity(8);
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let buffer = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&self.epoll, buffer, Some(&now)).unwrap();
        let broken = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        let event = |event: &epoll::Event| Event::Ready {
            token: Token(u32::try_from(event.data.u64()).unwrap()),
            failed: { event.flags }.intersects(broken),
        };
        events.iter().map(event).collect()
    }
}

fn variables(watch: impl AsRef<Path>, write: &str) -> SystemdEnvironment {
    SystemdEnvironment {
        watch: Some(watch.as_ref().into()),
        write: Some(write.into()),
    }
}

fn state(pressure: &dyn Pressure, reason: Reason) -> SourceState {
    let reports = pressure.describe();
    let mut of_reason = reports.into_iter().filter(|report| report.reason == reason);
    let state = of_reason.next().unwrap().state;
    assert_eq!(of_reason.next(), None, "{reason} is listed twice");
    state
}

fn give(bytes: u64, reason: Reason) -> Answer {
    Answer::GiveBack(Demand { bytes, reason })
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn without_any_source_nothing_is_asked_and_all_is_told() {
    let machine = FakeMachine::new();
    let mut pressure = MachinePressure::open(machine.files(), &SystemdEnvironment::default());
    assert!(pressure.descriptors().is_empty());
    assert_eq!(pressure.answer(Event::Check, GIB), Answer::Enough);
    for reason in [
        Reason::PsiMachine,
        Reason::PsiCgroup,
        Reason::Systemd,
        Reason::CgroupLimit,
    ] {
        assert!(
            matches!(state(&pressure, reason), SourceState::Absent(_)),
            "{reason}"
        );
    }
    assert_eq!(state(&pressure, Reason::LowAvailable), SourceState::Checked);
    let lines: Vec<_> = pressure
        .describe()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        lines[0].starts_with("psi_machine: ") && lines[0].contains("no such file"),
        "{lines:?}"
    );
}

#[test]
fn a_check_asks_for_what_is_lacking_and_no_more() {
    let machine = FakeMachine::new();
    machine.membership("0::/outer/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("outer", "1073741824\n", "max\n", 0, 0);
    machine.v2_level("outer/own", "max\n", "max\n", 0, 0);
    let mut pressure = MachinePressure::open(machine.files(), &SystemdEnvironment::default());
    let mut check = || pressure.answer(Event::Check, GIB);
    assert_eq!(check(), Answer::Enough);
    // The mark of 1 GiB is 32 MiB.
    machine.v2_level("outer", "1073741824\n", "max\n", 992 * MIB, 0);
    assert_eq!(check(), Answer::Enough);
    machine.v2_level("outer", "1073741824\n", "max\n", 1000 * MIB, 0);
    assert_eq!(check(), give(8 * MIB, Reason::CgroupLimit));
    // Page cache that nobody uses would go first.
    machine.v2_level("outer", "1073741824\n", "max\n", 1000 * MIB, 20 * MIB);
    assert_eq!(check(), Answer::Enough);
    // The mark of 16 GiB is 512 MiB.
    machine.meminfo(16 * GIB, 512 * MIB);
    assert_eq!(check(), Answer::Enough);
    machine.meminfo(16 * GIB, 500 * MIB);
    assert_eq!(check(), give(12 * MIB, Reason::LowAvailable));
    // Both lack: the larger counts, not the sum.
    machine.v2_level("outer", "1073741824\n", "max\n", 1010 * MIB, 0);
    assert_eq!(check(), give(18 * MIB, Reason::CgroupLimit));
}

#[test]
fn a_check_that_cannot_read_says_so_and_recovers() {
    let machine = FakeMachine::new();
    let mut pressure = MachinePressure::open(machine.files(), &SystemdEnvironment::default());
    machine.write("proc/meminfo", "nonsense");
    assert_eq!(pressure.answer(Event::Check, GIB), Answer::Enough);
    assert!(matches!(
        state(&pressure, Reason::LowAvailable),
        SourceState::Failed(_)
    ));
    machine.meminfo(16 * GIB, 500 * MIB);
    assert_eq!(
        pressure.answer(Event::Check, GIB),
        give(12 * MIB, Reason::LowAvailable)
    );
    assert_eq!(state(&pressure, Reason::LowAvailable), SourceState::Checked);
}

#[test]
fn a_check_follows_a_process_that_is_moved() {
    let machine = FakeMachine::new();
    let mut pressure = MachinePressure::open(machine.files(), &SystemdEnvironment::default());
    assert_eq!(pressure.answer(Event::Check, GIB), Answer::Enough);
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("new", "1073741824\n", "max\n", 1000 * MIB, 0);
    machine.membership("0::/new\n");
    assert_eq!(
        pressure.answer(Event::Check, GIB),
        give(8 * MIB, Reason::CgroupLimit)
    );
    assert_eq!(state(&pressure, Reason::CgroupLimit), SourceState::Checked);
}

#[test]
fn a_fifo_reports_pressure_once_for_what_is_queued() {
    let machine = FakeMachine::new();
    let path = machine.root().join("fifo");
    make_fifo(&path);
    let mut pressure = MachinePressure::open(machine.files(), &variables(&path, ""));
    assert_eq!(state(&pressure, Reason::Systemd), SourceState::Watching);
    let set = Set::of(&pressure);
    assert_eq!(set.ready(), []);
    let mut writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all(b"three events in one").unwrap();
    let [event] = set.ready()[..] else {
        panic!("one descriptor is ready")
    };
    assert_eq!(
        pressure.answer(event, 80 * MIB),
        give(10 * MIB, Reason::Systemd)
    );
    assert_eq!(set.ready(), []);
    // Somebody else may have read it in between.
    assert_eq!(pressure.answer(event, 80 * MIB), Answer::Enough);
    // The writer may go: that is no end.
    drop(writer);
    assert_eq!(set.ready(), []);
    // Nothing to give, nothing asked.
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all(b"x")
        .unwrap();
    let [event] = set.ready()[..] else {
        panic!("one descriptor is ready")
    };
    assert_eq!(pressure.answer(event, 0), Answer::Enough);
}

#[test]
fn a_socket_gets_the_bytes_and_reports_pressure_until_it_closes() {
    let machine = FakeMachine::new();
    let path = machine.root().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let environment = variables(&path, "c29tZSAyMDAwMDAgMjAwMDAwMAA=");
    let mut pressure = MachinePressure::open(machine.files(), &environment);
    assert_eq!(state(&pressure, Reason::Systemd), SourceState::Watching);
    let set = Set::of(&pressure);
    let (mut peer, _) = listener.accept().unwrap();
    let mut written = [0; 20];
    peer.read_exact(&mut written).unwrap();
    assert_eq!(&written, b"some 200000 2000000\0");
    peer.write_all(b"!").unwrap();
    let [event] = set.ready()[..] else {
        panic!("one descriptor is ready")
    };
    assert_eq!(pressure.answer(event, 8 * MIB), give(MIB, Reason::Systemd));

    drop(peer);
    let [event] = set.ready()[..] else {
        panic!("the end is an event")
    };
    let Answer::Unwatch(token) = pressure.answer(event, GIB) else {
        panic!("it has to go")
    };
    // Still open, so that the agent can take it out of its set.
    let watch = pressure.descriptors()[0];
    assert_eq!(watch.token, token);
    epoll::delete(&set.epoll, watch.descriptor).unwrap();
    pressure.forget(token);
    assert!(pressure.descriptors().is_empty());
    assert!(matches!(
        state(&pressure, Reason::Systemd),
        SourceState::Failed(_)
    ));
    assert_eq!(pressure.answer(event, GIB), Answer::Unwatch(token));
    pressure.forget(token);
}

#[test]
fn a_half_closed_socket_is_an_end_too() {
    let machine = FakeMachine::new();
    let path = machine.root().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut pressure = MachinePressure::open(machine.files(), &variables(&path, ""));
    let set = Set::of(&pressure);
    let (peer, _) = listener.accept().unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let [event @ Event::Ready { failed: false, .. }] = set.ready()[..] else {
        panic!("readable")
    };
    assert!(matches!(pressure.answer(event, GIB), Answer::Unwatch(_)));
}

#[test]
fn a_socket_with_a_full_queue_does_not_hang_us() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    let machine = FakeMachine::new();
    let path = machine.root().join("socket");
    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    // Nobody accepts: the kernel takes backlog + 1 connections.
    let open = || MachinePressure::open(machine.files(), &variables(&path, ""));
    let opened = [open(), open()];
    for pressure in &opened {
        assert_eq!(state(pressure, Reason::Systemd), SourceState::Watching);
    }
    assert!(matches!(
        state(&open(), Reason::Systemd),
        SourceState::Absent(_)
    ));
}

#[test]
fn what_cannot_be_watched_is_listed_and_left_alone() {
    let machine = FakeMachine::new();
    machine.write("ordinary", "mine");
    machine.write("proc/pressure/memory", "mine too");
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("own", "max\n", "max\n", 0, 0);
    machine.write("cgroup/own/memory.pressure", "mine as well");
    let ordinary = machine.root().join("ordinary");
    for path in [
        ordinary.as_path(),
        machine.root(),
        Path::new("/dev/zero"),
        Path::new("/no/such"),
    ] {
        let pressure = MachinePressure::open(machine.files(), &variables(path, "eHh4"));
        assert!(pressure.descriptors().is_empty());
        for reason in [Reason::PsiMachine, Reason::PsiCgroup, Reason::Systemd] {
            let state = state(&pressure, reason);
            assert!(
                matches!(state, SourceState::Absent(_)),
                "{} {state:?}",
                path.display()
            );
        }
    }
    assert_eq!(fs::read(&ordinary).unwrap(), b"mine");
    assert_eq!(
        fs::read(machine.root().join("proc/pressure/memory")).unwrap(),
        b"mine too"
    );
}

#[test]
fn the_service_manager_can_turn_events_off_but_not_limits() {
    let machine = FakeMachine::new();
    machine.write("proc/pressure/x", "");
    make_fifo(&machine.root().join("proc/pressure/memory"));
    let environment = variables("/dev/null", "not looked at");
    let mut pressure = MachinePressure::open(machine.files(), &environment);
    assert!(pressure.descriptors().is_empty());
    for reason in [Reason::PsiMachine, Reason::PsiCgroup, Reason::Systemd] {
        assert!(
            matches!(state(&pressure, reason), SourceState::Off(_)),
            "{reason}"
        );
    }
    machine.meminfo(16 * GIB, 500 * MIB);
    assert_eq!(
        pressure.answer(Event::Check, GIB),
        give(12 * MIB, Reason::LowAvailable)
    );
}

#[test]
fn one_file_is_not_watched_twice() {
    let machine = FakeMachine::new();
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("own", "max\n", "max\n", 0, 0);
    let path = machine.cgroup("own/memory.pressure");
    make_fifo(&path);
    let pressure = MachinePressure::open(machine.files(), &variables(&path, ""));
    assert_eq!(state(&pressure, Reason::Systemd), SourceState::Watching);
    assert!(matches!(
        state(&pressure, Reason::PsiCgroup),
        SourceState::Off(_)
    ));
    // Another service's file, inherited from a session: both are watched.
    let other = machine.root().join("other");
    make_fifo(&other);
    let pressure = MachinePressure::open(machine.files(), &variables(&other, ""));
    assert_eq!(state(&pressure, Reason::Systemd), SourceState::Watching);
    assert_eq!(state(&pressure, Reason::PsiCgroup), SourceState::Watching);
}

#[test]
fn a_trigger_that_fails_is_taken_out() {
    let machine = FakeMachine::new();
    machine.write("proc/pressure/x", "");
    make_fifo(&machine.root().join("proc/pressure/memory"));
    let mut pressure = MachinePressure::open(machine.files(), &SystemdEnvironment::default());
    let token = pressure.descriptors()[0].token;
    let stalled = Event::Ready {
        token,
        failed: false,
    };
    assert_eq!(
        pressure.answer(stalled, 80 * MIB),
        give(10 * MIB, Reason::PsiMachine)
    );
    let failed = Event::Ready {
        token,
        failed: true,
    };
    assert_eq!(pressure.answer(failed, GIB), Answer::Unwatch(token));
    assert!(matches!(
        state(&pressure, Reason::PsiMachine),
        SourceState::Failed(_)
    ));
}

#[test]
fn the_variables_are_read_strictly() {
    let parse = |watch: &str, write: &str| variables(watch, write).parse();
    assert_eq!(
        SystemdEnvironment::default().parse(),
        Ok(SystemdWatch::Unset)
    );
    assert_eq!(parse("", "!"), Ok(SystemdWatch::Unset));
    assert_eq!(parse("/dev/null", "!"), Ok(SystemdWatch::Off));
    let at = |write: &[u8]| {
        Ok(SystemdWatch::At {
            path: "/x".into(),
            write: write.into(),
        })
    };
    assert_eq!(parse("/x", ""), at(b""));
    assert_eq!(parse("/x", "AP8="), at(b"\0\xff"));
    assert_eq!(parse("x", ""), Err(SystemdError::RelativePath));
    assert_eq!(parse("/x", "AP8"), Err(SystemdError::NotBase64));
    assert_eq!(
        parse("/x", &"A".repeat(1 << 20)),
        Err(SystemdError::TooLong)
    );
    // 5,464 letters stand for 4,098 bytes.
    assert_eq!(parse("/x", &"A".repeat(5464)), Err(SystemdError::TooLong));
    assert_eq!(parse("/x", &"A".repeat(5460)), at(&[0; 4095]));
}

#[test]
fn the_variables_are_found_by_name() {
    let lookup = |name: &str| Some(OsString::from(format!("/{name}")));
    let environment = SystemdEnvironment::from_lookup(lookup);
    assert_eq!(environment.watch, Some("/MEMORY_PRESSURE_WATCH".into()));
    assert_eq!(environment.write, Some("/MEMORY_PRESSURE_WRITE".into()));
}

#[test]
fn a_script_wakes_an_agent_once_for_each_demand() {
    let (mut pressure, handle) = ScriptedPressure::new().unwrap();
    let set = Set::of(&pressure);
    assert_eq!(set.ready(), []);
    let demand = |bytes| Demand {
        bytes,
        reason: Reason::PsiCgroup,
    };
    handle.press(demand(1)).unwrap();
    handle.press(demand(2)).unwrap();
    for bytes in [1, 2] {
        let [event] = set.ready()[..] else {
            panic!("one descriptor is ready")
        };
        assert_eq!(pressure.answer(event, 0), give(bytes, Reason::PsiCgroup));
    }
    assert_eq!(set.ready(), []);
    assert_eq!(handle.waiting(), 0);
    let late = Event::Ready {
        token: Token(0),
        failed: false,
    };
    assert_eq!(pressure.answer(late, 0), Answer::Enough);
}

#[test]
fn a_script_holds_a_level_until_told_otherwise() {
    let (mut pressure, handle) = ScriptedPressure::new().unwrap();
    assert_eq!(pressure.answer(Event::Check, 0), Answer::Enough);
    let demand = Demand {
        bytes: 5,
        reason: Reason::LowAvailable,
    };
    handle.set_level(Some(demand));
    for _ in 0..2 {
        assert_eq!(pressure.answer(Event::Check, 0), Answer::GiveBack(demand));
    }
    handle.set_level(None);
    assert_eq!(pressure.answer(Event::Check, 0), Answer::Enough);
    assert_eq!(handle.checks(), 4);
}

#[test]
fn a_script_is_bounded_and_can_be_forgotten() {
    let (mut pressure, handle) = ScriptedPressure::new().unwrap();
    let demand = Demand {
        bytes: 1,
        reason: Reason::Trim,
    };
    for _ in 0..SCRIPT_EVENTS_MAX {
        handle.press(demand).unwrap();
    }
    assert_eq!(handle.press(demand), Err(ScriptFull));
    assert_eq!(handle.waiting(), SCRIPT_EVENTS_MAX);
    let failed = Event::Ready {
        token: Token(0),
        failed: true,
    };
    assert_eq!(pressure.answer(failed, 0), Answer::Unwatch(Token(0)));
    pressure.forget(Token(0));
    assert!(pressure.descriptors().is_empty());
}

#[test]
fn the_machine_alone_is_what_concerns_others() {
    let machine = FakeMachine::new();
    machine.membership("0::/own\n");
    machine.mounts(&[V2_MOUNT]);
    machine.v2_level("own", "67108864\n", "max\n", 64 * MIB, 0);
    machine.meminfo(16 * GIB, 8 * GIB);
    let trigger = machine.root().join("proc/pressure/memory");
    fs::create_dir_all(trigger.parent().unwrap()).unwrap();
    make_fifo(&trigger);
    let mut pressure = MachinePressure::open_machine(machine.files());
    assert_eq!(pressure.descriptors().len(), 1);
    let reasons: Vec<_> = pressure
        .describe()
        .iter()
        .map(|report| report.reason)
        .collect();
    assert_eq!(reasons, [Reason::PsiMachine, Reason::LowAvailable]);
    // The own cgroup is full, which is no concern of those for whom this is asked.
    assert_eq!(pressure.answer(Event::Check, GIB), Answer::Enough);
    machine.meminfo(16 * GIB, 100 * MIB);
    assert_eq!(
        pressure.answer(Event::Check, GIB),
        give(412 * MIB, Reason::LowAvailable)
    );
}
