//! Traces as users make and convert them: `vidmm run --trace`, `vidmm demo --trace`, `vidmm convert`,
//! with real processes. This program, run again, is the process that is recorded.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output as Outcome, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use vidmm::{Class, Offered, Pool, Reclaimed};
use vidmm_tracefile::{Access, Events, Format, Kind, Recorded, Trace, open, open_trace};

const UNIT: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// The process: offers and reclaims more than there is room for, and says what it and its engine
/// counted. With `KILLED` it kills itself instead.
#[test]
#[ignore = "a process of the other tests"]
fn client() {
    let pool = Pool::from_environment().unwrap().build().unwrap();
    let mut idle: Vec<Offered> = Vec::new();
    let (mut created, mut offered, mut intact, mut discarded) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut round = 0_u64;
    while round < 300 {
        round += 1;
        if round % 4 == 1 && idle.len() < 80 {
            let Ok(mut memory) = pool.allocate(UNIT) else {
                continue;
            };
            memory.lock_mut().unwrap().fill(7);
            created += 1;
            idle.push(memory.offer(Class::Normal));
            offered += 1;
        }
        let index = usize::try_from(round * 7).unwrap() % idle.len().max(1);
        if index >= idle.len() {
            continue;
        }
        match idle.swap_remove(index).reclaim() {
            Ok(Reclaimed::Intact(memory)) => {
                intact += 1;
                idle.push(memory.offer(Class::Low));
                offered += 1;
            }
            Ok(Reclaimed::Discarded(memory)) => {
                discarded += 1;
                idle.push(memory.offer(Class::Low));
                offered += 1;
            }
            Err(refused) => idle.push(refused.offered),
        }
    }
    if std::env::var_os("KILLED").is_some() {
        kill_process(getpid(), Signal::KILL).unwrap();
    }
    drop(idle);
    let stats = pool.stats_now();
    assert_eq!(
        (stats.reclaims_intact, stats.reclaims_discarded),
        (intact, discarded)
    );
    let discards = stats.discards_total();
    println!(
        "\n> create {created} offer {offered} reclaim-intact {intact} reclaim-discarded {discarded} discard {discards} destroy {created}"
    );
}

fn vidmm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidmm"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["VIDMM_SOCKET", "VIDMM_TRACE", "VIDMM_BUDGET", "VIDMM_MODE"] {
        command.env_remove(variable);
    }
    command.env("VIDMM_PRESSURE", "off");
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn stderr(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stderr).into_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn events(path: &Path) -> Events {
    match open_trace(path, None).unwrap() {
        Trace::Events(events) => events,
        Trace::Accesses(_) => panic!("only accesses"),
    }
}

fn count(recorded: &[Recorded], kind: Kind) -> u64 {
    recorded.iter().filter(|one| one.event.kind == kind).count() as u64
}

fn number(report: &Value, name: &str) -> u64 {
    let number = report[name].as_u64();
    number.unwrap_or_else(|| panic!("{name} is no number in {report}"))
}

