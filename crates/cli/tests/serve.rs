//! `vidmm serve` as a user and a service manager see it: the program itself, its exit status, its
//! texts, its signals, its units.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use rustix::process::{Pid, Signal, kill_process};
use vidmm_wire::{Ask, Join, Opening, Reception, Supply, ToClient, ToManager, decode, encode};

const PATIENCE: Duration = Duration::from_secs(20);

fn vidmm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidmm"));
    command
        .arg("serve")
        .env_remove("VIDMM_SOCKET")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM");
    command
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A manager that is killed when the test is over.
struct Serving {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Serving {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Serving { child, log }
    }

    /// Reads the log as far as a line with `text` in it.
    fn until_logged(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "it has ended without a line of {text:?}");
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connected(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn joined(path: &Path) -> OwnedFd {
    let socket = connected(path).unwrap();
    let opening = Opening::Join(Join::default()).encode();
    send(&socket, &opening, SendFlags::NOSIGNAL).unwrap();
    let (reception, _) = Reception::decode(&receive(&socket)).unwrap();
    assert!(
        matches!(reception, Some(Reception::Welcome(_))),
        "{reception:?}"
    );
    socket
}

fn receive(socket: &OwnedFd) -> Vec<u8> {
    let mut buffer = vec![0; vidmm_wire::MESSAGE_BYTES_MAX];
    let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty()).unwrap();
    buffer.truncate(length);
    buffer
}

/// Whether a request for a page is granted; what is granted is returned.
fn is_granted(socket: &OwnedFd, request: u32) -> bool {
    let ask = ToManager::Ask(Ask {
        request,
        bytes: 4096,
        supply: Supply::default(),
    });
    send(socket, &encode(&ask).unwrap(), SendFlags::NOSIGNAL).unwrap();
    loop {
        match decode(&receive(socket)).unwrap() {
            ToClient::Credit(credit) => {
                let bytes = credit.granted_bytes;
                let returned = encode(&ToManager::Returned { bytes }).unwrap();
                send(socket, &returned, SendFlags::NOSIGNAL).unwrap();
                return credit.request == request;
            }
            ToClient::NoCredit(_) => return false,
            _ => {}
        }
    }
}

fn scraped(metrics: &Path) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn refused(command: &mut Command, status: i32) -> String {
    let Output {
        status: ended,
        stderr,
        stdout,
    } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(ended.code(), Some(status), "{text}");
    assert!(stdout.is_empty());
    text
}

#[test]
fn bad_input_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let at = |command: &mut Command| {
        command.arg("--socket").arg(&socket);
    };
    for arguments in [
        &["--budget", "4GB"][..],
        &["--budget", "0"],
        &["--reserve", "x"],
        &["--metrics", "nowhere"],
        &["--log-format", "xml"],
        &["--no-such-thing"],
        &["beside"],
    ] {
        let mut command = vidmm();
        at(&mut command);
        refused(command.args(arguments), 2);
    }
    let mut command = vidmm();
    at(&mut command);
    let text = refused(command.args(["--budget", "1000T"]), 1);
    assert!(text.contains("--allow-swap"), "{text}");
    let file = dir.path().join("m.toml");
    std::fs::write(&file, "budget = \"64M\"\n\n[defautl]\nweight = 1\n").unwrap();
    let mut command = vidmm();
    at(&mut command);
    let text = refused(command.arg("--config").arg(&file), 1);
    assert!(text.contains("m.toml:3:2, at \"defautl]\""), "{text}");
    let mut command = vidmm();
    at(&mut command);
    let text = refused(command.args(["--config", "no-such-file"]), 1);
    assert!(text.contains("no-such-file"), "{text}");
    let mut command = vidmm();
    command
        .env_remove("XDG_RUNTIME_DIR")
        .env("VIDMM_SOCKET", "x".repeat(200));
    let text = refused(&mut command, 1);
    assert!(text.contains("107 at most"), "{text}");
    assert!(!socket.exists());
}

