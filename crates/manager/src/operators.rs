//! What operators ask and are told.

use std::collections::BTreeSet;

use vidmm_wire::{
    ClientRow, CommandFailed, Discard, EventRow, OperatorRequest, ToOperator, WhoseEvents,
    WhyOrdered,
};

use crate::event::{Action, ConnectionId, Millis, ProcessId, Rights};
use crate::jobs::JobKind;
use crate::manager::{Manager, row};
use crate::orders::discards_most;
use crate::serving::SUPPLY_AGE_MS;
use crate::shares::Shares;

/// So many operators are served at once.
const OPERATORS_MAX: usize = 64;

/// So many of the newest orders are remembered.
const RECORDED_MAX: usize = 1024;

/// An order that was given, for whoever asks later.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) seq: u64,
    /// The user of the client that got it.
    pub(crate) uid: u32,
    /// The user of the client that it was for.
    pub(crate) beneficiary_uid: Option<u32>,
    pub(crate) row: EventRow,
}

/// An operator that waits for what clients tell.
#[derive(Debug)]
pub(crate) struct Operator {
    rights: Rights,
    /// `Some`: it wants so many discards of each client; `None`: the state of everything.
    discards: Option<u32>,
    /// Who has not told yet.
    awaits: BTreeSet<ProcessId>,
    /// It is not waited longer.
    pub(crate) due: Millis,
}

impl Manager {
    pub(crate) fn operator_asks(
        &mut self,
        connection: ConnectionId,
        rights: Rights,
        request: OperatorRequest,
        actions: &mut Vec<Action>,
    ) {
        match self.try_operate(connection, rights, request, actions) {
            Ok(()) => {}
            Err(why) => actions.push(tell(connection, ToOperator::Failed(why))),
        }
    }

    fn try_operate(
        &mut self,
        connection: ConnectionId,
        rights: Rights,
        request: OperatorRequest,
        actions: &mut Vec<Action>,
    ) -> Result<(), CommandFailed> {
        let waits = self.operators.contains_key(&connection)
            || self.jobs.operators().any(|waiting| waiting == connection);
        if waits || self.operators.len() >= OPERATORS_MAX {
            return Err(CommandFailed::Busy);
        }
        let commands = !matches!(
            request,
            OperatorRequest::Stat | OperatorRequest::Events { .. }
        );
        if commands && !rights.commands {
            return Err(CommandFailed::NotAllowed);
        }
        match request {
            OperatorRequest::Stat => self.stat(connection, rights, actions),
            OperatorRequest::Events { newest } => self.events(connection, rights, newest, actions),
            OperatorRequest::Trim { bytes } => self.trim(connection, bytes, actions)?,
            OperatorRequest::SetBudget { bytes } => self.set_budget(connection, bytes, actions)?,
            OperatorRequest::Stop => {
                actions.push(tell(connection, done()));
                actions.push(Action::Stop);
            }
        }
        Ok(())
    }

    fn trim(
        &mut self,
        connection: ConnectionId,
        bytes: u64,
        actions: &mut Vec<Action>,
    ) -> Result<(), CommandFailed> {
        if self.jobs.get(JobKind::Trim).is_some() {
            return Err(CommandFailed::Busy);
        }
        let operator = Some(connection);
        self.start_job(JobKind::Trim, WhyOrdered::Trim, bytes, operator, actions);
        Ok(())
    }

    fn set_budget(
        &mut self,
        connection: ConnectionId,
        bytes: u64,
        actions: &mut Vec<Action>,
    ) -> Result<(), CommandFailed> {
        let job = self.jobs.get(JobKind::Budget);
        if job.is_some_and(|job| job.operator.is_some()) {
            return Err(CommandFailed::Busy);
        }
        if bytes == 0 {
            let text = "a budget of 0 would leave nothing to anybody: give a size".to_owned();
            return Err(CommandFailed::BadBudget(text));
        }
        let configured = self.clients.configured();
        if u128::from(bytes) < configured {
            let text = format!(
                "{configured} bytes are reserved by configuration: give at least that, or lower \
                 the reservations first"
            );
            return Err(CommandFailed::BadBudget(text));
        }
        self.settings = self.configured.with_budget(bytes);
        self.budget_changed();
        let operator = Some(connection);
        self.start_job(JobKind::Budget, WhyOrdered::Budget, 0, operator, actions);
        Ok(())
    }

    fn stat(&mut self, connection: ConnectionId, rights: Rights, actions: &mut Vec<Action>) {
        let since = Millis(self.now.0.saturating_sub(SUPPLY_AGE_MS));
        let old = self.clients.iter().filter(|(_, client)| {
            sees(rights, client.who.uid)
                && client.connection.is_some()
                && client.responsive
                && client.figures_at.is_none_or(|at| at < since)
        });
        let awaits: BTreeSet<ProcessId> = old.map(|(process, _)| process).collect();
        for process in &awaits {
            self.send_poll(*process, 0, actions);
        }
        self.operator_waits(connection, rights, None, awaits);
    }

