//! What the manager says is to be done: packets, entries of the ledger, lines of the log.

use vidmm_manager::{Action, ConnectionId, Event, LogLine, ProcessId, Severity};
use vidmm_wire::{
    NoCredit, Reception, ToClient, ToOperator, WhyNot, WhyOrdered, WhyRefused, encode,
};

use crate::clock;
use crate::log::LogLevel;
use crate::presses::Pressed;
use crate::server::Server;

impl Server {
    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::Grant {
                process,
                charged_bytes,
                connection,
                message,
            } => self.grant(process, charged_bytes, connection, &message),
            Action::Welcome {
                process,
                charged_bytes,
                connection,
                reception,
            } => self.welcome(process, charged_bytes, connection, &reception),
            Action::Lower {
                process,
                charged_bytes,
            } => {
                // Too high an entry is safe.
                let lowered = self.ledger.lower(process, charged_bytes);
                self.count_failure(lowered);
            }
            Action::Forget { process } => {
                let forgotten = self.ledger.forget(process);
                self.count_failure(forgotten);
                // Its name is still wanted for the log.
                self.forgotten.push(process);
            }
            Action::Send {
                connection,
                message,
            } => self.send_message(connection, &message),
            Action::Refuse {
                connection,
                reception,
            } => self.refuse_with(connection, refused_label(&reception), &reception),
            Action::Tell {
                connection,
                message,
            } => self.tell(connection, *message),
            Action::Close { connection } => self.close(connection, "by_manager"),
            Action::Stop => self.stopping = true,
            Action::Log(line) => self.write_line(&line),
            // A manager of a later version: nothing that is known here.
            _ => {}
        }
    }

    fn grant(
        &mut self,
        process: ProcessId,
        charged_bytes: u64,
        connection: ConnectionId,
        message: &ToClient,
    ) {
        if self.record(process, charged_bytes) {
            self.send_message(connection, message);
        }
    }

    fn welcome(
        &mut self,
        process: ProcessId,
        charged_bytes: u64,
        connection: ConnectionId,
        reception: &Reception,
    ) {
        if !self.record(process, charged_bytes) {
            return;
        }
        if let Some(watched) = self.watched.get_mut(process) {
            watched.connection = Some(connection);
            watched.joined = true;
        }
        self.send_or_close(connection, reception.encode(self.options.served));
    }

    /// Something else has happened while actions are performed: the manager hears of it next.
    pub(crate) fn later(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Writes to the ledger what a process is counted at. If that fails nothing is to be sent, and
    /// the manager hears of it before anything else.
    fn record(&mut self, process: ProcessId, charged_bytes: u64) -> bool {
        let Some(watched) = self.watched.get(process) else {
            // Dead since: nobody is there to be told.
            return false;
        };
        let before_bytes = self.ledger.charge_of(process).unwrap_or(0);
        let recorded = self
            .ledger
            .record(process, watched.who.uid, watched.terms, charged_bytes);
        match recorded {
            Ok(()) => {
                let granted_bytes = charged_bytes.saturating_sub(before_bytes);
                self.metrics.grants.inc();
                self.metrics.granted.inc_by(granted_bytes);
                if granted_bytes > 0 {
                    self.presses.granted(clock::now());
                    self.audit_by_and_by();
                }
                true
            }
            Err(error) => {
                self.metrics.ledger_failures.inc();
                self.log.error(
                    "the ledger does not take a grant, which is refused; make room on its disk",
                    &[("pid", &process.pid), ("error", &error)],
                );
                self.events.push_front(Event::Unrecorded {
                    process,
                    charged_bytes: before_bytes,
                });
                false
            }
        }
    }

    fn count_failure(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result {
            self.metrics.ledger_failures.inc();
            self.log.warning(
                "the ledger does not take that a process is counted at less, which is safe",
                &[("error", &error)],
            );
        }
    }

    fn send_message(&mut self, connection: ConnectionId, message: &ToClient) {
        match message {
            ToClient::Order(order) => self.metrics.orders.add(ordered_label(order.why), 1),
            ToClient::NoCredit(NoCredit { why, .. }) => {
                self.metrics.refusals.add(refusal_label(*why), 1);
            }
            _ => {}
        }
        if let Some(bytes) = encode(message) {
            self.send_or_close(connection, bytes);
        }
    }

    fn tell(&mut self, connection: ConnectionId, mut message: ToOperator) {
        if let ToOperator::Summary(summary) = &mut message {
            summary.pid = std::process::id();
            summary.psi_some_avg10 = self.presses.psi_some_avg10();
        }
        if let Some(bytes) = encode(&message) {
            self.send_or_close(connection, bytes);
        }
    }

    pub(crate) fn pressed(&mut self, pressed: Option<Pressed>) {
        let Some(Pressed { bytes, reason }) = pressed else {
            return;
        };
        let name = vidmm_wire::REASONS
            .get(usize::from(reason))
            .copied()
            .unwrap_or("other");
        self.metrics.pressure.add(name, 1);
        self.log.info(
            "the machine is short of memory",
            &[("reason", &name), ("bytes", &bytes)],
        );
        let psi_some_avg10 = self.presses.psi_some_avg10();
        self.feed(Event::Pressed {
            bytes,
            reason,
            psi_some_avg10,
        });
    }

    fn write_line(&mut self, line: &LogLine) {
        let level = match line.severity {
            Severity::Warning => LogLevel::Warning,
            Severity::Info => LogLevel::Info,
            Severity::Debug => LogLevel::Debug,
        };
        let Some(process) = line.process else {
            return self.log.line(level, &line.text, &[]);
        };
        let name = self.watched.get(process).map(|watched| &watched.who.name);
        let name = name.cloned().unwrap_or_default();
        self.log
            .line(level, &line.text, &[("pid", &process.pid), ("name", &name)]);
    }
}

fn refused_label(reception: &Reception) -> &'static str {
    match reception {
        Reception::Refused(refusal) => match refusal.why {
            WhyRefused::Version => "version",
            WhyRefused::Full => "clients_full",
            WhyRefused::AlreadyJoined => "already_joined",
            WhyRefused::Unseen => "unseen",
            WhyRefused::NotAllowed => "not_allowed",
            WhyRefused::Unrecorded => "unrecorded",
            WhyRefused::Malformed => "malformed",
        },
        _ => "other",
    }
}

fn ordered_label(why: WhyOrdered) -> &'static str {
    match why {
        WhyOrdered::Need => "need",
        WhyOrdered::Budget => "budget",
        WhyOrdered::Trim => "trim",
        WhyOrdered::Pressure(_) => "pressure",
        WhyOrdered::Reserve => "reserve",
    }
}

fn refusal_label(why: WhyNot) -> &'static str {
    match why {
        WhyNot::TooMuch => "too_much",
        WhyNot::Short => "short",
        WhyNot::Cgroup => "cgroup",
        WhyNot::Unanswered => "unanswered",
        WhyNot::TooMany => "too_many",
        WhyNot::Unrecorded => "unrecorded",
        WhyNot::Withdrawn => "withdrawn",
    }
}
