//! The commands against a real manager with real clients: this program, run again, is the client.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use vidmm::{Class, Committed, Offered, Pool, Reclaimed};

const UNIT: usize = 64 << 10;
const UNIT_BYTES: u64 = UNIT as u64;
const PATIENCE: Duration = Duration::from_secs(30);

/// The client: does what it is told, line by line, and says what came of it. Run by the tests
/// below, under a manager.
#[test]
#[ignore = "a process of the other tests"]
fn client() {
    let pool = Pool::from_environment().unwrap().build().unwrap();
    let mut idle: Vec<Offered> = Vec::new();
    let mut used: Vec<Committed> = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let (what, count) = (words.next().unwrap(), words.next().unwrap_or("0"));
        let count: usize = count.parse().unwrap();
        let answer = match what {
            // So much more in use, or no memory.
            "use" => {
                let more: Result<Vec<_>, _> = (0..count)
                    .map(|_| {
                        let mut memory = pool.allocate(UNIT)?;
                        memory.lock_mut()?.fill(7);
                        Ok::<_, vidmm::Error>(memory)
                    })
                    .collect();
                let said = format!("{}", more.is_ok());
                used.extend(more.into_iter().flatten());
                said
            }
            "offer_low" | "offer_high" => {
                let class = match what {
                    "offer_low" => Class::Low,
                    _ => Class::High,
                };
                let rest = used.split_off(used.len() - count);
                idle.extend(rest.into_iter().map(|memory| memory.offer(class)));
                "true".to_owned()
            }
            "reclaim" => {
                let mut intact = 0;
                // The newest first: what is gone already would take the others' room.
                for offered in idle.drain(..).rev() {
                    match offered.reclaim() {
                        Ok(Reclaimed::Intact(memory)) => {
                            intact += 1;
                            used.push(memory);
                        }
                        Ok(Reclaimed::Discarded(memory)) => used.push(memory),
                        Err(_) => {}
                    }
                }
                intact.to_string()
            }
            _ => "what?".to_owned(),
        };
        println!("\n> {answer}");
    }
}

struct Client {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn joined_to(socket: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(CLIENT)
            .env("VIDMM_SOCKET", socket)
            .env("VIDMM_MODE", "shared")
            .env("VIDMM_PRESSURE", "off");
        Self::start(command)
    }

