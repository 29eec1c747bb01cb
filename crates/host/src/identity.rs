//! Who is behind a connection; who is dead; who holds what, as the kernel counts it.

use vidmm_manager::{ConnectionId, Event, Identity, Ledgered, ProcessId};
use vidmm_wire::{Join, WhyRefused};

use crate::clock;
use crate::connections::Stage;
use crate::ledger::Found;
use crate::server::Server;
use crate::watched::{self, Unknown};

/// So many processes are looked at in one round.
const AUDITS_PER_ROUND: usize = 128;

/// Whoever asks for the state gets counts at most so old ...
const AUDIT_FRESH_MS: u64 = 1000;

/// ... and while something is granted, they are at most so old.
const AUDIT_EVERY_MS: u64 = 60_000;

impl Server {
    /// A process of the last manager's.
    pub(crate) fn restore_one(&mut self, found: &Found) {
        let process = found.process;
        let pidfd = match watched::find(process, &self.processes) {
            Ok(pidfd) => Some(pidfd),
            Err(why) if why == Unknown::Dead || found.damaged => {
                if found.damaged {
                    self.log.warning(
                        "a damaged entry of the ledger names nobody who lives; dropped",
                        &[("pid", &process.pid)],
                    );
                }
                // On the disk it may stay: the next manager will look, too.
                let _ = self.ledger.forget(process);
                return;
            }
            Err(_) => {
                self.log.error(
                    "a process of the ledger cannot be looked at: it is counted until it joins or \
                     the manager starts anew",
                    &[("pid", &process.pid)],
                );
                None
            }
        };
        let mut charged_bytes = found.charged_bytes;
        let mut terms = found.terms;
        if found.damaged {
            let resident_bytes = self.processes.resident_bytes(process.pid).unwrap_or(0);
            let budget_bytes = self.manager.settings().budget_bytes;
            charged_bytes = charged_bytes.min(budget_bytes).max(resident_bytes);
            terms = self.terms_of(process.pid, found.uid);
            self.log.warning(
                "a damaged entry of the ledger names a living process; counted at what is more",
                &[("pid", &process.pid), ("charged_bytes", &charged_bytes)],
            );
        }
        let who = self.identity(process, found.uid);
        let watching = pidfd.map(|pidfd| self.watched.insert(&self.epoll, &who, terms, pidfd));
        if let Some(Err(error)) = watching {
            self.log.error(
                "the death of a process of the ledger will not be seen",
                &[("pid", &process.pid), ("error", &error)],
            );
        }
        // A grown entry that cannot be written: the manager counts what is more all the same.
        let _ = self.ledger.record(process, found.uid, terms, charged_bytes);
        self.feed(Event::Restored(Ledgered {
            who,
            charged_bytes,
            terms,
        }));
    }

    fn identity(&self, process: ProcessId, uid: u32) -> Identity {
        Identity {
            process,
            uid,
            name: self.processes.name(process.pid),
        }
    }

    /// What the configuration says of a process.
    pub(crate) fn terms_of(&self, pid: u32, uid: u32) -> vidmm_manager::Terms {
        let rules = &self.config.rules;
        let facets = watched::facets(
            &self.processes,
            pid,
            rules.look_at_cgroups(),
            rules.look_at_executables() && !self.executables_hidden,
        );
        self.config.terms(uid, &facets)
    }

    pub(crate) fn take_join(&mut self, id: ConnectionId, join: Join) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let peer = connection.peer;
        let (process, pidfd) = match watched::identify(connection, &self.processes) {
            Ok(found) => found,
            Err(Unknown::Dead) => return self.close(id, "dead"),
            Err(Unknown::Hidden) => {
                let text = "the manager's /proc does not show this process; mount it without \
                            hidepid, or run the manager as a user that sees it";
                return self.refuse(id, WhyRefused::Unseen, "unseen", text);
            }
            Err(Unknown::Kernel(error)) => {
                let text = format!("the manager cannot watch this process: {error}");
                return self.refuse(id, WhyRefused::Full, "no_descriptor", &text);
            }
        };
        let who = self.identity(process, peer.uid);
        let terms = self.terms_of(process.pid, peer.uid);
        if let Err(error) = self.watched.insert(&self.epoll, &who, terms, pidfd) {
            let text = format!("the manager cannot watch this process: {error}");
            return self.refuse(id, WhyRefused::Full, "no_descriptor", &text);
        }
        if let Some(watched) = self.watched.get_mut(process) {
            watched.terms = terms;
        }
        self.connections.open(id, Stage::Client(process));
        let resident_bytes = self.processes.resident_bytes(process.pid);
        self.feed(Event::Joins {
            connection: id,
            who,
            terms,
            join,
            resident_bytes,
        });
    }

    /// A client's connection is gone; the process may live.
    pub(crate) fn parted(&mut self, process: ProcessId, id: ConnectionId) {
        let counted = self.ledger.charge_of(process).is_some();
        let Some(watched) = self.watched.get_mut(process) else {
            return;
        };
        if watched.connection == Some(id) {
            watched.connection = None;
            watched.joined = false;
        }
        // Whoever was never welcomed is nobody's to watch.
        if watched.connection.is_none() && !counted {
            self.watched.remove(&self.epoll, process);
        }
    }

    pub(crate) fn process_died(&mut self, number: u64) {
        let Some(process) = self.watched.by_number(number) else {
            return;
        };
        let connection = self.watched.get(process).and_then(|gone| gone.connection);
        self.metrics.deaths.inc();
        self.feed(Event::Died { process });
        self.watched.remove(&self.epoll, process);
        // Children may have it open still.
        if let Some(id) = connection {
            self.close(id, "dead");
        }
    }

    /// Looks at what everybody holds, soon, unless that was done just now.
    pub(crate) fn begin_audit(&mut self) {
        let now = clock::now();
        let fresh = self
            .audited_at
            .is_some_and(|at| now.0 < at.0.saturating_add(AUDIT_FRESH_MS));
        if fresh || !self.audits.is_empty() {
            return;
        }
        self.audited_at = Some(now);
        self.audits.extend(self.watched.processes());
        self.audit_some();
    }

    /// Something is granted: at most once a minute everybody is looked at.
    pub(crate) fn audit_by_and_by(&mut self) {
        let now = clock::now();
        let due = self
            .audited_at
            .is_none_or(|at| now.0 >= at.0.saturating_add(AUDIT_EVERY_MS));
        if due && self.audits.is_empty() {
            self.audited_at = Some(now);
            self.audits.extend(self.watched.processes());
        }
    }

    pub(crate) fn audit_some(&mut self) {
        for _ in 0..AUDITS_PER_ROUND {
            let Some(process) = self.audits.pop_front() else {
                return;
            };
            if self.watched.get(process).is_none() {
                continue;
            }
            if let Some(resident_bytes) = self.processes.resident_bytes(process.pid) {
                self.feed(Event::Audited {
                    process,
                    resident_bytes,
                });
            }
        }
    }
}
