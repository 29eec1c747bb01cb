//! The pressure of the real machine: stall triggers, the service manager's protocol, and the check.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::error::MachineError;
use crate::files::{MachineFiles, PsiScope};
use crate::find;
use crate::marks::{available_lack_bytes, cgroup_lack_bytes};
use crate::pressure::{
    Answer, Demand, Event, Interest, Pressure, Reason, SourceReport, SourceState, Token, Watch,
};
use crate::psi::{self, PSI_TRIGGER, psi_demand_bytes};
use crate::systemd::{self, Drained, SystemdEnvironment, SystemdWatch};

/// Everything that presses on this process's memory.
///
/// - A stall event - of the machine, of this process's cgroup, or by the service manager's protocol -
///   asks for [`psi_demand_bytes`] of what can be given.
/// - A check compares each limited level of the cgroup, and the machine's available memory, with
///   their marks ([`cgroup_mark_bytes`](crate::cgroup_mark_bytes),
///   [`available_mark_bytes`](crate::available_mark_bytes)) and asks for what is lacking; where
///   several lack, for the largest lack, since each byte given helps them all.
///
/// A source that is absent or refused is left out and listed by `describe`. The stall trigger stays
/// with the cgroup the process was in at `open`; checks follow a process that is moved.
#[derive(Debug)]
pub struct MachinePressure {
    files: MachineFiles,
    watched: Vec<Watched>,
    /// How far it looks: as far as the process's own cgroup, or at the machine alone.
    scope: PsiScope,
    /// The cgroup, and the text of `/proc/self/cgroup` that led to it.
    cgroup: Option<Cgroup>,
    membership: Vec<u8>,
    reports: Vec<SourceReport>,
}

/// One descriptor that is open.
#[derive(Debug)]
struct Watched {
    token: Token,
    descriptor: OwnedFd,
    interest: Interest,
    reason: Reason,
}

impl MachinePressure {
    /// Opens what is there. Never fails: without any source it answers [`Answer::Enough`].
    ///
    /// Where `environment` turns pressure events off, no stall trigger is opened; the checks, which
    /// guard limits rather than report pressure, stay.
    #[must_use]
    pub fn open(files: MachineFiles, environment: &SystemdEnvironment) -> Self {
        let membership = find::membership_text(&files);
        let cgroup = files.cgroup();
        let mut opened = Self {
            files,
            watched: Vec::new(),
            scope: PsiScope::Cgroup,
            cgroup,
            membership,
            reports: Vec::new(),
        };
        opened.open_triggers(environment);
        opened.report_checks();
        opened
    }

    /// Opens what concerns the whole machine only: its stalls and its available memory. For whoever
    /// holds nothing itself and speaks for processes of other cgroups. Never fails, as
    /// [`MachinePressure::open`].
    #[must_use]
    pub fn open_machine(files: MachineFiles) -> Self {
        let mut opened = Self {
            files,
            watched: Vec::new(),
            scope: PsiScope::Machine,
            cgroup: None,
            membership: Vec::new(),
            reports: Vec::new(),
        };
        opened.open_machine_trigger();
        opened.report_checks();
        opened
    }

    fn open_machine_trigger(&mut self) {
        if let Some(path) = self.files.psi_path(PsiScope::Machine) {
            let opened = psi::open_trigger(&path, PSI_TRIGGER);
            let opened = opened.map(|file| (file, Interest::Priority));
            self.add(Reason::PsiMachine, path, opened);
        }
    }

    fn open_triggers(&mut self, environment: &SystemdEnvironment) {
        let cgroup = self.files.psi_path(PsiScope::Cgroup);
        let watch = environment.parse();
        if watch == Ok(SystemdWatch::Off) {
            let off = SourceState::Off("the service manager wants no reaction".to_owned());
            let machine = self.files.psi_path(PsiScope::Machine);
            self.report(Reason::PsiMachine, machine, off.clone());
            self.report(Reason::PsiCgroup, cgroup, off.clone());
            self.report(Reason::Systemd, None, off);
            return;
        }
        self.open_machine_trigger();
        let systemd_path = match watch {
            Ok(SystemdWatch::At { path, write }) => {
                let opened = systemd::open(&path, &write);
                let is_open = opened.is_ok();
                self.add(Reason::Systemd, path.clone(), opened);
                is_open.then_some(path)
            }
            Ok(_) => {
                let why = "the service manager names nothing to watch".to_owned();
                self.report(Reason::Systemd, None, SourceState::Absent(why));
                None
            }
            Err(error) => {
                self.report(
                    Reason::Systemd,
                    None,
                    SourceState::Absent(error.to_string()),
                );
                None
            }
        };
        match cgroup {
            None => {
                let why = "no cgroup of its own in the unified hierarchy".to_owned();
                self.report(Reason::PsiCgroup, None, SourceState::Absent(why));
            }
            // One file, two triggers: each stall would be answered twice.
            Some(path) if systemd_path.is_some_and(|other| is_same_file(&path, &other)) => {
                let why = "the service manager's trigger watches the same file".to_owned();
                self.report(Reason::PsiCgroup, Some(path), SourceState::Off(why));
            }
            Some(path) => {
                let opened = psi::open_trigger(&path, PSI_TRIGGER);
                self.add(
                    Reason::PsiCgroup,
                    path,
                    opened.map(|file| (file, Interest::Priority)),
                );
            }
        }
    }