    fn told(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some(answer) = line.strip_prefix("> ") {
                return answer.trim_end().to_owned();
            }
        }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CLIENT: [&str; 4] = ["client", "--exact", "--ignored", "--nocapture"];

/// A manager, served by `vidmm serve`.
struct Manager {
    child: Child,
    directory: TempDir,
}

impl Manager {
    fn start(budget: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("manager.toml");
        fs::write(&config, "").unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vidmm"))
            .args(["serve", "--budget", budget, "--socket"])
            .arg(directory.path().join("manager.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let manager = Self { child, directory };
        let until = Instant::now() + PATIENCE;
        while !manager.vidmm(&["budget"]).status.success() {
            assert!(Instant::now() < until, "it does not start");
        }
        manager
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("manager.sock")
    }

    fn vidmm(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vidmm"))
            .args(arguments)
            .env("VIDMM_SOCKET", self.socket())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.vidmm(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(arguments)).unwrap()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client_of(stat: &Value, pid: u32) -> &Value {
    let clients = stat["clients"].as_array().unwrap();
    let found = clients.iter().find(|client| client["pid"] == pid);
    found.unwrap_or_else(|| panic!("{pid} is not in {stat}"))
}

/// Asks until the row of a client is as it should be: figures are a little old.
fn row_when(manager: &Manager, pid: u32, is_so: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let row = client_of(&manager.json(&["stat", "--json"]), pid).clone();
        if is_so(&row) {
            return row;
        }
        assert!(Instant::now() < until, "{row}");
    }
}

#[test]
fn who_gave_what_for_whom_is_told() {
    let manager = Manager::start("4M");
    let (mut giver, mut taker) = (
        Client::joined_to(&manager.socket()),
        Client::joined_to(&manager.socket()),
    );
    assert_eq!(giver.told("use 40"), "true");
    assert_eq!(giver.told("offer_low 30"), "true");
    let stat = manager.json(&["stat", "--json"]);
    assert_eq!(stat["budget_bytes"], 4 << 20);
    let row = row_when(&manager, giver.pid(), |row| {
        row["offered"]["low"]["bytes"] == 30 * UNIT_BYTES
    });
    assert_eq!(row["committed"]["bytes"], 10 * UNIT_BYTES);

    // 24 of 64 units are free at most; 40 need some of the giver's.
    assert_eq!(taker.told("use 40"), "true");
    let stat = manager.json(&["stat", "--json", "--events", "100"]);
    let discards = stat["discards"].as_array().unwrap();
    assert!(!discards.is_empty(), "{stat}");
    for discard in discards {
        assert_eq!(discard["pid"], giver.pid(), "{discard}");
        assert_eq!(discard["beneficiary_pid"], taker.pid(), "{discard}");
        assert_eq!(discard["class"], "LOW");
        assert_eq!(discard["order_why"], "need");
        assert_eq!(discard["bytes"], UNIT_BYTES);
    }
    let gone = u64::try_from(discards.len()).unwrap();
    assert!((16..=30).contains(&gone), "{gone}");
    row_when(&manager, giver.pid(), |row| {
        row["discards"]["low"]["count"] == gone
    });
    let text = manager.said(&["stat", "--events"]);
    let sentence = format!(
        "gave 64 KiB LOW, rank {}, for pid {} (",
        discards[0]["rank"],
        taker.pid()
    );
    assert!(text.contains(&sentence), "{sentence:?} is not in:\n{text}");
    // Its room is there again as soon as the other is dead, and nobody waits for any.
    drop(taker);
    assert_eq!(giver.told("reclaim"), (30 - gone).to_string());
}

#[test]
fn trims_and_budgets_come_true() {
    let manager = Manager::start("4M");
    let mut client = Client::joined_to(&manager.socket());
    assert_eq!(client.told("use 40"), "true");
    assert_eq!(client.told("offer_low 10"), "true");
    assert_eq!(client.told("offer_high 10"), "true");
    row_when(&manager, client.pid(), |row| {
        row["offered"]["high"]["bytes"] == 10 * UNIT_BYTES
    });
    let trimmed = manager.said(&["trim", "128K"]);
    assert!(trimmed.contains("given back"), "{trimmed}");
    // More than is offered: what is in use stays.
    let trimmed = manager.said(&["trim", "4M"]);
    assert!(trimmed.contains("missing"), "{trimmed}");
    let row = row_when(&manager, client.pid(), |row| {
        row["offered"]["high"]["bytes"] == 0
    });
    assert_eq!(row["committed"]["bytes"], 20 * UNIT_BYTES);

    let said = manager.said(&["budget", "1M"]);
    assert!(said.starts_with("the budget is 1 MiB"), "{said}");
    assert!(said.contains("still in use"), "{said}");
    assert!(manager.said(&["budget"]).starts_with("1 MiB ("));
    assert_eq!(client.told("use 1"), "false");
    let refused = manager.vidmm(&["budget", "8E"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_run_reports_on_clients_and_grandchildren() {
    let place = tempfile::tempdir().unwrap();
    let report = place.path().join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidmm"));
    command
        .args(["run", "--budget", "2M", "--report"])
        .arg(&report)
        .args(["--", "sh", "-c"])
        // The shell stays; the client is its child.
        .arg(format!(
            "'{}' \"$@\"; exit 6",
            std::env::current_exe().unwrap().display()
        ))
        .arg("sh")
        .args(CLIENT)
        .env("VIDMM_PRESSURE", "off");
    let mut client = Client::start(command);
    assert_eq!(client.told("use 20"), "true");
    assert_eq!(client.told("offer_low 20"), "true");
    // 32 units are all there are: 8 of the offered go.
    assert_eq!(client.told("use 20"), "true");
    let intact: u64 = client.told("offer_low 20").parse::<bool>().unwrap().into();
    assert_eq!(intact, 1);
    let intact: u64 = client.told("reclaim").parse().unwrap();
    assert!((1..=32).contains(&intact), "{intact}");
    // The run has to look once more before the client goes.
    std::thread::sleep(Duration::from_millis(1500));
    let pipe = std::mem::replace(&mut client.orders, {
        let mut other = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let pipe = other.stdin.take().unwrap();
        other.wait().unwrap();
        pipe
    });
    drop(pipe);
    assert_eq!(client.child.wait().unwrap().code(), Some(6));
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["exit_status"], 6);
    assert_eq!(report["processes"].as_array().unwrap().len(), 1, "{report}");
    let process = &report["processes"][0];
    assert_eq!(process["reclaims_intact"], intact, "{report}");
    assert!(process["discards"]["low"]["count"].as_u64().unwrap() >= 8);
    assert!(process["hit_rate"].as_f64().unwrap() > 0.0);
    let peak_bytes = report["peak_charged_bytes"].as_u64().unwrap();
    assert!((1 << 20..=2 << 20).contains(&peak_bytes), "{peak_bytes}");
    assert!(report["trouble"].is_null(), "{report}");
}