    fn events(
        &mut self,
        connection: ConnectionId,
        rights: Rights,
        newest: u32,
        actions: &mut Vec<Action>,
    ) {
        let skipped = self
            .recorded
            .len()
            .saturating_sub(usize::try_from(newest).unwrap_or(usize::MAX));
        for recorded in self.recorded.iter().skip(skipped) {
            if !sees(rights, recorded.uid) {
                continue;
            }
            let mut row = recorded.row;
            let seen = recorded
                .beneficiary_uid
                .is_some_and(|uid| sees(rights, uid));
            row.beneficiary_pid = if seen { row.beneficiary_pid } else { 0 };
            actions.push(tell(connection, ToOperator::Event(row)));
        }
        let discards = newest.min(discards_most());
        let heard = self.clients.iter().filter(|(_, client)| {
            discards > 0
                && sees(rights, client.who.uid)
                && client.connection.is_some()
                && client.responsive
        });
        let awaits: BTreeSet<ProcessId> = heard.map(|(process, _)| process).collect();
        for process in &awaits {
            self.send_poll(*process, discards, actions);
        }
        self.operator_waits(connection, rights, Some(discards), awaits);
    }

    fn operator_waits(
        &mut self,
        connection: ConnectionId,
        rights: Rights,
        discards: Option<u32>,
        awaits: BTreeSet<ProcessId>,
    ) {
        // A poll that was out already asked for less: then there are two to wait for.
        let answers = if discards.is_some() { 2 } else { 1 };
        let due = self.after_ms(answers * u64::from(self.settings.answer_ms));
        let operator = Operator {
            rights,
            discards,
            awaits,
            due,
        };
        self.operators.insert(connection, operator);
    }

    /// A client has told what it was polled for.
    pub(crate) fn operators_hear(
        &mut self,
        process: ProcessId,
        asked_for: u32,
        discards: Vec<Discard>,
        actions: &mut Vec<Action>,
    ) {
        let mut discards = discards;
        discards.truncate(usize::try_from(asked_for).unwrap_or(usize::MAX));
        let mut wanted = 0;
        for (connection, operator) in &mut self.operators {
            match operator.discards {
                Some(more) if more > asked_for => {
                    if operator.awaits.contains(&process) {
                        wanted = more.max(wanted);
                    }
                }
                Some(most) => {
                    if operator.awaits.remove(&process) && !discards.is_empty() {
                        let most = usize::try_from(most).unwrap_or(usize::MAX);
                        let newest = discards.len().saturating_sub(most);
                        let whose = WhoseEvents {
                            pid: process.pid,
                            discards: discards[newest..].to_vec(),
                        };
                        actions.push(tell(*connection, ToOperator::Discards(whose)));
                    }
                }
                None => {
                    operator.awaits.remove(&process);
                }
            }
        }
        if wanted > 0 {
            self.send_poll(process, wanted, actions);
        }
    }

    /// A client will not tell.
    pub(crate) fn operators_do_not_hear(&mut self, process: ProcessId) {
        for operator in self.operators.values_mut() {
            operator.awaits.remove(&process);
        }
    }

    pub(crate) fn operator_gone(&mut self, connection: ConnectionId) {
        self.operators.remove(&connection);
        self.jobs.operator_gone(connection);
    }

    /// Replies to those that have waited enough.
    pub(crate) fn run_operators(&mut self, actions: &mut Vec<Action>) {
        let now = self.now;
        let ready = self
            .operators
            .iter()
            .filter(|(_, operator)| operator.awaits.is_empty() || operator.due <= now);
        let ready: Vec<ConnectionId> = ready.map(|(connection, _)| *connection).collect();
        for connection in ready {
            let Some(operator) = self.operators.remove(&connection) else {
                continue;
            };
            if operator.discards.is_none() {
                self.say_state(connection, operator.rights, actions);
            }
            actions.push(tell(connection, done()));
        }
    }

    fn say_state(&self, connection: ConnectionId, rights: Rights, actions: &mut Vec<Action>) {
        let shares = Shares::of(&self.settings, &self.clients);
        let (mut rows, mut hidden) = (Vec::new(), 0);
        for (_, client) in self.clients.iter() {
            match sees(rights, client.who.uid) {
                true => rows.push(row(client, &shares, self.now)),
                false => hidden += 1,
            }
        }
        rows.sort_by_key(|row: &ClientRow| row.pid);
        let mut summary = self.summary(self.now);
        summary.hidden = hidden;
        actions.push(tell(connection, ToOperator::Summary(summary)));
        let rows = rows.into_iter().map(ToOperator::Client);
        actions.extend(rows.map(|row| tell(connection, row)));
    }

    pub(crate) fn remember(&mut self, recorded: Recorded) {
        if self.recorded.len() >= RECORDED_MAX {
            self.recorded.pop_front();
        }
        self.recorded.push_back(recorded);
    }

    /// Notes what came of an order, if it is still remembered.
    pub(crate) fn recall(&mut self, seq: u64, returned: u64, discarded: [u64; 3]) {
        let first = self.recorded.front().map_or(0, |recorded| recorded.seq);
        let place = seq.checked_sub(first).and_then(|n| usize::try_from(n).ok());
        let recorded = place.and_then(|place| self.recorded.get_mut(place));
        if let Some(recorded) = recorded {
            recorded.row.returned_bytes = Some(returned);
            recorded.row.discarded_bytes = discarded;
        }
    }
}

fn sees(rights: Rights, uid: u32) -> bool {
    rights.sees_all || rights.uid == uid
}

fn done() -> ToOperator {
    ToOperator::Done {
        bytes: 0,
        missing_bytes: 0,
    }
}

pub(crate) fn tell(connection: ConnectionId, message: ToOperator) -> Action {
    Action::Tell {
        connection,
        message: Box::new(message),
    }
}
