//! Bytes that are collected for no request: what is charged beyond the budget, what the machine is
//! short of, what an operator trims, what the reserve lacks. One job of a kind at a time: supplies
//! are polled, orders sent, answers awaited.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use vidmm_wire::{REASONS, Threshold, ToOperator, WhyOrdered};

use crate::event::{Action, ConnectionId, Millis, ProcessId};
use crate::manager::Manager;
use crate::operators::tell;
use crate::orders::{POLL_EVERY_MS, Polled, Whom};
use crate::plan::{Part, Wanted, plan};
use crate::serving::SUPPLY_AGE_MS;
use crate::shares::{Shares, protected, to_u64};

/// The reserve is refilled at most so often, in milliseconds.
const RESERVE_EVERY_MS: u64 = 100;

/// An operator's lower budget is collected in at most so many rounds before its reply.
const ROUNDS_MOST: u32 = 8;

/// What a job is for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKind {
    Budget = 0,
    Pressure = 1,
    Trim = 2,
    Reserve = 3,
}

impl JobKind {
    const ALL: [JobKind; 4] = [
        JobKind::Budget,
        JobKind::Pressure,
        JobKind::Trim,
        JobKind::Reserve,
    ];
}

/// Bytes that are being collected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    /// So many; the budget's job finds out itself.
    bytes: u64,
    why: WhyOrdered,
    /// Who is told when it is done.
    pub(crate) operator: Option<ConnectionId>,
    /// Supplies are being polled until then; `None`: orders are out.
    polls_until: Option<Millis>,
    /// Orders that were neither answered yet nor are late.
    pending: u32,
    brought: u64,
    rounds: u32,
    /// It was wanted once more while it was under way.
    anew: bool,
}

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    running: [Option<Job>; 4],
    /// Since the last look at the budget or the reserve.
    budget_looked_at: Option<Millis>,
    budget_changed: bool,
    /// Since then somebody may be charged beyond its cap.
    caps_changed: bool,
    reserve_looked_at: Option<Millis>,
    reserve_changed: bool,
}

impl Jobs {
    pub(crate) fn get(&self, kind: JobKind) -> Option<&Job> {
        self.running[kind as usize].as_ref()
    }

    /// Charges or budget are others: more may be charged than there is, the reserve may lack
    /// something.
    pub(crate) fn something_changed(&mut self) {
        self.budget_changed = true;
        self.reserve_changed = true;
    }

    /// Terms are others: somebody may be charged beyond its cap.
    pub(crate) fn caps_changed(&mut self) {
        self.caps_changed = true;
    }

    pub(crate) fn operators(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.running.iter().flatten().filter_map(|job| job.operator)
    }

    pub(crate) fn operator_gone(&mut self, connection: ConnectionId) {
        for job in self.running.iter_mut().flatten() {
            if job.operator == Some(connection) {
                job.operator = None;
            }
        }
    }
}

impl Manager {
    /// Begins to collect, unless that kind is under way: then the operator waits for that, and a
    /// larger need replaces a smaller one.
    pub(crate) fn start_job(
        &mut self,
        kind: JobKind,
        why: WhyOrdered,
        bytes: u64,
        operator: Option<ConnectionId>,
        actions: &mut Vec<Action>,
    ) {
        if let Some(job) = &mut self.jobs.running[kind as usize] {
            job.operator = job.operator.or(operator);
            job.bytes = job.bytes.max(bytes);
            job.anew = true;
            return;
        }
        self.jobs.running[kind as usize] = Some(Job {
            bytes,
            why,
            operator,
            polls_until: None,
            pending: 0,
            brought: 0,
            rounds: 0,
            anew: false,
        });
        self.poll_for_job(kind, actions);
    }

    pub(crate) fn pressed(
        &mut self,
        bytes: u64,
        reason: u8,
        psi_some_avg10: Option<u32>,
        actions: &mut Vec<Action>,
    ) {
        self.totals.psi_some_avg10 = psi_some_avg10;
        let known = usize::from(reason) < REASONS.len();
        if bytes > 0 && known {
            let why = WhyOrdered::Pressure(reason);
            self.start_job(JobKind::Pressure, why, bytes, None, actions);
        }
    }

    fn poll_for_job(&mut self, kind: JobKind, actions: &mut Vec<Action>) {
        // An operator has perhaps seen what was offered just now.
        let age_most_ms = match self.jobs.get(kind) {
            Some(job) if job.operator.is_some() => 0,
            _ => SUPPLY_AGE_MS,
        };
        let since = Millis(self.now.0.saturating_sub(age_most_ms));
        let until = match self.poll_all(since, actions) {
            Polled::Some => self.after_ms(u64::from(self.settings.answer_ms)),
            // Polls of others may be out, and bring what this would ask for.
            Polled::Later if self.out.polls_are_out() => {
                self.after_ms(u64::from(self.settings.answer_ms))
            }
            Polled::Later | Polled::None => self.now,
        };
        if let Some(job) = &mut self.jobs.running[kind as usize] {
            job.polls_until = Some(until);
            job.rounds += 1;
        }
    }

