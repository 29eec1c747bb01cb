//! `vidmm stat`, `trim`, `budget` and `top` as their users run them, against a manager by script:
//! arguments in, exit status, text and JSON out, and a terminal that is as it was before.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../src/operator/fake.rs"]
#[allow(dead_code, unreachable_pub)]
mod fake;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fake::{FakeManager, client, done, summary};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use vidmm_wire::{
    CommandFailed, Discard, EventRow, OperatorRequest, Threshold, ToOperator, WhoseEvents,
    WhyOrdered,
};

/// Nothing here takes longer, on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(20);

fn vidmm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidmm"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["VIDMM_SOCKET", "XDG_RUNTIME_DIR", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command
}

fn output(manager: &FakeManager, arguments: &[&str]) -> Output {
    vidmm(arguments)
        .env("VIDMM_SOCKET", manager.socket())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A name that takes a wide screen.
const LONG_NAME: &str = "a-process-with-a-long-name";

/// A manager with three clients, of which two gave and took.
fn manager() -> FakeManager {
    FakeManager::answering(|request| match request {
        OperatorRequest::Stat => vec![
            ToOperator::Summary(summary()),
            ToOperator::Client(client(4711, "viewer", 68 << 20)),
            ToOperator::Client(client(4712, "editor", 700 << 20)),
            ToOperator::Client(client(4713, LONG_NAME, 1 << 20)),
            done(),
        ],
        OperatorRequest::Events { newest } => {
            let order = |order| {
                ToOperator::Event(EventRow {
                    order,
                    at_ms: 3_723_004,
                    pid: 4711,
                    beneficiary_pid: 4712,
                    why: WhyOrdered::Need,
                    bytes: 64 << 10,
                    thresholds: [Threshold::UpTo(12), Threshold::Nothing, Threshold::Nothing],
                    returned_bytes: Some(64 << 10),
                    discarded_bytes: [64 << 10, 0, 0],
                })
            };
            let discard = Discard {
                number: 1,
                at_ms: 3_723_005,
                allocation: 42,
                bytes: 64 << 10,
                class: 0,
                rank: 12,
                reason: 0,
                beneficiary_pid: 4712,
                order: 17,
            };
            let whose = WhoseEvents {
                pid: 4711,
                discards: vec![discard],
            };
            let mut answer: Vec<_> = (18 - newest.min(3)..18).map(order).collect();
            answer.extend([ToOperator::Discards(whose), done()]);
            answer
        }
        OperatorRequest::Trim { bytes } => vec![ToOperator::Done {
            bytes: bytes / 2,
            missing_bytes: bytes - bytes / 2,
        }],
        OperatorRequest::SetBudget { bytes } if bytes < 1 << 20 => {
            vec![ToOperator::Failed(CommandFailed::BadBudget(
                "below what is reserved (1 MiB)".into(),
            ))]
        }
        OperatorRequest::SetBudget { .. } => vec![done()],
        OperatorRequest::Stop => vec![ToOperator::Failed(CommandFailed::NotAllowed)],
    })
}

#[test]
fn stat_shows_a_table() {
    let manager = manager();
    let text = stdout(&output(&manager, &["stat"]));
    assert!(
        text.starts_with("budget 1 GiB, charged 768 MiB (75.0 %)"),
        "{text}"
    );
    let editor = text.find("4712  editor").unwrap();
    assert!(editor < text.find("4711  viewer").unwrap(), "{text}");
    assert!(!text.contains("Orders") && !text.contains('\x1b'));
    // The option finds the same manager as the variable.
    let socket = manager.socket();
    let by_option = vidmm(&["stat", "--socket", socket.to_str().unwrap()])
        .env("VIDMM_SOCKET", "nowhere")
        .output()
        .unwrap();
    assert_eq!(stdout(&by_option), text);
}

#[test]
fn stat_explains_events() {
    let manager = manager();
    let text = stdout(&output(&manager, &["stat", "--events"]));
    assert!(
        text.contains(
            "01:02:03.005 pid 4711 (viewer) gave 64 KiB LOW, rank 12, for pid 4712 (editor): it \
             needed credit"
        ),
        "{text}"
    );
    assert_eq!(text.matches("was to give 64 KiB").count(), 3);
    let text = stdout(&output(&manager, &["stat", "--events", "1"]));
    assert_eq!(text.matches("was to give 64 KiB").count(), 1);
}

#[test]
fn stat_has_json_for_programs() {
    let text = stdout(&output(&manager(), &["stat", "--json", "--events"]));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], "vidmm.stat/1");
    assert_eq!(value["charged_bytes"], 768 << 20);
    assert_eq!(value["clients"].as_array().unwrap().len(), 3);
    assert_eq!(value["events"].as_array().unwrap().len(), 3);
    assert_eq!(value["discards"][0]["beneficiary_pid"], 4712);
}

