//! The state; events to rooms; when the next deadline is.

use std::collections::{BTreeMap, VecDeque};

use vidmm_wire::{ClientRow, Summary, ToManager};

use crate::client::{Client, Clients};
use crate::event::{Action, ConnectionId, Event, LogLine, Millis, ProcessId, Severity};
use crate::jobs::Jobs;
use crate::operators::{Operator, Recorded};
use crate::orders::Outstanding;
use crate::queue::Queue;
use crate::settings::Settings;
use crate::shares::{Shares, to_u64};

/// A client is warned of in the log at most so often, in milliseconds.
const WARNING_EVERY_MS: u64 = 1000;

/// The state of the shared budget. See the crate's first page.
#[derive(Debug)]
pub struct Manager {
    pub(crate) settings: Settings,
    /// As the configuration says; an operator may have set another budget.
    pub(crate) configured: Settings,
    pub(crate) incarnation: u64,
    started: Millis,
    pub(crate) now: Millis,
    pub(crate) realtime_ms: u64,
    /// Counts events.
    pub(crate) turn: u64,
    pub(crate) clients: Clients,
    pub(crate) queue: Queue,
    pub(crate) out: Outstanding,
    pub(crate) jobs: Jobs,
    pub(crate) operators: BTreeMap<ConnectionId, Operator>,
    /// The newest orders, oldest first, each with the number of the one before plus one.
    pub(crate) recorded: VecDeque<Recorded>,
    /// The queue is to be served then.
    pub(crate) serve_due: Option<Millis>,
    /// Budgets may have changed, and clients are to be told then.
    pub(crate) notices_due: Option<Millis>,
    pub(crate) noticed_at: Option<Millis>,
    /// When clients were asked to trim last.
    pub(crate) trims_wanted_at: Option<Millis>,
    pub(crate) totals: Totals,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) granted: u64,
    /// What those asked for who were granted it, whether it was to come from others or from
    /// themselves.
    pub(crate) granted_bytes: u64,
    pub(crate) refused: u64,
    pub(crate) orders: u64,
    pub(crate) ordered_bytes: u64,
    pub(crate) psi_some_avg10: Option<u32>,
}

impl Manager {
    /// A manager without clients. `incarnation` is which life of the manager this is, never 0.
    #[must_use]
    pub fn new(settings: Settings, incarnation: u64, now: Millis) -> Self {
        let settings = settings.sane();
        Manager {
            settings,
            configured: settings,
            incarnation,
            started: now,
            now,
            realtime_ms: 0,
            turn: 0,
            clients: Clients::default(),
            queue: Queue::default(),
            out: Outstanding::default(),
            jobs: Jobs::default(),
            operators: BTreeMap::new(),
            recorded: VecDeque::new(),
            serve_due: None,
            notices_due: None,
            noticed_at: None,
            trims_wanted_at: None,
            totals: Totals::default(),
        }
    }

    /// Takes what happened and adds what is to be done, in order, to `actions`. `realtime_ms` is
    /// the realtime clock, in milliseconds since 1970, which is passed on and never compared.
    ///
    /// A process's charge grows at most once in one call.
    pub fn handle(
        &mut self,
        now: Millis,
        realtime_ms: u64,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        self.now = self.now.max(now);
        self.realtime_ms = realtime_ms;
        self.turn += 1;
        // Whether the ledger takes what was granted or welcomed is not known before the next
        // event; nobody else is granted what depends on it.
        let serve_later = matches!(
            event,
            Event::Unrecorded { .. } | Event::Joins { .. } | Event::Restored(_)
        );
        let for_all = may_serve_others(&event);
        self.dispatch(event, actions);
        self.mark_late(actions);
        match serve_later && !self.queue.is_empty() {
            true => self.serve_due = Some(self.now),
            false => self.serve(for_all, actions),
        }
        self.run_jobs(actions);
        self.run_operators(actions);
        self.send_notices(actions);
    }