    /// An order of a job was answered, or will not be in time.
    pub(crate) fn job_order_resolved(&mut self, kind: Option<JobKind>, brought: u64) {
        let job = kind.and_then(|kind| self.jobs.running[kind as usize].as_mut());
        if let Some(job) = job {
            job.pending = job.pending.saturating_sub(1);
            job.brought = job.brought.saturating_add(brought);
        }
    }

    /// When jobs go on, if nothing happens before.
    pub(crate) fn jobs_due(&self) -> Option<Millis> {
        let running = self.jobs.running.iter().flatten();
        let polls = running.filter_map(|job| job.polls_until).min();
        [polls, self.budget_due(), self.reserve_due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn budget_due(&self) -> Option<Millis> {
        let idle = self.jobs.get(JobKind::Budget).is_none();
        let wanted = self.jobs.budget_changed && idle;
        wanted.then(|| self.not_before(self.jobs.budget_looked_at, POLL_EVERY_MS))
    }

    fn reserve_due(&self) -> Option<Millis> {
        let idle = self.jobs.get(JobKind::Reserve).is_none();
        let wanted = self.jobs.reserve_changed && idle;
        wanted.then(|| self.not_before(self.jobs.reserve_looked_at, RESERVE_EVERY_MS))
    }

    fn not_before(&self, last: Option<Millis>, every_ms: u64) -> Millis {
        let next = last.map_or(0, |at| at.0.saturating_add(every_ms));
        Millis(next.max(self.now.0))
    }

    /// Does what is due.
    pub(crate) fn run_jobs(&mut self, actions: &mut Vec<Action>) {
        self.look_at_budget(actions);
        self.look_at_reserve(actions);
        for kind in JobKind::ALL {
            self.run_job(kind, actions);
        }
    }

    fn look_at_budget(&mut self, actions: &mut Vec<Action>) {
        let beyond_cap = |manager: &Manager| {
            let mut clients = manager.clients.iter();
            clients.any(|(_, client)| client.charge() > client.cap())
        };
        self.jobs.caps_changed = self.jobs.caps_changed && beyond_cap(self);
        let excess = self.uncollected();
        if excess == 0 && self.jobs.get(JobKind::Budget).is_none() {
            self.jobs.budget_changed = false;
        }
        if self.budget_due().is_none_or(|due| due > self.now) {
            return;
        }
        self.jobs.budget_changed = false;
        self.jobs.budget_looked_at = Some(self.now);
        self.start_job(JobKind::Budget, WhyOrdered::Budget, excess, None, actions);
    }

    fn look_at_reserve(&mut self, actions: &mut Vec<Action>) {
        let missing = self.missing_reserve();
        if missing == 0 {
            self.jobs.reserve_changed = false;
        }
        if self.reserve_due().is_none_or(|due| due > self.now) {
            return;
        }
        self.jobs.reserve_changed = false;
        self.jobs.reserve_looked_at = Some(self.now);
        self.start_job(
            JobKind::Reserve,
            WhyOrdered::Reserve,
            missing,
            None,
            actions,
        );
    }

    fn missing_reserve(&self) -> u64 {
        // What is charged beyond the budget is another job's.
        match u64::try_from(self.free()) {
            Ok(free) => self.settings.reserve_bytes.saturating_sub(free),
            Err(_) => 0,
        }
    }

    /// What is charged beyond the budget.
    fn excess(&self) -> u64 {
        to_u64(u128::try_from(-self.free()).unwrap_or(0))
    }

    /// What is charged beyond the budget or beyond caps and that nobody was ordered to return.
    fn uncollected(&self) -> u64 {
        if !self.jobs.budget_changed || (self.excess() == 0 && !self.jobs.caps_changed) {
            return 0;
        }
        let beyond_caps = self.clients.iter().map(|(_, client)| {
            let can = client.connection.is_some() && client.order.is_none() && client.responsive;
            let beyond = client.charge().saturating_sub(client.cap());
            if can {
                beyond.saturating_sub(client.owed)
            } else {
                0
            }
        });
        let most_beyond_cap = beyond_caps.max().unwrap_or(0);
        self.uncovered_excess().max(most_beyond_cap)
    }

    fn run_job(&mut self, kind: JobKind, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(kind).copied() else {
            return;
        };
        match job.polls_until {
            Some(until) if self.out.polls_are_out() && self.now < until => {}
            Some(_) => self.order_for_job(kind, actions),
            None if job.pending == 0 => self.job_done(kind, actions),
            None => {}
        }
    }

    fn order_for_job(&mut self, kind: JobKind, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(kind).copied() else {
            return;
        };
        let parts = match kind {
            JobKind::Budget => self.parts_of_excess(),
            JobKind::Reserve => self.parts(job.bytes.min(self.missing_reserve()), false),
            JobKind::Pressure | JobKind::Trim => self.parts(job.bytes, true),
        };
        let mut pending = 0;
        for part in parts {
            if self.send_order(part, job.why, None, Some(kind), actions) {
                pending += 1;
            }
        }
        if let Some(job) = &mut self.jobs.running[kind as usize] {
            job.polls_until = None;
            job.pending = pending;
        }
        if pending == 0 {
            self.job_done(kind, actions);
        }
    }

    /// Who gives so many bytes: what is unused and offered, as far as it goes.
    fn parts(&self, bytes: u64, memory_only: bool) -> Vec<Part> {
        if bytes == 0 {
            return Vec::new();
        }
        let wanted = Wanted {
            bytes,
            memory_only,
            ..Wanted::default()
        };
        let mut first = plan(&self.givers(Whom::Responsive(None)), wanted);
        let rest = Wanted {
            bytes: first.missing,
            ..wanted
        };
        if rest.bytes > 0 {
            first
                .parts
                .extend(plan(&self.givers(Whom::Unresponsive), rest).parts);
        }
        first.parts
    }

    /// Who returns what is charged too much: everything beyond a cap; what is offered, by rank; and
    /// what that lacks as a debt, of those beyond their share first, never from within floors and
    /// reservations.
    fn parts_of_excess(&self) -> Vec<Part> {
        let mut debts = self.possible_debts();
        let mut left = self.uncovered_excess();
        for debt in debts.values_mut() {
            debt.part.bytes = debt.beyond_cap;
            left = left.saturating_sub(debt.beyond_cap);
        }
        // Those that do not answer, if the others do not suffice.
        let mut last = Vec::new();
        for part in self.parts(left, false) {
            left = left.saturating_sub(part.bytes);
            match debts.get_mut(&part.process) {
                Some(debt) if debt.part.bytes > 0 => {
                    debt.part.bytes = debt.part.bytes.saturating_add(part.bytes).min(debt.most);
                }
                Some(debt) => debt.part = part,
                None => last.push(part),
            }
        }
        let mut most_beyond_first: Vec<&mut Debt> = debts.values_mut().collect();
        most_beyond_first.sort_by_key(|debt| Reverse(debt.beyond_share));
        for to_share in [true, false] {
            for debt in &mut most_beyond_first {
                let most = match to_share {
                    true => debt.most.min(debt.beyond_share),
                    false => debt.most,
                };
                let more = most.saturating_sub(debt.part.bytes).min(left);
                if more > 0 {
                    debt.part.bytes += more;
                    debt.part.thresholds = [Threshold::All; 3];
                    left -= more;
                }
            }
        }
        let parts = debts.into_values().map(|debt| debt.part);
        parts.filter(|part| part.bytes > 0).chain(last).collect()
    }

    /// What is charged beyond the budget and that nobody was ordered to return.
    fn uncovered_excess(&self) -> u64 {
        let responsive = self.clients.iter().filter(|(_, client)| client.responsive);
        let owed: u128 = responsive.map(|(_, client)| u128::from(client.owed)).sum();
        let covered = owed + self.out.expected();
        to_u64(u128::from(self.excess()).saturating_sub(covered))
    }

    /// Whoever can be ordered to return something, and how much at most.
    fn possible_debts(&self) -> BTreeMap<ProcessId, Debt> {
        let count = self.clients.len();
        let shares = Shares::of(&self.settings, &self.clients);
        let mut debts = BTreeMap::new();
        for (process, client) in self.clients.iter() {
            if client.connection.is_none() || client.order.is_some() || !client.responsive {
                continue;
            }
            let charge = client.charge().saturating_sub(client.owed);
            let beyond_cap = charge.saturating_sub(client.cap());
            let unprotected = charge.saturating_sub(protected(&self.settings, count, client));
            let debt = Debt {
                part: Part {
                    process,
                    bytes: 0,
                    thresholds: [Threshold::All; 3],
                    as_of: 0,
                },
                beyond_cap,
                beyond_share: charge.saturating_sub(shares.share(client)),
                most: unprotected.max(beyond_cap),
            };
            debts.insert(process, debt);
        }
        debts
    }

    fn job_done(&mut self, kind: JobKind, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.running[kind as usize].take() else {
            return;
        };
        let again = kind == JobKind::Budget
            && job.operator.is_some()
            && job.rounds < ROUNDS_MOST
            && (job.anew || job.brought > 0)
            && self.uncollected() > 0;
        if again {
            self.jobs.running[kind as usize] = Some(Job { anew: false, ..job });
            self.poll_for_job(kind, actions);
            return;
        }
        if let Some(connection) = job.operator {
            let missing_bytes = match kind {
                JobKind::Budget => self.excess(),
                _ => job.bytes.saturating_sub(job.brought),
            };
            let done = ToOperator::Done {
                bytes: job.brought,
                missing_bytes,
            };
            actions.push(tell(connection, done));
        }
    }
}

/// What a client is to return for good, and what it could be.
#[derive(Debug, Clone, Copy)]
struct Debt {
    part: Part,
    beyond_cap: u64,
    beyond_share: u64,
    most: u64,
}