#[test]
fn trim_and_budget_say_what_came_of_it() {
    let manager = manager();
    assert!(stdout(&output(&manager, &["trim", "1M"])).starts_with("512 KiB of 1 MiB given back"));
    assert_eq!(
        stdout(&output(&manager, &["budget", "2G"])),
        "the budget is 2 GiB\n"
    );
    assert_eq!(
        stdout(&output(&manager, &["budget"])),
        "1 GiB (768 MiB charged)\n"
    );
    let refused = output(&manager, &["budget", "4K"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("below what is reserved (1 MiB)"));
}

#[test]
fn who_may_not_is_told_and_gets_status_1() {
    let manager = FakeManager::answering(|_| vec![ToOperator::Failed(CommandFailed::NotAllowed)]);
    for arguments in [&["trim", "1M"][..], &["budget", "1G"], &["stat"]] {
        let refused = output(&manager, arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&refused).contains("root"), "{}", stderr(&refused));
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn no_manager_is_status_1_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["stat"][..],
        &["trim", "1M"],
        &["budget"],
        &["budget", "1G"],
    ] {
        let failed = vidmm(arguments)
            .env("VIDMM_SOCKET", directory.path().join("none.sock"))
            .output()
            .unwrap();
        assert_eq!(failed.status.code(), Some(1), "{arguments:?}");
        let said = stderr(&failed);
        assert!(
            said.contains("none.sock") && said.contains("vidmm serve"),
            "{said}"
        );
    }
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &["stat", "--unknown"][..],
        &["stat", "--events", "0"],
        &["stat", "extra"],
        &["trim"],
        &["trim", "much"],
        &["trim", "-5"],
        &["trim", "5MB"],
        &["budget", "0"],
        &["budget", "101%"],
        &["budget", "1G", "2G"],
        &["top", "--interval", "0"],
        &["top", "--interval", "inf"],
        &["top", "--interval", "x"],
    ] {
        let failed = vidmm(arguments).output().unwrap();
        assert_eq!(failed.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&failed).contains("error"), "{arguments:?}");
    }
}

#[test]
fn help_has_examples() {
    for command in ["stat", "top", "trim", "budget"] {
        let shown = stdout(&vidmm(&[command, "--help"]).output().unwrap());
        for part in ["Examples:", "--socket", "Exit status"] {
            assert!(
                shown.contains(part),
                "{command}: {part:?} is not in:\n{shown}"
            );
        }
    }
}