#[test]
fn what_a_run_records_is_what_its_processes_counted() {
    let place = tempfile::tempdir().unwrap();
    let (trace, report) = (place.path().join("x.parquet"), place.path().join("report"));
    let program = std::env::current_exe().unwrap();
    let client = format!("'{}' client --exact --ignored --nocapture", text(&program));
    // Two at the same time, one after them.
    let script = format!("{client} & {client}; wait; {client}");
    let mut arguments = vec!["run", "--budget", "1M", "--trace", text(&trace)];
    arguments.extend(["--report", text(&report), "--", "sh", "-c", &script]);
    let outcome = vidmm(&arguments)
        .env("XDG_RUNTIME_DIR", place.path())
        .output()
        .unwrap();
    assert_eq!(outcome.status.code(), Some(0), "{}", stderr(&outcome));
    assert_eq!(names(place.path()), ["report", "x.parquet"]);

    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    let said = String::from_utf8(outcome.stdout).unwrap();
    let lines: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("> "))
        .collect();
    assert_eq!(lines.len(), 3, "{said}");
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.chunks(2) {
            *counted.entry(pair[0]).or_default() += pair[1].parse::<u64>().unwrap();
        }
    }
    assert!(counted["reclaim-discarded"] > 0 && counted["reclaim-intact"] > 0);

    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let told = &report["trace"];
    assert_eq!(told["path"], text(&trace));
    assert_eq!(number(told, "bytes"), fs::metadata(&trace).unwrap().len());
    assert_eq!(
        (number(told, "processes"), number(told, "unfinished")),
        (3, 0)
    );
    let all: u64 = counted.values().sum();
    assert_eq!(number(told, "recorded") + number(told, "lost"), all);

    let events = events(&trace);
    assert_eq!(events.about().recorded, number(told, "recorded"));
    let recorded: Vec<Recorded> = events.map(Result::unwrap).collect();
    assert_eq!(recorded.len() as u64, number(told, "recorded"));
    // Far fewer than the room that a thread has for them.
    assert_eq!(number(told, "lost"), 0);
    for kind in Kind::ALL {
        let wanted = counted.get(kind.name()).copied().unwrap_or(0);
        assert_eq!(count(&recorded, kind), wanted, "{kind:?}");
    }
}

#[test]
fn of_a_process_that_is_killed_the_report_says_so() {
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("x.pftrace");
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "KILLED=1 '{}' client --exact --ignored --nocapture; exit 3",
        text(&program)
    );
    let arguments = [
        "run",
        "--budget",
        "1M",
        "--trace",
        text(&trace),
        "--",
        "sh",
        "-c",
        &script,
    ];
    let outcome = vidmm(&arguments)
        .env("XDG_RUNTIME_DIR", place.path())
        .output()
        .unwrap();
    let said = stderr(&outcome);
    assert_eq!(outcome.status.code(), Some(3), "{said}");
    assert!(
        said.contains("x.pftrace: ") && said.contains("1 process"),
        "{said}"
    );
    assert!(said.contains("1 unfinished"), "{said}");
    assert_eq!(names(place.path()), ["x.pftrace"]);
}

#[test]
fn a_trace_that_cannot_be_written_is_refused_before_anything_starts() {
    let place = tempfile::tempdir().unwrap();
    let (missing, mark) = (place.path().join("no/x.parquet"), place.path().join("mark"));
    for path in [text(&missing), text(place.path())] {
        let run = [
            "run",
            "--budget",
            "1M",
            "--trace",
            path,
            "--",
            "touch",
            text(&mark),
        ];
        let demo = ["demo", text(place.path()), "--trace", path];
        for arguments in [&run[..], &demo[..]] {
            let outcome = vidmm(arguments)
                .env("XDG_RUNTIME_DIR", place.path())
                .output()
                .unwrap();
            let said = stderr(&outcome);
            assert_eq!(outcome.status.code(), Some(1), "{said}");
            assert!(said.contains("nothing was started"), "{said}");
        }
        assert!(names(place.path()).is_empty());
    }
    // A command that cannot be run leaves no trace, either.
    let path = place.path().join("x");
    let run = [
        "run",
        "--budget",
        "1M",
        "--trace",
        text(&path),
        "--",
        "no-such-program",
    ];
    let outcome = vidmm(&run)
        .env("XDG_RUNTIME_DIR", place.path())
        .output()
        .unwrap();
    assert_eq!(outcome.status.code(), Some(127));
    assert!(names(place.path()).is_empty());
}

/// Packed files to read.
fn inputs() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..16_u8 {
        let file = fs::File::create(directory.path().join(format!("{index}.gz"))).unwrap();
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer
            .write_all(&vec![index; (1 + usize::from(index)) * 20_000])
            .unwrap();
        packer.finish().unwrap();
    }
    directory
}