    fn report_checks(&mut self) {
        if self.scope == PsiScope::Cgroup {
            let dir = self.cgroup.as_ref().map(|cgroup| cgroup.dir().to_owned());
            let state = match dir {
                Some(_) => SourceState::Checked,
                None => SourceState::Absent("no memory cgroup shows this process".to_owned()),
            };
            self.report(Reason::CgroupLimit, dir, state);
        }
        let meminfo = self.files.proc_root.join("meminfo");
        self.report(Reason::LowAvailable, Some(meminfo), SourceState::Checked);
    }

    fn add(&mut self, reason: Reason, path: PathBuf, opened: std::io::Result<(OwnedFd, Interest)>) {
        let state = match opened {
            Ok((descriptor, interest)) => {
                // There are at most three, and none is added after `open`.
                let token = Token(u32::try_from(self.watched.len()).unwrap_or(u32::MAX));
                self.watched.push(Watched {
                    token,
                    descriptor,
                    interest,
                    reason,
                });
                SourceState::Watching
            }
            Err(error) => SourceState::Absent(psi::why_absent(&error)),
        };
        self.report(reason, Some(path), state);
    }

    fn report(&mut self, reason: Reason, path: Option<PathBuf>, state: SourceState) {
        self.reports.push(SourceReport {
            reason,
            path,
            state,
        });
    }

    fn set_state(&mut self, reason: Reason, state: SourceState) {
        if let Some(report) = self
            .reports
            .iter_mut()
            .find(|report| report.reason == reason)
        {
            report.state = state;
        }
    }

    fn answer_ready(&mut self, token: Token, failed: bool, givable_bytes: u64) -> Answer {
        let Some(watched) = self.watched.iter().find(|watched| watched.token == token) else {
            // Not ours any more, or never was: the caller should not hear of it again.
            return Answer::Unwatch(token);
        };
        let reason = watched.reason;
        // A stall file is never read: waiting on it takes the event.
        let drained = match watched.interest {
            Interest::Priority => Drained::Something,
            Interest::Readable => systemd::drain(watched.descriptor.as_fd()),
        };
        if failed || drained == Drained::Closed {
            let why = "the other side has gone, or the cgroup was removed".to_owned();
            self.set_state(reason, SourceState::Failed(why));
            return Answer::Unwatch(token);
        }
        if drained == Drained::Nothing {
            return Answer::Enough;
        }
        give_back(psi_demand_bytes(givable_bytes), reason)
    }

    fn answer_check(&mut self) -> Answer {
        self.follow_cgroup();
        let cgroup = self.cgroup.as_ref().map(cgroup_lack);
        let cgroup_lack = self.checked(Reason::CgroupLimit, cgroup);
        let machine = self
            .files
            .memory()
            .map(|memory| available_lack_bytes(&memory));
        let machine_lack = self.checked(Reason::LowAvailable, Some(machine));
        if machine_lack > cgroup_lack {
            give_back(machine_lack, Reason::LowAvailable)
        } else {
            give_back(cgroup_lack, Reason::CgroupLimit)
        }
    }

    /// Takes what a check found; what it could not find is noted and lacks nothing.
    fn checked(&mut self, reason: Reason, lack: Option<Result<u64, MachineError>>) -> u64 {
        match lack {
            None => 0,
            Some(Ok(lack_bytes)) => {
                self.set_state(reason, SourceState::Checked);
                lack_bytes
            }
            Some(Err(error)) => {
                self.set_state(reason, SourceState::Failed(error.to_string()));
                0
            }
        }
    }

    /// Looks for the cgroup again if the process was moved. The short text tells; reading the mounts
    /// each time would cost more than the whole check on a machine with many containers.
    fn follow_cgroup(&mut self) {
        if self.scope == PsiScope::Machine {
            return;
        }
        let membership = find::membership_text(&self.files);
        if membership == self.membership {
            return;
        }
        self.membership = membership;
        self.cgroup = self.files.cgroup();
        self.reports
            .retain(|report| !matches!(report.reason, Reason::CgroupLimit | Reason::LowAvailable));
        self.report_checks();
    }
}

impl Pressure for MachinePressure {
    fn descriptors(&self) -> Vec<Watch<'_>> {
        let watches = self.watched.iter().map(|watched| Watch {
            token: watched.token,
            descriptor: watched.descriptor.as_fd(),
            interest: watched.interest,
        });
        watches.collect()
    }

    fn answer(&mut self, event: Event, givable_bytes: u64) -> Answer {
        match event {
            Event::Ready { token, failed } => self.answer_ready(token, failed, givable_bytes),
            Event::Check => self.answer_check(),
        }
    }

    fn forget(&mut self, token: Token) {
        self.watched.retain(|watched| watched.token != token);
    }

    fn describe(&self) -> Vec<SourceReport> {
        self.reports.clone()
    }
}

/// The largest lack of any level: a byte given back helps them all.
fn cgroup_lack(cgroup: &Cgroup) -> Result<u64, MachineError> {
    let levels = cgroup.limited_levels()?;
    Ok(levels.iter().map(cgroup_lack_bytes).max().unwrap_or(0))
}

fn give_back(bytes: u64, reason: Reason) -> Answer {
    if bytes == 0 {
        Answer::Enough
    } else {
        Answer::GiveBack(Demand { bytes, reason })
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (rustix::fs::stat(one), rustix::fs::stat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}