    fn dispatch(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Restored(entry) => self.restore(entry),
            Event::Joins {
                connection,
                who,
                terms,
                join,
                resident_bytes,
            } => self.join(connection, who, terms, join, resident_bytes, actions),
            Event::Said {
                connection,
                message,
                cgroup_room_bytes,
            } => self.said(connection, message, cgroup_room_bytes, actions),
            Event::Closed { connection } => self.closed(connection, actions),
            Event::Died { process } => self.died(process, actions),
            Event::Asks {
                connection,
                rights,
                request,
            } => self.operator_asks(connection, rights, request, actions),
            Event::Unrecorded {
                process,
                charged_bytes,
            } => self.unrecorded(process, charged_bytes, actions),
            Event::Pressed {
                bytes,
                reason,
                psi_some_avg10,
            } => self.pressed(bytes, reason, psi_some_avg10, actions),
            Event::Audited {
                process,
                resident_bytes,
            } => self.audited(process, resident_bytes, actions),
            Event::Reconfigured { settings } => self.reconfigured(settings),
            Event::NewTerms { process, terms } => self.new_terms(process, terms),
            Event::Tick => {}
        }
    }

    fn said(
        &mut self,
        connection: ConnectionId,
        message: ToManager,
        cgroup_room_bytes: Option<u64>,
        actions: &mut Vec<Action>,
    ) {
        // Whoever has not joined, or is dead, is not heard.
        let Some(process) = self.clients.of_connection(connection) else {
            return;
        };
        match message {
            ToManager::Ask(ask) => self.ask(process, connection, ask, cgroup_room_bytes, actions),
            ToManager::Withdraw { request } => self.withdraw(process, request, actions),
            ToManager::Answer(answer) => self.answered(process, answer, actions),
            ToManager::Returned { bytes } => self.returned(process, bytes, actions),
            ToManager::Told(told) => self.told(process, told, actions),
            ToManager::Reserve { bytes } => self.reserve(process, bytes),
        }
    }

    /// When [`Event::Tick`] is to be said, if nothing else happens before; `None`: nothing is
    /// waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let due = [
            self.serve_due,
            self.notices_due,
            self.out.next_due(),
            self.serving_due(),
            self.jobs_due(),
            self.operators.values().map(|operator| operator.due).min(),
        ];
        due.into_iter().flatten().min()
    }

    /// What holds for all, as of now.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What a process is counted at, in bytes; `None`: it is not counted.
    #[must_use]
    pub fn charge_of(&self, process: ProcessId) -> Option<u64> {
        self.clients.get(process).map(Client::charge)
    }

    /// The whole, as operators see it, at `now`. The manager's process and the clients that are
    /// hidden are 0: who asks knows them.
    #[must_use]
    pub fn summary(&self, now: Millis) -> Summary {
        let count = |wanted: fn(&Client) -> bool| {
            let all = self.clients.iter();
            count_u32(all.filter(|(_, client)| wanted(client)).count())
        };
        Summary {
            budget_bytes: self.settings.budget_bytes,
            charged_bytes: to_u64(self.clients.charged()),
            reserve_bytes: self.settings.reserve_bytes,
            reserved_bytes: to_u64(self.clients.reserved()),
            clients: count(|client| client.connection.is_some()),
            absent: count(|client| client.connection.is_none()),
            unresponsive: count(|client| !client.responsive),
            waiting: count_u32(self.queue.len()),
            granted: self.totals.granted,
            refused: self.totals.refused,
            orders: self.totals.orders,
            ordered_bytes: self.totals.ordered_bytes,
            incarnation: self.incarnation,
            uptime_ms: now.0.saturating_sub(self.started.0),
            pid: 0,
            psi_some_avg10: self.totals.psi_some_avg10,
            hidden: 0,
        }
    }

    /// All clients, as operators see them, at `now`, by process.
    pub fn rows(&self, now: Millis) -> impl Iterator<Item = (ProcessId, ClientRow)> + '_ {
        let shares = Shares::of(&self.settings, &self.clients);
        let clients = self.clients.iter();
        clients.map(move |(process, client)| (process, row(client, &shares, now)))
    }

    /// What is not charged, in bytes; negative when more is charged than there is.
    pub(crate) fn free(&self) -> i128 {
        let charged = i128::try_from(self.clients.charged()).unwrap_or(i128::MAX);
        i128::from(self.settings.budget_bytes) - charged
    }

    pub(crate) fn after_ms(&self, ms: u64) -> Millis {
        Millis(self.now.0.saturating_add(ms))
    }

    /// Something about a client that somebody should look at; a client cannot fill the log.
    pub(crate) fn warn(&mut self, process: ProcessId, text: String, actions: &mut Vec<Action>) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        let recent = client
            .warned_at
            .is_some_and(|at| now.0.saturating_sub(at.0) < WARNING_EVERY_MS);
        if !recent {
            client.warned_at = Some(now);
            log(Severity::Warning, Some(process), text, actions);
        }
    }
}

/// Whether what happened may bring something to those behind the head. What one says of itself
/// does not; a flood of that must not cost a look at all each time.
fn may_serve_others(event: &Event) -> bool {
    let of_itself = |message: &ToManager| {
        matches!(
            message,
            ToManager::Ask(_) | ToManager::Told(_) | ToManager::Reserve { .. }
        )
    };
    !matches!(event, Event::Said { message, .. } if of_itself(message))
}

/// A client as operators see it.
pub(crate) fn row(client: &Client, shares: &Shares, now: Millis) -> ClientRow {
    let age_ms = client
        .figures_at
        .map_or(u64::MAX, |at| now.0.saturating_sub(at.0));
    ClientRow {
        pid: client.who.process.pid,
        uid: client.who.uid,
        name: client.who.name.clone(),
        charged_bytes: client.charge(),
        budget_bytes: shares.budget(client),
        share_bytes: shares.share(client),
        reservation_bytes: client.reservation(),
        weight_hundredths: client.terms().weight_hundredths,
        joined: client.connection.is_some(),
        responsive: client.responsive,
        resident_bytes: client.resident,
        exceeds: client.exceeds,
        age_ms: u32::try_from(age_ms).unwrap_or(u32::MAX),
        figures: client.figures,
    }
}

pub(crate) fn log(
    severity: Severity,
    process: Option<ProcessId>,
    text: String,
    actions: &mut Vec<Action>,
) {
    actions.push(Action::Log(LogLine {
        severity,
        process,
        text,
    }));
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
