//! The processes of the rows with a manager, from outside.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vidmm_wire::{OperatorRequest, ToOperator};

use crate::bench::sample::ns_each;
use crate::bench::usage::{field_bytes, switches_of};
use crate::operator::{Link, Place};
use crate::output::Failure;
use crate::own_manager::Lodging;

/// Starting takes no longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn this_program() -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env("VIDMM_PRESSURE", "off");
    Ok(command)
}

/// `vidmm serve`, killed when this goes.
#[derive(Debug)]
pub(crate) struct Manager {
    child: Child,
    lodging: Lodging,
    socket: PathBuf,
}

impl Manager {
    pub(crate) fn start(budget_bytes: u64) -> Result<Self, Failure> {
        let lodging = Lodging::new()?;
        let socket = lodging.socket();
        let child = this_program()?
            .args([
                "serve",
                "--reserve",
                "0",
                "--log-level",
                "warning",
                "--budget",
            ])
            .arg(budget_bytes.to_string())
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut manager = Manager {
            child,
            lodging,
            socket,
        };
        let until = Instant::now() + PATIENCE;
        while let Err(failure) = manager.clients() {
            if let Some(status) = manager.child.try_wait()? {
                return Err(format!("`vidmm serve` ended: {status}").into());
            }
            if Instant::now() > until {
                return Err(failure);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(manager)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many clients have joined and hold something.
    fn clients(&self) -> Result<u32, Failure> {
        let mut link = Link::connect(&Place(vec![self.socket.clone()]))?;
        let mut clients = 0;
        link.ask(OperatorRequest::Stat, |message| {
            if let ToOperator::Client(row) = message {
                clients += u32::from(row.joined && row.charged_bytes > 0);
            }
        })?;
        Ok(clients)
    }

    pub(crate) fn wait_for_clients(&self, count: u32) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let clients = self.clients()?;
            if clients == count {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("{clients} of {count} clients have joined").into());
            }
            // Each look is a question to all of them.
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    /// How often it was put on a core.
    pub(crate) fn switches(&self) -> Result<u64, Failure> {
        Ok(switches_of(&self.proc("task"))?.values().sum())
    }

    pub(crate) fn anonymous_bytes(&self) -> Result<u64, Failure> {
        field_bytes(&self.proc("smaps_rollup"), "Anonymous:")
    }

    /// CPU time so far, as finely as the scheduler counts it.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Failure> {
        let text = std::fs::read_to_string(self.proc("schedstat"))?;
        let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
        Ok(Duration::from_nanos(ns.ok_or("schedstat has no number")?))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.lodging;
    }
}

/// A client that does what it is told, line by line.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn joined(role: &str, manager: &Manager) -> Result<Self, Failure> {
        let mut command = this_program()?;
        command
            .env("VIDMM_SOCKET", manager.socket())
            .env("VIDMM_MODE", "shared");
        Self::start(command, role)
    }

    pub(crate) fn alone(role: &str) -> Result<Self, Failure> {
        let mut command = this_program()?;
        command.env("VIDMM_MODE", "embedded");
        Self::start(command, role)
    }

    fn start(mut command: Command, role: &str) -> Result<Self, Failure> {
        let mut child = command
            .args(["bench-worker", role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("a pipe was asked for")?;
        let output = child.stdout.take().ok_or("a pipe was asked for")?;
        Ok(Worker {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// Tells it something; it answers with a figure.
    pub(crate) fn figure(&mut self, line: &str) -> Result<f64, Failure> {
        let answer = self.ask(line)?;
        let figure = answer.trim().parse();
        figure.map_err(|_| format!("a client of the benchmark says: {answer}").into())
    }

    fn ask(&mut self, line: &str) -> Result<String, Failure> {
        self.input.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        match self.output.read_line(&mut answer)? {
            0 => Err(format!("a client of the benchmark ended at {line:?}").into()),
            _ => Ok(answer),
        }
    }

    /// Nanoseconds of a line there and back.
    pub(crate) fn echoes(&mut self, count: u32) -> Result<f64, Failure> {
        let mut outcome = Ok(());
        let ns = ns_each(count, || {
            if let Err(failure) = self.ask("1") {
                outcome = Err(failure);
            }
        });
        outcome.map(|()| ns)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Many clients that hold a little and do nothing.
#[derive(Debug)]
pub(crate) struct Crowd {
    children: Vec<Child>,
}

impl Crowd {
    pub(crate) fn start(manager: &Manager, count: u32) -> Result<Self, Failure> {
        let mut crowd = Crowd {
            children: Vec::new(),
        };
        for _ in 0..count {
            let child = this_program()?
                .env("VIDMM_SOCKET", manager.socket())
                .env("VIDMM_MODE", "shared")
                .args(["bench-worker", "idle"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?;
            crowd.children.push(child);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