#[test]
fn signals_reload_and_stop_and_the_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = dir.path().join("runtime");
    std::fs::create_dir(&runtime).unwrap();
    let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 4096];
        let length = notify.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    // As it often is: a link to a file elsewhere, which the sandbox must not hide.
    let (file, link) = (dir.path().join("m.toml"), runtime.join("link.toml"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    std::fs::write(&file, "budget = \"64M\"\n").unwrap();
    let (metrics, textfile) = (dir.path().join("metrics.sock"), dir.path().join("out.prom"));
    let mut serving = Serving::start(
        vidmm()
            .env("XDG_RUNTIME_DIR", &runtime)
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .args(["--log-format", "json", "--config"])
            .arg(&link)
            .arg("--metrics")
            .arg(&metrics)
            .arg("--metrics-textfile")
            .arg(&textfile),
    );
    let sandbox = serving.until_logged("\"msg\":\"sandbox\"");
    println!("{sandbox}");
    assert!(
        serving
            .until_logged("\"msg\":\"serving\"")
            .contains("64 MiB")
    );
    let first = told();
    assert!(
        first.contains("READY=1") && first.contains("STATUS=sharing 64 MiB"),
        "{first}"
    );
    let socket = runtime.join("vidmm/manager.sock");
    let client = joined(&socket);
    assert!(is_granted(&client, 1));

    let with_user = "budget = \"32M\"\n[[client]]\nuser = \"root\"\nweight = 2\n";
    std::fs::write(&file, with_user).unwrap();
    serving.signal(Signal::HUP);
    assert!(
        serving
            .until_logged("the new configuration holds")
            .contains("33554432")
    );
    let reloading = told();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="));
    assert!(told().contains("READY=1"));
    std::fs::write(&file, "budget = 7\nbudget = 8\n").unwrap();
    serving.signal(Signal::HUP);
    assert!(
        serving
            .until_logged("the old one holds")
            .contains("link.toml:2:1")
    );
    assert!(told().contains("RELOADING=1") && told().contains("old configuration"));
    assert!(is_granted(&client, 2), "nobody was disconnected");

    let figures = scraped(&metrics);
    assert!(
        figures.contains("vidmm_reloads_total{result=\"refused\"} 1"),
        "{figures}"
    );
    until("figures are written", || textfile.exists());
    serving.signal(Signal::TERM);
    assert!(told().contains("STOPPING=1"));
    assert!(serving.child.wait().unwrap().success());
    let left: Vec<_> = std::fs::read_dir(runtime.join("vidmm"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["manager.sock.ledger"]);
    assert!(!metrics.exists() && !textfile.exists());
}

#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let mut serving = Serving::start(vidmm().arg("--socket").arg(&socket).args([
        "--budget",
        "64M",
        "--log-level",
        "debug",
    ]));
    serving.until_logged("serving");
    // Nobody reads any more, and the pipe takes a page.
    rustix::pipe::fcntl_setpipe_size(serving.log.get_ref(), 4096).unwrap();
    let client = joined(&socket);
    let end = Instant::now() + Duration::from_secs(3);
    let mut request = 0;
    while Instant::now() < end && request < 2000 {
        request += 1;
        assert!(is_granted(&client, request));
        let other = connected(&socket).unwrap();
        let _ = send(&other, b"noise", SendFlags::NOSIGNAL);
    }
    assert!(request > 100, "{request}");
    serving.signal(Signal::INT);
    until("it ends", || serving.child.try_wait().unwrap().is_some());
}

#[test]
fn a_socket_of_the_service_managers_is_taken_over() {
    let has_tool = Command::new("systemd-socket-activate")
        .arg("--version")
        .output();
    if !has_tool.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no systemd-socket-activate here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("m.sock");
    let mut serving = Serving::start(
        Command::new("systemd-socket-activate")
            .arg("--seqpacket")
            .arg("-l")
            .arg(&socket)
            .arg(env!("CARGO_BIN_EXE_vidmm"))
            .args(["serve", "--budget", "64M"]),
    );
    // The file is there a moment before anybody listens.
    until("it listens", || connected(&socket).is_ok());
    let client = joined(&socket);
    assert!(is_granted(&client, 1));
    serving.until_logged("serving");
    serving.signal(Signal::TERM);
    assert!(serving.child.wait().unwrap().success());
    assert!(socket.exists(), "it is the service manager's to remove");
    assert!(!dir.path().join("m.sock.lock").exists());
}

#[test]
fn the_units_are_sound() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    let has_tool = Command::new("systemd-analyze").arg("--version").output();
    if !has_tool.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no systemd-analyze here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for kind in ["system", "user"] {
        let into = dir.path().join(kind);
        std::fs::create_dir(&into).unwrap();
        for name in ["vidmm.service", "vidmm.socket"] {
            let text = std::fs::read_to_string(units.join(kind).join(name)).unwrap();
            let text = text
                .replace("@BINDIR@/vidmm", env!("CARGO_BIN_EXE_vidmm"))
                .replace("@DATADIR@", "/usr/share")
                .replace("@SYSCONFDIR@", "/etc");
            assert!(!text.contains('@'), "{text}");
            std::fs::write(into.join(name), text).unwrap();
        }
        let checked = Command::new("systemd-analyze")
            .args(["verify", "--man=no", &format!("--{kind}")])
            .arg(into.join("vidmm.service"))
            .arg(into.join("vidmm.socket"))
            .env("SYSTEMD_UNIT_PATH", format!("{}:", into.display()))
            .env("XDG_RUNTIME_DIR", dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8(checked.stderr).unwrap();
        let about_ours: Vec<&str> = text.lines().filter(|line| line.contains("vidmm")).collect();
        assert!(about_ours.is_empty(), "{about_ours:#?}");
        if !checked.status.success() {
            println!("SKIPPED: systemd-analyze cannot check {kind} units here: {text}");
        }
    }
}

#[test]
fn the_sample_configuration_is_valid() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/manager.toml");
    let text = std::fs::read_to_string(sample).unwrap();
    // Everything that is commented out, too.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("#:") {
            Some(setting) => format!("{setting}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.toml");
    let metrics = dir.path().join("metrics.sock");
    let all = all.replace("127.0.0.1:9464", &metrics.display().to_string());
    let all = all.replace(
        "/var/lib/prometheus/node-exporter",
        &dir.path().display().to_string(),
    );
    let all = all.replace("user = \"render\"", "user = 4711");
    std::fs::write(&file, all).unwrap();
    let mut serving = Serving::start(
        vidmm()
            .arg("--socket")
            .arg(dir.path().join("m.sock"))
            .args(["--budget", "16G", "--allow-swap", "--config"])
            .arg(&file),
    );
    let line = serving.until_logged("=");
    let about_memory = line.contains("more than the machine has");
    assert!(about_memory || line.contains("sandbox"), "{line}");
}