#[test]
fn a_demo_records_each_access_that_it_reports() {
    let (inputs, place) = (inputs(), tempfile::tempdir().unwrap());
    for (workers, extra) in [("3", ""), ("1", ""), ("2", "--chaos")] {
        let trace = place.path().join(format!("{workers}.parquet"));
        let mut arguments = vec!["demo", text(inputs.path()), "--budget", "1M", "--json"];
        arguments.extend([
            "--accesses",
            "900",
            "--workers",
            workers,
            "--trace",
            text(&trace),
        ]);
        arguments.extend(Some(extra).filter(|extra| !extra.is_empty()));
        let outcome = vidmm(&arguments)
            .env("XDG_RUNTIME_DIR", place.path())
            .output()
            .unwrap();
        assert_eq!(outcome.status.code(), Some(0), "{}", stderr(&outcome));
        let report: Value = serde_json::from_slice(&outcome.stdout).unwrap();
        let told = &report["trace"];
        let chaos = !extra.is_empty();
        assert_eq!(
            number(told, "processes"),
            number(&report, "workers_started")
        );
        assert_eq!(
            number(told, "unfinished"),
            number(&report, "workers_killed")
        );
        assert_eq!(number(told, "bytes"), fs::metadata(&trace).unwrap().len());
        let recorded: Vec<Recorded> = events(&trace).map(Result::unwrap).collect();
        assert_eq!(recorded.len() as u64, number(told, "recorded"));
        // A killed worker takes its last events with it; the others say all.
        let (recorded_intact, intact) = (
            count(&recorded, Kind::ReclaimIntact),
            number(&report, "intact"),
        );
        match chaos {
            true => assert!(recorded_intact > 0),
            false => {
                assert_eq!(number(told, "lost"), 0);
                assert_eq!(recorded_intact, intact);
                let accesses = number(&report, "accesses") - number(&report, "uncached");
                assert_eq!(count(&recorded, Kind::Offer), accesses);
                assert_eq!(
                    count(&recorded, Kind::Create),
                    count(&recorded, Kind::Destroy)
                );
            }
        }
        let replayed = open(&trace, None).unwrap();
        assert_eq!(replayed.format(), Format::Parquet);
        assert!(replayed.map(Result::unwrap).count() > 100);
    }
    assert_eq!(names(place.path()), ["1.parquet", "2.parquet", "3.parquet"]);
}

