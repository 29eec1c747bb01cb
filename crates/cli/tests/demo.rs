//! The program as its users run it: arguments in, exit status, text and JSON out.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

const BUDGET_BYTES: u64 = 2 << 20;

/// Runs `vidmm demo` with `arguments`, away from the caller's settings and from any manager.
fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidmm"));
    command.arg("demo").args(arguments).stdin(Stdio::null());
    for variable in [
        "VIDMM_BUDGET",
        "VIDMM_SOCKET",
        "VIDMM_POISON",
        "VIDMM_DEBUG",
        "NO_COLOR",
    ] {
        command.env_remove(variable);
    }
    command
        .env("VIDMM_MODE", "embedded")
        .env("VIDMM_PRESSURE", "off");
    command
}

fn text(directory: &Path) -> &str {
    directory.to_str().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON object that a successful run prints.
fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Bytes that differ from file to file and shrink to about a third.
fn content(seed: usize, length: usize) -> Vec<u8> {
    let mut state = u32::try_from(seed).unwrap() * 2 + 1;
    let byte = |index: usize| {
        if index.is_multiple_of(3) {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        }
        state.to_le_bytes()[3] & 0x3f
    };
    (0..length).map(byte).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Twenty packed files of 4 KiB to 292 KiB (2.9 MiB unpacked), one of them an archive.
fn inputs() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    for index in 0..19 {
        let name = ["a.gz", "b.crate", "sub/c.gz"][index % 3];
        let path = directory
            .path()
            .join(name.replace('.', &format!("{index}.")));
        fs::write(path, gzip(&content(index, (4 + 16 * index) << 10))).unwrap();
    }
    let file = fs::File::create(directory.path().join("z.zip")).unwrap();
    let mut archive = zip::ZipWriter::new(file);
    for name in ["one", "two"] {
        archive
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(&content(99, 100 << 10)).unwrap();
    }
    archive.finish().unwrap();
    directory
}

fn number(report: &Value, name: &str) -> u64 {
    report[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is no number in {report}"))
}

#[test]
fn a_run_is_exact_within_its_budget_and_adds_up() {
    let directory = inputs();
    fs::write(directory.path().join("damaged.gz"), b"this is no gzip file").unwrap();
    let arguments = [
        text(directory.path()),
        "--budget",
        "2M",
        "--accesses",
        "2000",
        "--seed",
        "5",
        "--json",
    ];
    let report = json(&demo(&arguments).output().unwrap());
    assert_eq!(report["schema"], "vidmm.demo/1");
    assert_eq!(number(&report, "budget_bytes"), BUDGET_BYTES);
    // Nothing was done to them: as many processes as workers.
    assert_eq!(number(&report, "workers_started"), 4);
    assert_eq!(number(&report, "workers"), 4);
    assert_eq!(number(&report, "workers_stopped"), 0);
    assert_eq!(number(&report, "managers_killed"), 0);
    assert_eq!(number(&report, "workers_killed"), 0);
    assert_eq!(number(&report, "accesses"), 2000);
    let (first_use, intact, discarded) = (
        number(&report, "first_use"),
        number(&report, "intact"),
        number(&report, "discarded"),
    );
    assert_eq!(first_use + intact + discarded, 2000);
    // Four workers on twenty files, under a budget that holds about a sixth of all that.
    assert!(first_use > 20 && first_use <= 80, "{first_use}");
    assert!(intact > 200 && discarded > 200, "{intact} {discarded}");
    assert_eq!(number(&report, "wrong_bytes"), 0);

    let peak_bytes = number(&report, "peak_bytes");
    assert!(
        peak_bytes <= BUDGET_BYTES && peak_bytes > BUDGET_BYTES / 4,
        "{peak_bytes}"
    );
    assert!(number(&report, "scratch_peak_bytes") > 0);
    assert_eq!(number(&report, "skipped_files"), 1);
    let skipped = &report["skipped"][0];
    assert!(
        skipped["path"].as_str().unwrap().ends_with("damaged.gz"),
        "{skipped}"
    );

    let (none, lru) = (&report["baselines"][0], &report["baselines"][1]);
    assert_eq!(
        (&none["name"], &lru["name"]),
        (&"none".into(), &"even_split_lru".into())
    );
    let rebuild_ns = number(&report, "rebuild_ns");
    assert!(rebuild_ns > 0 && rebuild_ns < number(none, "rebuild_ns"));
    assert!(number(lru, "rebuild_ns") < number(none, "rebuild_ns"));
    assert!(number(lru, "peak_bytes") <= BUDGET_BYTES);
    assert!(number(&report, "rebuild_wall_ns") > 0);
    for name in ["offer_ns", "reclaim_ns"] {
        let (p50, p99) = (number(&report[name], "p50"), number(&report[name], "p99"));
        assert!(p50 <= p99 && p50 < 1_000_000, "{name}: {p50} {p99}");
    }
}

#[test]
fn killed_workers_and_a_killed_manager_break_no_promise() {
    let directory = inputs();
    for seed in ["1", "2"] {
        let arguments = [
            text(directory.path()),
            "--budget",
            "2M",
            "--accesses",
            "1600",
            "--seed",
            seed,
            "--chaos",
            "--json",
        ];
        let report = json(&demo(&arguments).output().unwrap());
        let sum = ["first_use", "intact", "discarded"].map(|name| number(&report, name));
        assert_eq!(sum.iter().sum::<u64>(), 1600, "{sum:?}");
        assert_eq!(number(&report, "wrong_bytes"), 0);
        let peak_bytes = number(&report, "peak_bytes");
        assert!(
            peak_bytes <= BUDGET_BYTES && peak_bytes > BUDGET_BYTES / 4,
            "{peak_bytes}"
        );
        let killed = number(&report, "workers_killed");
        assert!((1..=4).contains(&killed), "{killed}");
        let started = number(&report, "workers_started");
        assert!(started > 4 && started <= 4 + killed, "{started} {killed}");
        assert!(number(&report, "workers_stopped") >= 1);
        assert_eq!(number(&report, "managers_killed"), 1);
        // What a killed worker had read is a first use to its successor.
        assert!(number(&report, "first_use") > 20);
    }
}

#[test]
fn one_worker_works_in_the_process_itself_and_alone_under_chaos() {
    let directory = inputs();
    for chaos in [false, true] {
        let mut arguments = vec![
            text(directory.path()),
            "--budget",
            "1M",
            "--accesses",
            "500",
            "--workers",
            "1",
            "--json",
        ];
        arguments.extend(chaos.then_some("--chaos"));
        let report = json(&demo(&arguments).output().unwrap());
        let sum = ["first_use", "intact", "discarded"].map(|name| number(&report, name));
        assert_eq!(sum.iter().sum::<u64>(), 500, "{sum:?}");
        assert_eq!(number(&report, "wrong_bytes"), 0);
        assert!(number(&report, "peak_bytes") <= 1 << 20);
        assert_eq!(number(&report, "managers_killed"), u64::from(chaos));
        assert_eq!(number(&report, "workers_started") > 1, chaos);
    }
}

/// The processes whose arguments begin like this.
fn processes_of(words: &[&str]) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let arguments: Vec<&str> = line.split('\0').skip(1).collect();
        if arguments.starts_with(words) {
            found.push(pid);
        }
    }
    found
}

