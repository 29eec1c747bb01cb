//! `vidmm run` as its users run it: what the command sees, gets and leaves, and how it ends.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A place of its own for the run's directory, so that a test sees what is left.
fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn run_in(place: &TempDir, arguments: &[&str]) -> Command {
    // Whoever runs the tests may ignore signals, which is inherited, and no shell can trap them then.
    let mut command = Command::new("env");
    command
        .arg("--default-signal")
        .arg(env!("CARGO_BIN_EXE_vidmm"));
    command
        .arg("run")
        .args(arguments)
        .env("XDG_RUNTIME_DIR", place.path())
        .env_remove("VIDMM_SOCKET")
        .env_remove("VIDMM_MODE")
        .stdin(Stdio::null());
    command
}

fn shell(place: &TempDir, script: &str) -> Command {
    run_in(place, &["--budget", "64M", "--", "sh", "-c", script])
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_empty(place: &TempDir) -> bool {
    fs::read_dir(place.path()).unwrap().next().is_none()
}

#[test]
fn the_streams_are_the_commands_and_the_report_goes_to_stderr() {
    let place = place();
    let mut child = shell(&place, "cat; echo error >&2; echo done")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"input\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"input\ndone\n");
    let said = stderr(&output);
    assert!(said.starts_with("error\n"), "{said}");
    assert!(
        said.contains("vidmm: sh ended with status 0") && said.contains("a budget of 64 MiB"),
        "{said}"
    );
    assert!(is_empty(&place));
}

#[test]
fn the_command_finds_its_manager_in_a_private_directory() {
    let place = place();
    let script =
        r#"echo "$VIDMM_MODE"; test -S "$VIDMM_SOCKET" && stat -c %a "$(dirname "$VIDMM_SOCKET")""#;
    let output = shell(&place, script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "shared\n700\n");
    // Operators' commands inside find it, too.
    let program = env!("CARGO_BIN_EXE_vidmm");
    let output = shell(&place, &format!("'{program}' budget"))
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("64 MiB"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_exit_status_is_passed_on() {
    let place = place();
    for (script, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let output = shell(&place, script).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{script}");
    }
    assert!(is_empty(&place));
}

#[test]
fn what_cannot_be_run_is_126_or_127() {
    let place = place();
    let file = place.path().join("file");
    fs::write(&file, b"no program").unwrap();
    let file = file.to_str().unwrap();
    let absent = place.path().join("absent");
    let absent = absent.to_str().unwrap();
    for (program, status, part) in [
        ("no-such-program-anywhere", 127, "not found"),
        (absent, 127, "not found"),
        (file, 126, "cannot be run"),
        ("/", 126, "cannot be run"),
    ] {
        let output = run_in(&place, &["--budget", "64M", "--", program])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{program}");
        let said = stderr(&output);
        assert!(said.contains(part) && said.contains(program), "{said}");
    }
    fs::remove_file(file).unwrap();
    assert!(is_empty(&place));
}

#[test]
fn the_report_is_json_in_a_file() {
    let place = place();
    let path = place.path().join("report.json");
    fs::write(&path, "x".repeat(100_000)).unwrap();
    let arguments = [
        "--budget",
        "64M",
        "--reserve",
        "4M",
        "--report",
        path.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "exit 7",
    ];
    let output = run_in(&place, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(stderr(&output), "");
    let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(report["schema"], "vidmm.run/1");
    assert_eq!(report["exit_status"], 7);
    assert_eq!(report["budget_bytes"], 64 << 20);
    assert_eq!(report["reserve_bytes"], 4 << 20);
    assert_eq!(report["command"][2], "exit 7");
    assert!(report["samples"].as_u64().unwrap() >= 1);
    assert!(report["processes"].as_array().unwrap().is_empty());
}

#[test]
fn a_report_that_cannot_be_written_is_found_out_before_the_command_starts() {
    let place = place();
    let mark = place.path().join("mark");
    for report in [place.path().join("no/such/report.json"), PathBuf::from("/")] {
        let output = run_in(
            &place,
            &[
                "--budget",
                "64M",
                "--report",
                report.to_str().unwrap(),
                "--",
                "touch",
                mark.to_str().unwrap(),
            ],
        )
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("was not started"),
            "{}",
            stderr(&output)
        );
        assert!(!mark.exists());
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let place = place();
    for arguments in [
        &["--", "true"][..],
        &["--budget", "64M"],
        &["--budget", "64M", "--"],
        &["--budget", "much", "--", "true"],
        &["--budget", "0", "--", "true"],
        &["--budget", "64M", "--reserve", "x", "--", "true"],
        &["--budget", "64M", "--unknown", "--", "true"],
        &["--budget", "64M", "--trace", "--", "true"],
        // It comes with a later version.
        &["--budget", "64M", "--dxg", "--", "true"],
    ] {
        let output = run_in(&place, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("error"), "{arguments:?}");
    }
    let output = run_in(&place, &["--budget", "1M", "--reserve", "1M", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("leaves nothing"));
}

#[test]
fn help_has_examples() {
    let output = run_in(&place(), &["--help"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in [
        "Examples:",
        "--budget",
        "--report",
        "--trace",
        "Exit status",
        "vidmm.run/1",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    assert!(!shown.contains("--dxg"));
}

/// A run whose command says how it fares, line by line.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            // Of a group whose parent is in the same session: the kernel lets no other one be
            // stopped by the terminal's stop signal.
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// The next line; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn signals_are_handed_on() {
    let place = place();
    for (name, signal) in [
        ("INT", Signal::INT),
        ("TERM", Signal::TERM),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("WINCH", Signal::WINCH),
    ] {
        let script = format!(
            "trap 'echo got; kill -KILL $sleeper; exit 9' {name}; sleep 30 & sleeper=$!; echo ready; wait"
        );
        let mut running = Running::start(shell(&place, &script));
        assert_eq!(running.line(), "ready");
        running.send(signal);
        assert_eq!(running.line(), "got", "{name}");
        assert_eq!(running.line(), "", "{name}: once");
        assert_eq!(running.wait_status(), Some(9), "{name}");
    }
    assert!(is_empty(&place));
}

impl Running {
    fn wait_status(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_signal_that_kills_the_command_leaves_nothing_behind() {
    let place = place();
    let mut running = Running::start(shell(&place, "echo ready; exec sleep 30"));
    assert_eq!(running.line(), "ready");
    running.send(Signal::TERM);
    assert_eq!(running.wait_status(), Some(143));
    assert!(is_empty(&place));
}

/// The state of a process, as the kernel says: `T` is stopped.
fn state(pid: Pid) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn stopping_and_continuing_reach_the_command() {
    let place = place();
    let mut running = Running::start(shell(&place, "echo $$; sleep 0.1; echo on; exit 4"));
    let command = Pid::from_raw(running.line().parse().unwrap()).unwrap();
    let program = Pid::from_child(&running.child);
    running.send(Signal::TSTP);
    wait_for("both stop", || {
        state(command) == "T" && state(program) == "T"
    });
    running.send(Signal::CONT);
    assert_eq!(running.line(), "on");
    assert_eq!(running.wait_status(), Some(4));
}

#[test]
fn what_is_ignored_stays_ignored() {
    let place = place();
    let program = env!("CARGO_BIN_EXE_vidmm");
    let script = format!(
        "trap '' HUP; exec '{program}' run --budget 64M -- sh -c 'kill -HUP $$; echo alive'"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .env("XDG_RUNTIME_DIR", place.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "alive\n");
}

const PRESSED: usize = 150;

/// Writes a line for every SIGINT that comes, until told that it is enough.
#[test]
#[ignore = "the command of another test"]
fn counter() {
    let counted = PathBuf::from(std::env::var_os("COUNTED").unwrap());
    let (mut come, heard) = std::os::unix::net::UnixStream::pair().unwrap();
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGINT, heard).unwrap();
    come.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut lines = fs::File::create(&counted).unwrap();
    println!("ready");
    loop {
        let mut one = [0];
        match std::io::Read::read(&mut come, &mut one) {
            Ok(_) => lines.write_all(b"x\n").unwrap(),
            Err(_) if counted.with_extension("done").exists() => return,
            Err(_) => {}
        }
    }
}

#[test]
fn ctrl_c_on_a_terminal_reaches_the_command_once() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let Ok(master) = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY) else {
        println!("SKIPPED: no pseudo-terminal");
        return;
    };
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let side = Path::new(&OsString::from_vec(name.into_bytes())).to_path_buf();
    let place = place();
    let counted = place.path().join("counted");
    // A session of its own opens the terminal first, which makes it the session's.
    let script = format!(
        "exec <'{side}' >'{side}' 2>&1; exec '{program}' run --budget 64M -- '{this}' counter --exact \
         --ignored --nocapture",
        side = side.display(),
        program = env!("CARGO_BIN_EXE_vidmm"),
        this = std::env::current_exe().unwrap().display(),
    );
    let mut session = match Command::new("setsid")
        .args(["-w", "sh", "-c", &script])
        .env("COUNTED", &counted)
        .env("XDG_RUNTIME_DIR", place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    {
        Ok(session) => session,
        Err(error) => {
            println!("SKIPPED: no setsid: {error}");
            return;
        }
    };
    let mut terminal = fs::File::from(master);
    let mut said = BufReader::new(terminal.try_clone().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(
            said.read_line(&mut line).unwrap() > 0,
            "it ends before it is ready"
        );
    }
    // Two signals can become one on their way: so several times.
    let count = || fs::read_to_string(&counted).map_or(0, |text| text.lines().count());
    for pressed in 1..=PRESSED {
        terminal.write_all(b"\x03").unwrap();
        wait_for("it is counted", || count() >= pressed);
    }
    fs::write(place.path().join("counted.done"), b"").unwrap();
    let status = session.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(count(), PRESSED);
}
