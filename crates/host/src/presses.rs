//! The machine's pressure: watched while something is charged, and not a moment longer.

use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use vidmm_machine::{
    Answer, Demand, Event, MachineFiles, MachinePressure, NoPressure, Pressure, Reason,
    SourceState, Token,
};
use vidmm_manager::Millis;

use crate::log::Log;
use crate::sources::Source;

/// Available memory is looked at so often ...
const CHECK_MS: u64 = 1000;
/// ... for so long after something was granted. Who takes nothing makes nothing scarcer; what others
/// do to the machine, its stalls tell.
const CHECKS_LAST_MS: u64 = 10_000;

/// The sources of pressure, and when they are looked at.
#[derive(Debug)]
pub(crate) struct Presses {
    sources: Box<dyn Pressure>,
    files: MachineFiles,
    watching: bool,
    next_check: Option<Millis>,
    checks_end: Millis,
}

/// The machine is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pressed {
    pub(crate) bytes: u64,
    /// By its place in the wire's list.
    pub(crate) reason: u8,
}

impl Presses {
    /// Opens what there is; says what there is not.
    pub(crate) fn open(on: bool, files: &MachineFiles, log: &mut Log) -> Self {
        let sources: Box<dyn Pressure> = match on {
            true => Box::new(MachinePressure::open_machine(files.clone())),
            false => Box::new(NoPressure),
        };
        for report in sources.describe() {
            if let SourceState::Absent(why) = &report.state {
                log.warning(
                    "no pressure events from the kernel; available memory is looked at after \
                     grants only",
                    &[("source", &report.reason), ("why", why)],
                );
            }
        }
        Presses {
            sources,
            files: files.clone(),
            watching: false,
            next_check: None,
            checks_end: Millis(0),
        }
    }

    /// Whether anything is charged; changes what is watched.
    pub(crate) fn set_charged(&mut self, epoll: &OwnedFd, charged: bool) {
        if charged == self.watching {
            return;
        }
        self.watching = charged;
        for watch in self.sources.descriptors() {
            let data = Source::Pressure(u64::from(watch.token.0)).data();
            let flags = watch.interest.epoll_flags();
            // Without it, checks remain.
            let _: Result<(), Errno> = match charged {
                true => epoll::add(epoll, watch.descriptor, data, flags),
                false => epoll::delete(epoll, watch.descriptor),
            };
        }
        if !charged {
            self.next_check = None;
        }
    }

    /// Something was granted: memory will be taken.
    pub(crate) fn granted(&mut self, now: Millis) {
        self.checks_end = Millis(now.0.saturating_add(CHECKS_LAST_MS));
        if self.next_check.is_none() {
            self.next_check = Some(Millis(now.0.saturating_add(CHECK_MS)));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.next_check
    }

    /// A source is ready.
    pub(crate) fn ready(
        &mut self,
        epoll: &OwnedFd,
        token: u64,
        failed: bool,
        givable_bytes: u64,
    ) -> Option<Pressed> {
        let token = Token(u32::try_from(token).ok()?);
        let event = Event::Ready { token, failed };
        let answer = self.sources.answer(event, givable_bytes);
        self.act(epoll, answer)
    }

    /// Looks at available memory if it is time.
    pub(crate) fn check(
        &mut self,
        epoll: &OwnedFd,
        now: Millis,
        givable_bytes: u64,
    ) -> Option<Pressed> {
        if self.next_check.is_none_or(|at| now < at) {
            return None;
        }
        let again = now < self.checks_end && self.watching;
        self.next_check = again.then(|| Millis(now.0.saturating_add(CHECK_MS)));
        let answer = self.sources.answer(Event::Check, givable_bytes);
        self.act(epoll, answer)
    }

    /// The share of time stalled over ten seconds, in hundredths of a percent.
    pub(crate) fn psi_some_avg10(&self) -> Option<u32> {
        self.files.psi_some_avg10()
    }

    fn act(&mut self, epoll: &OwnedFd, answer: Answer) -> Option<Pressed> {
        match answer {
            Answer::Enough => None,
            Answer::GiveBack(Demand { bytes, reason }) => Some(Pressed {
                bytes,
                reason: number_of(reason),
            }),
            Answer::Unwatch(token) => {
                for watch in self.sources.descriptors() {
                    if watch.token == token {
                        let _ = epoll::delete(epoll, watch.descriptor);
                    }
                }
                self.sources.forget(token);
                None
            }
        }
    }
}

/// A reason by its place in the wire's list, which has the same names.
fn number_of(reason: Reason) -> u8 {
    let found = vidmm_wire::REASONS
        .iter()
        .position(|name| *name == reason.name());
    found.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_same_names_on_the_wire() {
        for reason in Reason::ALL {
            let number = usize::from(number_of(reason));
            assert_eq!(vidmm_wire::REASONS[number], reason.name());
        }
    }

    #[test]
    fn checks_end_when_nothing_is_granted_and_at_once_when_nothing_is_charged() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut log = Log::new(
            crate::log::LogSink::Nowhere,
            crate::log::LogFormat::KeyValue,
            crate::log::LogLevel::Info,
        );
        let mut presses = Presses::open(false, &MachineFiles::default(), &mut log);
        assert_eq!(presses.deadline(), None);
        presses.set_charged(&epoll, true);
        presses.granted(Millis(1000));
        let mut checks = 0;
        while let Some(at) = presses.deadline() {
            assert_eq!(presses.check(&epoll, at, 0), None);
            checks += 1;
        }
        assert_eq!(checks, 10);
        presses.granted(Millis(50_000));
        assert!(presses.deadline().is_some());
        presses.set_charged(&epoll, false);
        assert_eq!(presses.deadline(), None);
    }
}
