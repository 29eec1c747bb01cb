//! Processes come, part and die; and what the ledger did not take.

use vidmm_wire::{Join, NoCredit, Reception, Refusal, ToClient, Welcome, WhyNot, WhyRefused};

use crate::client::{Client, Growth};
use crate::event::{Action, ConnectionId, Identity, Ledgered, Millis, ProcessId, Severity};
use crate::manager::{Manager, log};
use crate::settings::{Settings, Terms};
use crate::shares::{Shares, reservable, to_u64};

impl Manager {
    /// A process that the manager before this one had granted something. It is counted at that
    /// until it reports.
    pub(crate) fn restore(&mut self, entry: Ledgered) {
        let process = entry.who.process;
        if self.clients.get(process).is_some() {
            return;
        }
        self.clients.insert(Client::new(entry.who, entry.terms));
        self.clients.set_charge(process, entry.charged_bytes);
        self.charges_changed();
    }

    pub(crate) fn join(
        &mut self,
        connection: ConnectionId,
        who: Identity,
        terms: Terms,
        join: Join,
        resident_bytes: Option<u64>,
        actions: &mut Vec<Action>,
    ) {
        let process = who.process;
        let before_bytes = match self.may_join(connection, process) {
            Ok(before_bytes) => before_bytes,
            Err(why) => {
                let text = format!("does not join: {}", refusal_text(why));
                log(Severity::Info, Some(process), text, actions);
                actions.push(refuse(connection, why));
                return;
            }
        };
        let charge = self.believed(before_bytes, &terms, join.held_bytes, resident_bytes);
        match self.clients.get_mut(process) {
            Some(client) => client.who = who,
            None => self.clients.insert(Client::new(who, terms)),
        }
        self.clients.set_terms(process, terms);
        self.clients.set_charge(process, charge);
        self.clients.connect(process, connection);
        self.reserve(process, join.reservation_bytes);
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        client.resident = resident_bytes;
        client.growth = Some(Growth::Welcome { before_bytes });
        client.grown_in_turn = self.turn;
        self.welcome(process, connection, join, actions);
        self.charges_changed();
    }

    /// Whether a process may join, and if so what it is counted at until now.
    fn may_join(
        &self,
        connection: ConnectionId,
        process: ProcessId,
    ) -> Result<Option<u64>, WhyRefused> {
        if self.clients.of_connection(connection).is_some() {
            return Err(WhyRefused::Malformed);
        }
        match self.clients.get(process) {
            Some(client) if client.connection.is_some() => Err(WhyRefused::AlreadyJoined),
            Some(client) => Ok(Some(client.charge())),
            None => {
                let clients_max = usize::try_from(self.settings.clients_max).unwrap_or(usize::MAX);
                match self.clients.len() < clients_max {
                    true => Ok(None),
                    false => Err(WhyRefused::Full),
                }
            }
        }
    }

    /// How much of what a joiner says it holds is believed: what it was counted at before, or what
    /// the kernel counts for it if that is more (memory may be charged that was never touched).
    /// Where the kernel does not tell, what is free stands in, so that nobody has to give for it.
    fn believed(
        &self,
        before_bytes: Option<u64>,
        terms: &Terms,
        held_bytes: u64,
        resident_bytes: Option<u64>,
    ) -> u64 {
        let before = before_bytes.unwrap_or(0);
        let witnessed = resident_bytes.unwrap_or_else(|| {
            let free = u128::try_from(self.free()).unwrap_or(0);
            to_u64(free + u128::from(before))
        });
        held_bytes
            .min(witnessed.max(before))
            .min(terms.cap_bytes.unwrap_or(u64::MAX))
    }

    fn welcome(
        &mut self,
        process: ProcessId,
        connection: ConnectionId,
        join: Join,
        actions: &mut Vec<Action>,
    ) {
        let shares = Shares::of(&self.settings, &self.clients);
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        client.noticed_budget = shares.budget(client);
        let granted_bytes = client.charge();
        actions.push(Action::Welcome {
            process,
            charged_bytes: granted_bytes,
            connection,
            reception: Reception::Welcome(Welcome {
                incarnation: self.incarnation,
                granted_bytes,
                budget_bytes: client.noticed_budget,
                whole_bytes: self.settings.budget_bytes,
                pid: process.pid,
            }),
        });
        let text = match join.held_bytes > granted_bytes {
            true => format!(
                "joins with {} bytes, of which {granted_bytes} are granted: the rest is its debt",
                join.held_bytes
            ),
            false => format!("joins with {granted_bytes} bytes"),
        };
        log(Severity::Info, Some(process), text, actions);
    }

    /// A connection is gone; if it was a client's, its process is absent from now on.
    pub(crate) fn closed(&mut self, connection: ConnectionId, actions: &mut Vec<Action>) {
        self.operator_gone(connection);
        let Some(process) = self.clients.of_connection(connection) else {
            return;
        };
        self.drop_requests(process);
        self.resolve_order_unanswered(process);
        self.forget_poll(process);
        self.clients.disconnect(process);
        self.charges_changed();
        let text = "is absent: its connection ended".to_owned();
        log(Severity::Info, Some(process), text, actions);
    }

    pub(crate) fn died(&mut self, process: ProcessId, actions: &mut Vec<Action>) {
        if self.clients.get(process).is_none() {
            return;
        }
        self.drop_requests(process);
        self.resolve_order_unanswered(process);
        self.forget_poll(process);
        let Some(client) = self.clients.remove(process) else {
            return;
        };
        self.charges_changed();
        actions.push(Action::Forget { process });
        // A child may have inherited the socket.
        if let Some(connection) = client.connection {
            actions.push(Action::Close { connection });
        }
        let text = format!("is dead; {} bytes are free", client.charge());
        log(Severity::Info, Some(process), text, actions);
    }