#[test]
fn top_without_a_terminal_points_to_stat() {
    let failed = output(&manager(), &["top"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        stderr(&failed).contains("vidmm stat"),
        "{}",
        stderr(&failed)
    );
    assert!(failed.stdout.is_empty());
}

fn resize(side: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(side, size).unwrap();
}

/// `vidmm top` on a terminal of 80 columns and 24 lines.
struct OnTerminal {
    child: Child,
    /// What a user's terminal would hold: keys go in here.
    keys: File,
    /// The other side, to look at its modes.
    side: OwnedFd,
    shown: Receiver<Vec<u8>>,
    text: String,
    before: Termios,
}

impl OnTerminal {
    /// Starts it; `None` where this machine has no terminals to give.
    fn start(arguments: &[&str], manager: &FakeManager) -> Option<Self> {
        let master = match openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY) {
            Ok(master) => master,
            Err(error) => {
                println!("SKIPPED: no pseudo-terminal: {error}");
                return None;
            }
        };
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = OsString::from_vec(name.into_bytes());
        let side = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(&name)
            .unwrap();
        resize(&side, 80, 24);
        let before = tcgetattr(&side).unwrap();
        // A session of its own, which the terminal belongs to from its first opening on.
        let script = "terminal=$1; shift; exec <\"$terminal\" >\"$terminal\" 2>&1; exec \"$@\"";
        let program = env!("CARGO_BIN_EXE_vidmm");
        let started = Command::new("setsid")
            .args(["sh", "-c", script, "sh"])
            .arg(&name)
            .arg(program)
            .args(arguments)
            .env("VIDMM_SOCKET", manager.socket())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                println!("SKIPPED: no setsid: {error}");
                return None;
            }
        };
        let keys = File::from(master);
        let mut screen = keys.try_clone().unwrap();
        let (show, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = screen.read(&mut buffer) {
                if show.send(buffer[..bytes].to_vec()).is_err() {
                    return;
                }
            }
        });
        Some(Self {
            child,
            keys,
            side: side.into(),
            shown,
            text: String::new(),
            before,
        })
    }

    fn resize(&self, columns: u16, rows: u16) {
        resize(&self.side, columns, rows);
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `part` appears among what has been drawn since the last call.
    fn wait_for(&mut self, part: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.text.contains(part) {
            let left = until.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{part:?} does not appear ({error}) in {:?}", self.text),
            }
        }
        self.text.clear();
    }

    /// Waits for its end and checks that the terminal is as it was before it began.
    fn end(mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        };
        while let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(200)) {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        let after = tcgetattr(&self.side).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        assert!(
            self.text.contains("\x1b[?1049l"),
            "the other screen is left"
        );
        assert!(self.text.contains("\x1b[?25h"), "the cursor is back");
        status
    }

    fn is_raw(&self) -> bool {
        tcgetattr(&self.side).unwrap().local_modes != self.before.local_modes
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn top_draws_heeds_keys_and_gives_the_terminal_back() {
    let manager = manager();
    let Some(mut top) = OnTerminal::start(&["top", "--interval", "0.1"], &manager) else {
        return;
    };
    top.wait_for("viewer");
    assert!(top.is_raw());
    top.press("p");
    top.wait_for("process");
    top.press("?");
    top.wait_for("Ctrl-C");
    // Closes the help, shows more of the names, then quits.
    top.press("?");
    top.wait_for("viewer");
    top.resize(120, 30);
    top.wait_for(LONG_NAME);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn top_gives_the_terminal_back_on_ctrl_c_and_on_signals() {
    let manager = manager();
    for signal in [
        None,
        Some(Signal::TERM),
        Some(Signal::INT),
        Some(Signal::HUP),
    ] {
        let Some(mut top) = OnTerminal::start(&["top"], &manager) else {
            return;
        };
        top.wait_for("viewer");
        match signal {
            None => top.press("\x03"),
            Some(signal) => {
                let pid = Pid::from_child(&top.child);
                kill_process(pid, signal).unwrap();
            }
        }
        let status = top.end();
        assert_eq!(status.code(), Some(0), "{:?}", status.signal());
    }
}

#[test]
fn top_gives_the_terminal_back_while_it_is_in_the_background() {
    let manager = manager();
    let Some(mut top) = OnTerminal::start(&["top"], &manager) else {
        return;
    };
    let pid = Pid::from_child(&top.child);
    let is_stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        stat.rsplit_once(')')
            .unwrap()
            .1
            .trim_start()
            .starts_with('T')
    };
    for signal in [None, Some(Signal::TSTP)] {
        top.wait_for("viewer");
        match signal {
            None => top.press("\x1a"),
            Some(signal) => kill_process(pid, signal).unwrap(),
        }
        let until = Instant::now() + PATIENCE;
        while !is_stopped() {
            assert!(Instant::now() < until, "it does not stop");
            std::thread::yield_now();
        }
        assert!(!top.is_raw());
        kill_process(pid, Signal::CONT).unwrap();
    }
    top.wait_for("viewer");
    assert!(top.is_raw());
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn top_says_when_the_manager_goes_away_and_finds_it_again() {
    // Every connection is good for one answer only.
    let manager = FakeManager::handling(|connection| {
        use vidmm_wire::{Reception, Served, encode};
        fake::read(&connection);
        fake::write(&connection, &Reception::Operating.encode(Served::default()));
        for part in [
            ToOperator::Summary(summary()),
            ToOperator::Client(client(4711, "viewer", 1 << 20)),
            done(),
        ] {
            fake::write(&connection, &encode(&part).unwrap());
        }
    });
    let Some(mut top) = OnTerminal::start(&["top", "--interval", "0.1"], &manager) else {
        return;
    };
    top.wait_for("sorted by held");
    top.wait_for("no news");
    top.wait_for("sorted by held");
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}