/// The state of a process, in a letter, and its parent; `None`: there is no such process.
fn state_and_parent(pid: i32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

#[test]
fn however_it_ends_nobody_and_nothing_is_left_behind() {
    use rustix::process::{Pid, Signal, kill_process};
    let directory = inputs();
    let place = tempfile::tempdir().unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    for (signal, leaves_nothing) in [
        (Signal::TERM, true),
        (Signal::INT, true),
        (Signal::KILL, false),
    ] {
        let mut child = demo(&[text(directory.path()), "--accesses", "2000000", "--chaos"])
            .env("XDG_RUNTIME_DIR", place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let own = || -> Vec<i32> {
            let mut all = processes_of(&["demo-worker"]);
            all.extend(processes_of(&["demo-manager"]));
            all.retain(|pid| {
                state_and_parent(*pid).is_some_and(|(_, parent)| parent == child.id())
            });
            all
        };
        let mut ours = own();
        while ours.len() < 5 {
            assert!(std::time::Instant::now() < until, "{ours:?}");
            std::thread::yield_now();
            ours = own();
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_ne!(status.code(), Some(0));
        // The parent's own are gone with it, killed by it or by the kernel.
        for pid in ours {
            // Whether somebody has waited for it is not the demo's concern any more.
            while state_and_parent(pid).is_some_and(|(state, _)| state != "Z") {
                assert!(
                    std::time::Instant::now() < until,
                    "{pid} stays after {signal:?}"
                );
                std::thread::yield_now();
            }
        }
        let left = fs::read_dir(place.path()).unwrap().count();
        assert!(left == 0 || !leaves_nothing, "{left} left after {signal:?}");
    }
}

#[test]
fn the_default_budget_is_a_third_of_the_unpacked_input() {
    let directory = inputs();
    let arguments = [text(directory.path()), "--accesses", "300", "--json"];
    let report = json(&demo(&arguments).output().unwrap());
    assert_eq!(
        number(&report, "budget_bytes"),
        number(&report, "unpacked_bytes") / 3
    );
    assert_eq!(
        number(&report, "unpacked_bytes"),
        (19 * 4 + 16 * 171 + 200) << 10
    );
}

#[test]
fn a_seed_gives_the_same_accesses_again() {
    let directory = inputs();
    let run = |seed: &str| {
        // Room for everything: what is found depends on the accesses only, not on time.
        let arguments = [
            text(directory.path()),
            "--budget",
            "64M",
            "--accesses",
            "500",
            "--seed",
            seed,
            "--json",
        ];
        let report = json(&demo(&arguments).output().unwrap());
        assert_eq!(number(&report, "discarded"), 0);
        (
            number(&report, "first_use"),
            number(&report, "intact"),
            number(&report, "checked_bytes"),
        )
    };
    assert_eq!(run("3"), run("3"));
    assert_ne!(run("3"), run("4"));
}

#[test]
fn files_larger_than_the_budget_are_read_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("large.gz"),
        gzip(&content(1, 1 << 20)),
    )
    .unwrap();
    fs::write(
        directory.path().join("small.gz"),
        gzip(&content(2, 20 << 10)),
    )
    .unwrap();
    let arguments = [
        text(directory.path()),
        "--budget",
        "256K",
        "--accesses",
        "200",
        "--json",
    ];
    let report = json(&demo(&arguments).output().unwrap());
    assert!(number(&report, "uncached") > 0);
    assert!(number(&report, "intact") > 0);
    assert_eq!(number(&report, "skipped_files"), 0);
    assert!(number(&report, "scratch_peak_bytes") >= 1 << 20);
}

#[test]
fn the_report_is_for_people() {
    let directory = inputs();
    fs::write(directory.path().join("bad\x1b[31m.png"), b"no picture").unwrap();
    let arguments = [
        text(directory.path()),
        "--accesses",
        "400",
        "--workers",
        "2",
    ];
    let output = demo(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in [
        "2 workers read 20 packed files",
        "intact",
        "0 wrong bytes",
        "no cache",
        "bad?[31m.png",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    assert!(!shown.contains('\x1b'), "no colours without a terminal");
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &["--unknown"][..],
        &["--budget", "0"],
        &["--budget", "much"],
        &["--budget", "-5"],
        &["--workers", "0"],
        &["--workers", "65"],
        &["--accesses", "0"],
        &["--accesses", "1e9"],
        &["--seed", "x"],
        &["one", "two"],
    ] {
        let output = demo(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(stderr(&output).contains("error"), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn nothing_to_read_is_status_1_with_advice() {
    let empty = tempfile::tempdir().unwrap();
    let damaged = tempfile::tempdir().unwrap();
    fs::write(damaged.path().join("x.zip"), b"no archive").unwrap();
    fs::write(damaged.path().join("y.zst"), b"").unwrap();
    let absent = empty.path().join("absent");
    for (directory, part) in [
        (empty.path(), "no .gz"),
        (damaged.path(), "x.zip"),
        (&absent, "absent"),
    ] {
        let output = demo(&[text(directory)]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{directory:?}");
        let said = stderr(&output);
        assert!(
            said.contains(part) && said.contains("vidmm demo DIR"),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
    // The same for cargo's cache, where there is none.
    let output = demo(&[]).env("CARGO_HOME", empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn without_a_directory_the_packages_of_cargo_are_read() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("registry/cache/index");
    fs::create_dir_all(&cache).unwrap();
    for index in 0..5 {
        let packed = gzip(&content(index, 50_000));
        fs::write(cache.join(format!("p-{index}.crate")), packed).unwrap();
    }
    fs::write(cache.join("not-a-package.gz"), b"").unwrap();
    let output = demo(&["--accesses", "100", "--json"])
        .env("CARGO_HOME", home.path())
        .output()
        .unwrap();
    let report = json(&output);
    assert_eq!(
        (number(&report, "files"), number(&report, "skipped_files")),
        (5, 0)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let directory = inputs();
    let mut child = demo(&[text(directory.path()), "--accesses", "50"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn help_has_examples() {
    let output = demo(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in [
        "Examples:",
        "--budget",
        "--accesses",
        "--seed",
        "--json",
        "Exit status",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
}