    /// The ledger did not take the newest growth of a charge.
    pub(crate) fn unrecorded(
        &mut self,
        process: ProcessId,
        ledger_bytes: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        let Some(growth) = client.growth.take() else {
            return;
        };
        let charge = client.charge();
        let connection = client.connection;
        match growth {
            Growth::Grant { bytes, request } => {
                let charge = charge.saturating_sub(bytes);
                self.clients.set_charge(process, charge);
                self.totals.granted = self.totals.granted.saturating_sub(1);
                self.totals.refused += 1;
                if let Some(connection) = connection {
                    let why = WhyNot::Unrecorded;
                    let message = ToClient::NoCredit(NoCredit { request, why });
                    actions.push(Action::Send {
                        connection,
                        message,
                    });
                }
            }
            Growth::Welcome { before_bytes } => {
                self.resolve_order_unanswered(process);
                self.forget_poll(process);
                self.clients.disconnect(process);
                match before_bytes {
                    Some(bytes) => self.clients.set_charge(process, bytes),
                    None => {
                        self.clients.remove(process);
                        actions.push(Action::Forget { process });
                    }
                }
                if let Some(connection) = connection {
                    actions.push(refuse(connection, WhyRefused::Unrecorded));
                }
            }
        }
        self.charges_changed();
        let text = format!("the ledger took no grant: it stays at {ledger_bytes} bytes");
        log(Severity::Warning, Some(process), text, actions);
    }

    pub(crate) fn audited(
        &mut self,
        process: ProcessId,
        resident_bytes: u64,
        actions: &mut Vec<Action>,
    ) {
        let slack = self.settings.audit_slack_bytes;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        let before = client.exceeds;
        client.resident = Some(resident_bytes);
        client.exceeds = resident_bytes > client.charge().saturating_add(slack);
        if client.exceeds && !before {
            let charge = client.charge();
            let text = format!(
                "holds {resident_bytes} bytes resident; it is granted {charge}, and {slack} beside \
                 them are let pass"
            );
            log(Severity::Warning, Some(process), text, actions);
        }
    }

    /// The configuration was read anew.
    pub(crate) fn reconfigured(&mut self, settings: Settings) {
        let settings = settings.sane();
        let set_by_operator = self.settings.budget_bytes;
        let same = settings.budget_bytes == self.configured.budget_bytes;
        self.configured = settings;
        self.settings = match same {
            true => settings.with_budget(set_by_operator),
            false => settings,
        };
        self.budget_changed();
    }

    pub(crate) fn new_terms(&mut self, process: ProcessId, terms: Terms) {
        self.clients.set_terms(process, terms);
        self.jobs.caps_changed();
        if let Some(client) = self.clients.get_mut(process) {
            client.notice_wanted = true;
        }
        self.cut_reservations();
        self.charges_changed();
    }

    /// What a client asks to have reserved, cut to what can be.
    pub(crate) fn reserve(&mut self, process: ProcessId, bytes: u64) {
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        client.notice_wanted = true;
        let configured = client.terms().reservation_bytes;
        let Some(client) = self.clients.get(process) else {
            return;
        };
        let most = reservable(&self.settings, &self.clients, client);
        let asked = bytes.min(most).saturating_sub(configured);
        self.clients.set_asked_reservation(process, asked);
        self.notices_wanted();
    }

    /// The budget is another one: everybody is told, and what is charged too much is collected.
    pub(crate) fn budget_changed(&mut self) {
        self.cut_reservations();
        for (_, client) in self.clients.iter_mut() {
            client.notice_wanted = true;
        }
        self.charges_changed();
    }

    /// Reservations come to half the budget at most: what was asked for is cut, of the newest
    /// processes first. What is configured stays.
    fn cut_reservations(&mut self) {
        let half = u128::from(self.settings.budget_bytes / 2);
        let mut excess = self.clients.reserved().saturating_sub(half);
        if excess == 0 {
            return;
        }
        let asked: Vec<(ProcessId, u64)> = (self.clients.iter())
            .map(|(process, client)| (process, client.asked_reservation()))
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        for (process, bytes) in asked.into_iter().rev() {
            let cut = bytes.min(to_u64(excess));
            excess -= u128::from(cut);
            self.clients.set_asked_reservation(process, bytes - cut);
        }
    }

    /// Somebody's charge is another one, and so are budgets.
    pub(crate) fn charges_changed(&mut self) {
        self.jobs.something_changed();
        self.notices_wanted();
    }

    pub(crate) fn notices_wanted(&mut self) {
        let next = self.noticed_at.map_or(self.now, |at| {
            Millis(at.0.saturating_add(crate::notices::EVERY_MS))
        });
        self.notices_due = self.notices_due.or(Some(next.max(self.now)));
    }
}

fn refuse(connection: ConnectionId, why: WhyRefused) -> Action {
    let text = refusal_text(why).to_owned();
    Action::Refuse {
        connection,
        reception: Reception::Refused(Refusal { why, text }),
    }
}

fn refusal_text(why: WhyRefused) -> &'static str {
    match why {
        WhyRefused::Full => {
            "as many processes have joined as may: end some, or raise the manager's limit of clients"
        }
        WhyRefused::AlreadyJoined => {
            "another connection of this process has joined: close it first, one is enough"
        }
        WhyRefused::Unrecorded => {
            "the grant cannot be written to the manager's ledger: make room on its disk"
        }
        WhyRefused::Malformed => "this connection has joined before: open another one",
        WhyRefused::Version => "this version of the protocol is not served",
        WhyRefused::Unseen => "the manager cannot see this process",
        WhyRefused::NotAllowed => "this user may not join",
    }
}