#[test]
fn a_demo_that_is_ended_leaves_nothing() {
    let (inputs, place) = (inputs(), tempfile::tempdir().unwrap());
    let trace = place.path().join("x.parquet");
    let mut arguments = vec!["demo", text(inputs.path()), "--accesses", "1000000"];
    arguments.extend(["--trace", text(&trace)]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = vidmm(&arguments)
            .env("XDG_RUNTIME_DIR", place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        // The directory has a spool of each worker. (What is looked at may go meanwhile.)
        let spools = |entry: std::io::Result<fs::DirEntry>| {
            let entries = fs::read_dir(entry.ok()?.path()).ok()?;
            Some(entries.count())
        };
        let has_begun = || {
            let mut entries = fs::read_dir(place.path()).unwrap().filter_map(spools);
            entries.any(|count| count == 4)
        };
        while !has_begun() {
            assert!(Instant::now() < until, "it does not begin");
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(names(place.path()).is_empty(), "{:?}", names(place.path()));
    }
}

fn accesses(path: &Path) -> Vec<Access> {
    open(path, None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_trace_is_converted_there_and_back() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(
        at("x.csv"),
        "time,id,size,cost\n1,7,4096,2.5\n2,8,100,\n3,7,4096,2.5\n",
    )
    .unwrap();
    let convert = |from: &str, to: &str, more: &[&str]| {
        let (from, to) = (at(from), at(to));
        let mut arguments = vec!["convert", text(&from), text(&to)];
        arguments.extend(more);
        vidmm(&arguments).output().unwrap()
    };
    let outcome = convert("x.csv", "y.parquet", &["--json"]);
    assert_eq!(outcome.status.code(), Some(0), "{}", stderr(&outcome));
    let report: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(report["schema"], "vidmm.convert/1");
    let (from, to, content) = (&report["from"], &report["to"], &report["content"]);
    assert_eq!(
        (from, to, content),
        (&"csv".into(), &"parquet".into(), &"accesses".into())
    );
    assert_eq!((number(&report, "rows"), report.get("lost")), (3, None));
    assert_eq!(
        number(&report, "bytes"),
        fs::metadata(at("y.parquet")).unwrap().len()
    );
    let outcome = convert("y.parquet", "z", &["--to", "csv"]);
    let said = String::from_utf8(outcome.stdout).unwrap();
    assert!(said.contains("z: 3 accesses, "), "{said}");
    assert_eq!(fs::read(at("z")).unwrap(), fs::read(at("x.csv")).unwrap());
    // Over itself.
    let outcome = convert("z", "z", &["--from", "csv", "--to", "parquet"]);
    assert_eq!(outcome.status.code(), Some(0), "{}", stderr(&outcome));
    assert_eq!(accesses(&at("z")), accesses(&at("x.csv")));

    for (from, to, more, status, why) in [
        ("x.csv", "out", &[][..], 2, "--to FORMAT"),
        ("x.csv", "out.csv", &["--from", "arc"], 2, "oracle-general"),
        ("x.csv", "out.csv", &["--to", "json"], 2, "perfetto"),
        ("x.csv", "out.pftrace", &[], 1, "accesses only"),
        ("none", "out.csv", &[], 1, "none: No such file"),
        ("x.csv", "no/out.csv", &[], 1, "no/out.csv"),
    ] {
        let outcome = convert(from, to, more);
        assert_eq!(outcome.status.code(), Some(status), "{from} {to}");
        assert!(stderr(&outcome).contains(why), "{}", stderr(&outcome));
    }
    assert_eq!(names(place.path()), ["x.csv", "y.parquet", "z"]);
}

#[test]
fn a_directory_of_spools_is_converted_and_what_is_none_is_named() {
    let place = tempfile::tempdir().unwrap();
    let spools = place.path().join("spools");
    let program = std::env::current_exe().unwrap();
    let outcome = Command::new(program)
        .args(["client", "--exact", "--ignored", "--nocapture"])
        .env("VIDMM_TRACE", &spools)
        .env("VIDMM_MODE", "embedded")
        .env("VIDMM_BUDGET", "1M")
        .env("VIDMM_PRESSURE", "off")
        .output()
        .unwrap();
    assert!(outcome.status.success(), "{}", stderr(&outcome));
    // A process that was killed before it had written anything.
    fs::write(spools.join("1-0.vtrace"), "").unwrap();
    let out = place.path().join("x.perfetto-trace");
    let outcome = vidmm(&["convert", text(&spools), text(&out), "--json"])
        .output()
        .unwrap();
    assert_eq!(outcome.status.code(), Some(0), "{}", stderr(&outcome));
    assert!(
        stderr(&outcome).contains("1-0.vtrace"),
        "{}",
        stderr(&outcome)
    );
    let report: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(report["content"], "events");
    assert_eq!(number(&report, "processes"), 1);
    assert_eq!(number(&report, "rows"), number(&report, "recorded"));
    assert!(number(&report, "rows") > 300);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (long, out) = (place.path().join("long.csv"), place.path().join("out.csv"));
    let lines: String = (0..200_000).map(|n| format!("{n},{n},1\n")).collect();
    fs::write(&long, lines).unwrap();
    let script = format!(
        "ulimit -f 100; exec '{}' convert '{}' '{}'",
        env!("CARGO_BIN_EXE_vidmm"),
        text(&long),
        text(&out)
    );
    let outcome = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = stderr(&outcome);
    assert_eq!(outcome.status.code(), Some(1), "{said}");
    assert!(
        said.contains("out.csv") && said.contains("ulimit"),
        "{said}"
    );
    assert_eq!(names(place.path()), ["long.csv"]);
}

#[test]
fn help_has_examples() {
    let outcome = vidmm(&["convert", "--help"]).output().unwrap();
    let shown = String::from_utf8(outcome.stdout).unwrap();
    for part in [
        "Examples:",
        "--from",
        "--to",
        "--json",
        "Exit status",
        "vidmm.convert/1",
        "perfetto.dev",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    // Every format that there is.
    for format in Format::ALL {
        assert!(shown.contains(format.name()), "{format}");
    }
}
