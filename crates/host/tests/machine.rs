//! What the machine says of a client, on a machine that a test makes up: the room of its cgroup, its
//! resident memory, its cgroup's terms, pressure.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use std::path::Path;

use common::{MIB, RawClient, Serving, operate, until};
use vidmm_host::Options;
use vidmm_machine::MachineFiles;
use vidmm_wire::{ClientRow, Join, OperatorRequest, ToClient, ToOperator, WhyNot, WhyOrdered};

/// A machine on which this process is in the cgroup `/team/a`.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Machine {
            dir: tempfile::tempdir().unwrap(),
        };
        let me = std::process::id();
        for name in ["stat", "comm", "status"] {
            let link = machine.path(&format!("proc/{me}/{name}"));
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(format!("/proc/{me}/{name}"), link).unwrap();
        }
        machine.write(&format!("proc/{me}/cgroup"), "0::/team/a\n");
        machine.write("proc/self/cgroup", "0::/elsewhere\n");
        machine.write(
            "proc/self/mountinfo",
            "35 31 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        );
        machine.set_available(8 << 30);
        machine.set_resident(MIB);
        machine
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn set_available(&self, bytes: u64) {
        let text = format!("MemTotal: 16777216 kB\nMemAvailable: {} kB\n", bytes >> 10);
        self.write("proc/meminfo", &text);
    }

    fn set_resident(&self, bytes: u64) {
        let text = format!("999999 {} 1 1 0 1 0\n", bytes / 4096);
        self.write(&format!("proc/{}/statm", std::process::id()), &text);
    }

    fn set_cgroup(&self, limit_bytes: u64, used_bytes: u64) {
        self.write("cgroup/team/a/memory.max", &format!("{limit_bytes}\n"));
        self.write("cgroup/team/a/memory.high", "max\n");
        self.write("cgroup/team/a/memory.current", &format!("{used_bytes}\n"));
        self.write("cgroup/team/a/memory.stat", "inactive_file 0\n");
    }

    fn serve(&self, dir: &Path, change: impl FnOnce(&mut Options)) -> Serving {
        Serving::start_with(dir, 64 * MIB, |options| {
            options.files = MachineFiles {
                proc_root: self.path("proc"),
                cgroup_root: self.path("cgroup"),
            };
            change(options);
        })
    }
}

fn row(serving: &Serving, client: &RawClient) -> ClientRow {
    let replies = std::thread::scope(|scope| {
        let asking = scope.spawn(|| operate(&serving.socket, OperatorRequest::Stat));
        while !asking.is_finished() {
            client.catch_up();
            std::thread::yield_now();
        }
        asking.join().unwrap()
    });
    let row = replies.into_iter().find_map(|reply| match reply {
        ToOperator::Client(row) => Some(row),
        _ => None,
    });
    row.expect("a row")
}

#[test]
fn a_grant_is_within_what_the_clients_cgroup_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    machine.set_cgroup(100 * MIB, 80 * MIB);
    let serving = machine.serve(dir.path(), |_| ());
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 30 * MIB).unwrap();
    match client.next() {
        ToClient::NoCredit(refused) => assert_eq!(refused.why, WhyNot::Cgroup),
        other => panic!("{other:?}"),
    }
    client.ask(2, 19 * MIB).unwrap();
    match client.next() {
        ToClient::Credit(credit) => assert!(credit.granted_bytes <= 20 * MIB, "{credit:?}"),
        other => panic!("{other:?}"),
    }
    // What is used is looked at for every request, while there is a limit.
    machine.set_cgroup(100 * MIB, 99 * MIB);
    client.ask(3, 2 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::NoCredit(_)));
    machine.set_cgroup(100 * MIB, 50 * MIB);
    client.ask(4, 2 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
}

#[test]
fn who_holds_more_than_was_granted_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let file = dir.path().join("m.toml");
    std::fs::write(&file, "audit_slack = \"64M\"\n").unwrap();
    let serving = machine.serve(dir.path(), |options| options.config = Some(file));
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    let honest = row(&serving, &client);
    assert_eq!((honest.resident_bytes, honest.exceeds), (Some(MIB), false));
    machine.set_resident(80 * MIB);
    until("the audit sees it", || {
        let row = row(&serving, &client);
        row.exceeds && row.resident_bytes == Some(80 * MIB)
    });
}

#[test]
fn who_joins_is_believed_as_far_as_the_kernel_counts() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    machine.set_resident(3 * MIB);
    let serving = machine.serve(dir.path(), |_| ());
    let client = RawClient::connect(&serving.socket).unwrap();
    let join = Join {
        held_bytes: 1 << 40,
        ..Join::default()
    };
    let welcome = client.join(join).unwrap();
    assert!(welcome.granted_bytes <= 3 * MIB, "{welcome:?}");
    assert!(serving.stat().charged_bytes <= 64 * MIB);
}

#[test]
fn terms_by_cgroup_hold_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let file = dir.path().join("m.toml");
    let rules = "[[client]]\ncgroup = \"/team/b\"\nweight = 7\n[[client]]\ncgroup = \"/team\"\n\
                 weight = 2.5\ncap = \"1M\"\n";
    std::fs::write(&file, rules).unwrap();
    let serving = machine.serve(dir.path(), |options| options.config = Some(file));
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    assert_eq!(row(&serving, &client).weight_hundredths, 250);
    client.ask(1, 2 * MIB).unwrap();
    assert!(
        matches!(client.next(), ToClient::NoCredit(_)),
        "beyond its cap"
    );
}

#[test]
fn when_available_memory_is_short_after_a_grant_it_is_ordered_back() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let serving = machine.serve(dir.path(), |options| options.pressure = true);
    assert!(
        serving.has_logged("no pressure events from the kernel"),
        "there is no PSI"
    );
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 8 * MIB).unwrap();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    machine.set_available(500 * MIB);
    // 12 MiB lack to the mark of 512 MiB; what this client could give is 4.
    let order = loop {
        match client.next_or_poll() {
            ToClient::Poll(poll) => client.tell(poll.poll, common::supply(4 * MIB)),
            ToClient::Order(order) => break order,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(order.why, WhyOrdered::Pressure(5)), "{order:?}");
    assert_eq!(vidmm_wire::REASONS[5], "low_available");
    assert!(
        order.bytes > 0 && order.bytes <= 8 * MIB + 2 * MIB,
        "{order:?}"
    );
}
