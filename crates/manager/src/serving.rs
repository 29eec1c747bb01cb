//! Requests: who gets credit, who waits, who is refused.
//!
//! One request is the head. What is free beyond what must be kept serves it; what lacks is planned
//! from fresh supplies and ordered. Those behind it are served from what is free beyond what the
//! head still needs.

use vidmm_wire::{Ask, Credit, NoCredit, ToClient, WhyNot};

use crate::client::{Client, Growth, REQUESTS_MAX};
use crate::event::{Action, ConnectionId, Millis, ProcessId, Severity};
use crate::manager::{Manager, log};
use crate::orders::{POLL_EVERY_MS, Polled, Whom};
use crate::plan::{Plan, Wanted, plan};
use crate::queue::{Level, PollsAwaited, Request};
use crate::shares::{floor, to_u64};

/// A supply is worked with if it is at most so old, in milliseconds.
pub(crate) const SUPPLY_AGE_MS: u64 = 100;

/// For how long a licence to turn over one's own memory holds, in milliseconds.
const OWN_MS: u32 = 100;

/// A request is over so many times `answer_ms` after its patience, whoever it waits for.
const ANSWERS_AT_THE_END: u64 = 4;

/// So many requests behind the head are looked at in one go.
const BEHIND_MOST: usize = 64;

/// Orders take at most this part of the budget more than is needed.
const OVERSHOOT_PART: u64 = 256;

/// What a licence, or the slack beside a grant, is at most: this part of the budget.
const QUANTUM_PART: u64 = 32;

/// Answers to polls are worked with, if they will do, when this part of their time is over.
const EARLY_PART: u64 = 5;

/// How much is known of what others could give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supplies {
    /// Answers are under way.
    Awaited,
    /// Some have not told yet; it is time to try without them.
    Some,
    /// All that can be known.
    All,
}

impl Manager {
    pub(crate) fn ask(
        &mut self,
        process: ProcessId,
        connection: ConnectionId,
        ask: Ask,
        cgroup_room_bytes: Option<u64>,
        actions: &mut Vec<Action>,
    ) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        client.set_supply(ask.supply, now);
        let level = self.level(process, ask.bytes);
        let request = Request {
            process,
            connection,
            request: ask.request,
            bytes: ask.bytes,
            arrived: now,
            level,
            cgroup_room: cgroup_room_bytes.unwrap_or(u64::MAX),
            own: 0,
            patient: false,
            look_at: None,
            polls: None,
        };
        if let Err(why) = self.may_wait(&request) {
            self.say_refused(&request, why, actions);
            return;
        }
        let seq = self.queue.push(request);
        if let Some(client) = self.clients.get_mut(process) {
            client.requests += 1;
        }
        self.notices_wanted();
        // Those far behind are looked at when they come; later only with those near the head.
        if self.queue.head() != Some(seq) {
            self.serve_one_behind(seq, actions);
        }
    }

    fn level(&self, process: ProcessId, bytes: u64) -> Level {
        let Some(client) = self.clients.get(process) else {
            return Level::Other;
        };
        let after = client.charge().saturating_add(bytes);
        if after <= client.reservation() {
            Level::Reservation
        } else if after <= self.floor_of(client) {
            Level::Floor
        } else {
            Level::Other
        }
    }

    fn floor_of(&self, client: &Client) -> u64 {
        floor(&self.settings, self.clients.len(), client.terms())
    }

    /// Whether a request can be queued at all.
    fn may_wait(&self, request: &Request) -> Result<(), WhyNot> {
        let Some(client) = self.clients.get(request.process) else {
            return Err(WhyNot::Short);
        };
        if client.requests >= REQUESTS_MAX {
            return Err(WhyNot::TooMany);
        }
        if !client.responsive {
            return Err(WhyNot::Unanswered);
        }
        let settings = &self.settings;
        let beyond_reserve = settings.budget_bytes - settings.reserve_bytes;
        let ever = beyond_reserve.max(self.floor_of(client)).min(client.cap());
        match request.bytes == 0 || request.bytes > ever {
            true => Err(WhyNot::TooMuch),
            false => self.own_least(client, request).map(|_| ()),
        }
    }

    /// How much of a request must come from the client itself, for its cap or its cgroup.
    fn own_least(&self, client: &Client, request: &Request) -> Result<u64, WhyNot> {
        let to_cap = client.cap().saturating_sub(client.charge());
        let most = to_cap.min(request.cgroup_room);
        let own_least = request.bytes.saturating_sub(most);
        if own_least <= client.offered() {
            Ok(own_least)
        } else if request.cgroup_room < to_cap {
            Err(WhyNot::Cgroup)
        } else {
            Err(WhyNot::Short)
        }
    }

    /// What must be left free when a client is granted `bytes`.
    fn kept(&self, client: &Client, bytes: u64) -> u64 {
        let floor = self.floor_of(client);
        match client.charge().saturating_add(bytes) <= floor {
            true => 0,
            false => {
                let to_floor = floor.saturating_sub(client.charge());
                self.settings.reserve_bytes.saturating_sub(to_floor)
            }
        }
    }

    /// Whether `free` bytes suffice to grant a client `bytes`.
    fn suffices(&self, free: i128, client: &Client, bytes: u64) -> bool {
        bytes == 0 || free - i128::from(bytes) >= i128::from(self.kept(client, bytes))
    }

    /// Serves the queue as far as it goes.
    pub(crate) fn serve(&mut self, actions: &mut Vec<Action>) {
        self.serve_due = None;
        self.refuse_overdue(actions);
        while let Some(seq) = self.queue.head() {
            if !self.look_at_head(seq, actions) {
                self.serve_behind(actions);
                return;
            }
        }
    }

    /// When the queue is to be looked at, if nothing happens before.
    pub(crate) fn serving_due(&self) -> Option<Millis> {
        let head = self.queue.head().and_then(|seq| self.queue.get(seq));
        let overdue = self.queue.oldest().map(|(_, row)| self.overdue_at(row));
        let of_head = head.and_then(|head| head.look_at);
        [of_head, overdue].into_iter().flatten().min()
    }

    fn patience_ends(&self, request: &Request) -> Millis {
        Millis(
            request
                .arrived
                .0
                .saturating_add(u64::from(self.settings.patience_ms)),
        )
    }

    fn overdue_at(&self, request: &Request) -> Millis {
        let answers = ANSWERS_AT_THE_END * u64::from(self.settings.answer_ms);
        Millis(self.patience_ends(request).0.saturating_add(answers))
    }

    fn refuse_overdue(&mut self, actions: &mut Vec<Action>) {
        while let Some((seq, request)) = self.queue.oldest() {
            if self.overdue_at(request) > self.now {
                return;
            }
            self.refuse(seq, WhyNot::Short, actions);
        }
    }

    /// Whether the head is settled: granted, refused or gone. Otherwise it waits.
    fn look_at_head(&mut self, seq: u64, actions: &mut Vec<Action>) -> bool {
        let Some(request) = self.queue.get(seq).copied() else {
            return true;
        };
        let Some(client) = self.clients.get(request.process) else {
            self.take_out(seq);
            return true;
        };
        if client.grown_in_turn == self.turn {
            self.serve_due = Some(self.now);
            return false;
        }
        let own_least = match self.own_least(client, &request) {
            Ok(own_least) => own_least,
            Err(why) => {
                self.refuse(seq, why, actions);
                return true;
            }
        };
        let free = self.free();
        let own_planned = request.own.max(own_least);
        for own in [own_least, own_planned] {
            if self.suffices(free, client, request.bytes - own) {
                self.grant(seq, own, own, actions);
                return true;
            }
        }
        let kept = i128::from(self.kept(client, request.bytes));
        let missing = i128::from(request.bytes) + kept - free;
        let expected = i128::try_from(self.out.expected()).unwrap_or(i128::MAX);
        if missing - i128::from(own_planned) <= expected {
            self.wait(seq, None);
            return false;
        }
        if self.holds_alone(client) {
            return self.plan_head(seq, own_least, missing - expected, actions);
        }
        match self.supplies(seq, &request, actions) {
            Supplies::Awaited => false,
            Supplies::Some => {
                self.plan_early(seq, own_least, missing - expected, actions);
                false
            }
            Supplies::All => self.plan_head(seq, own_least, missing - expected, actions),
        }
    }

    fn holds_alone(&self, client: &Client) -> bool {
        self.clients.holders() == usize::from(client.charge() > 0)
    }

    /// How much is known of what others could give; polls are sent if that is old.
    fn supplies(&mut self, seq: u64, request: &Request, actions: &mut Vec<Action>) -> Supplies {
        if let Some(polls) = request.polls {
            let done = !self.out.polls_are_out() || self.now >= polls.until;
            let early = polls.early.is_some_and(|at| self.now >= at);
            let Some(request) = self.queue.get_mut(seq) else {
                return Supplies::Awaited;
            };
            if done {
                request.polls = None;
                return Supplies::All;
            }
            if early {
                let until = polls.until;
                request.polls = Some(PollsAwaited { until, early: None });
                request.look_at = Some(until);
                return Supplies::Some;
            }
            return Supplies::Awaited;
        }
        if request.patient && request.look_at.is_some_and(|at| self.now < at) {
            return Supplies::Awaited;
        }
        let age_most_ms = match request.patient {
            true => POLL_EVERY_MS - 1,
            false => SUPPLY_AGE_MS,
        };
        let since = Millis(self.now.0.saturating_sub(age_most_ms));
        match self.wait_for_polls(seq, since, actions) {
            Polled::Some => Supplies::Awaited,
            Polled::Later | Polled::None => Supplies::All,
        }
    }

    fn wait_for_polls(&mut self, seq: u64, since: Millis, actions: &mut Vec<Action>) -> Polled {
        let polled = self.poll_all(since, actions);
        let answer_ms = u64::from(self.settings.answer_ms);
        let until = self.after_ms(answer_ms);
        let early = self.after_ms(answer_ms / EARLY_PART);
        if polled == Polled::Some
            && let Some(request) = self.queue.get_mut(seq)
        {
            request.look_at = Some(early);
            let early = Some(early);
            request.polls = Some(PollsAwaited { until, early });
        }
        polled
    }

    fn wanted(&self, request: &Request, own_least: u64, missing: i128) -> Wanted {
        Wanted {
            bytes: u64::try_from(missing).unwrap_or(u64::MAX),
            own_least,
            own_enough: request.bytes,
            overshoot_most: self.settings.budget_bytes / OVERSHOOT_PART,
        }
    }

    /// Orders what the head lacks from those that have told, if they have it: who dawdles delays
    /// others no longer than it has to.
    fn plan_early(&mut self, seq: u64, own_least: u64, missing: i128, actions: &mut Vec<Action>) {
        let Some(request) = self.queue.get(seq).copied() else {
            return;
        };
        let wanted = self.wanted(&request, own_least, missing);
        let plan = plan(&self.givers(Whom::Told(request.process)), wanted);
        if plan.missing == 0 && !plan.parts.is_empty() {
            self.order_for_head(seq, &request, plan, actions);
        }
    }

    /// Orders what the head lacks if that is to be had; whether the head is settled.
    fn plan_head(
        &mut self,
        seq: u64,
        own_least: u64,
        missing: i128,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(request) = self.queue.get(seq).copied() else {
            return true;
        };
        let wanted = self.wanted(&request, own_least, missing);
        let mut plan = plan(
            &self.givers(Whom::Responsive(Some(request.process))),
            wanted,
        );
        if plan.missing > 0 {
            // Only what all others lack is asked of those that do not answer.
            let rest = Wanted {
                bytes: plan.missing,
                ..Wanted::default()
            };
            let last = crate::plan::plan(&self.givers(Whom::Unresponsive), rest);
            plan.parts.extend(last.parts);
            plan.missing = last.missing;
        }
        if plan.missing > 0 {
            return self.wait_or_refuse(seq, &request, actions);
        }
        // What orders of before may bring counts for a plan, but is not there yet.
        let there = self.clients.get(request.process).is_some_and(|client| {
            self.suffices(self.free(), client, request.bytes.saturating_sub(plan.own))
        });
        if plan.parts.is_empty() && there {
            let licence = self.licence(&request, plan.own);
            self.grant(seq, plan.own, licence, actions);
            return true;
        }
        self.order_for_head(seq, &request, plan, actions);
        false
    }

    fn order_for_head(
        &mut self,
        seq: u64,
        request: &Request,
        plan: Plan,
        actions: &mut Vec<Action>,
    ) {
        for part in plan.parts {
            let why = vidmm_wire::WhyOrdered::Need;
            self.send_order(part, why, Some(request.process), None, actions);
        }
        if let Some(request) = self.queue.get_mut(seq) {
            request.own = plan.own;
        }
        self.wait(seq, None);
    }

    fn wait(&mut self, seq: u64, look_at: Option<Millis>) {
        if let Some(request) = self.queue.get_mut(seq) {
            request.look_at = look_at;
            request.polls = None;
        }
    }

    /// What the head lacks is not to be had now: others may offer, for as long as it is patient.
    fn wait_or_refuse(&mut self, seq: u64, request: &Request, actions: &mut Vec<Action>) -> bool {
        let Some(client) = self.clients.get(request.process) else {
            return true;
        };
        if self.holds_alone(client) {
            self.refuse(seq, WhyNot::Short, actions);
            return true;
        }
        self.please_trim(request, actions);
        let ends = self.patience_ends(request);
        if self.now < ends {
            // Many are asked less often.
            let clients = u64::try_from(self.clients.len()).unwrap_or(u64::MAX);
            let again = self.after_ms(POLL_EVERY_MS + clients / 16);
            if let Some(request) = self.queue.get_mut(seq) {
                request.patient = true;
            }
            self.wait(seq, Some(again.min(ends)));
            return false;
        }
        match self.wait_for_polls(seq, request.arrived, actions) {
            Polled::Some => false,
            Polled::Later => {
                let again = self.after_ms(POLL_EVERY_MS);
                self.wait(seq, Some(again));
                false
            }
            Polled::None => {
                self.refuse(seq, WhyNot::Short, actions);
                true
            }
        }
    }

    /// How much a client may take from its own memory before it asks again, when it is told to
    /// take `own` bytes.
    fn licence(&self, request: &Request, own: u64) -> u64 {
        let Some(client) = self.clients.get(request.process) else {
            return own;
        };
        if self.holds_alone(client) {
            return u64::MAX;
        }
        if own < request.bytes {
            return own;
        }
        // If its own memory would be the best for more, too, it need not ask for that.
        let quantum = self.settings.budget_bytes / QUANTUM_PART;
        let more = request.bytes.saturating_add(quantum);
        let wanted = Wanted {
            bytes: more,
            own_enough: more,
            ..Wanted::default()
        };
        let givers = self.givers(Whom::Responsive(Some(request.process)));
        plan(&givers, wanted).own.max(own)
    }

    /// Serves those behind a head that waits.
    fn serve_behind(&mut self, actions: &mut Vec<Action>) {
        for seq in self.queue.behind(BEHIND_MOST) {
            self.serve_one_behind(seq, actions);
        }
    }

    /// Serves one that is not the head from what the head does not need. While nobody has what the
    /// head needs, those behind need not wait for what they have themselves.
    fn serve_one_behind(&mut self, seq: u64, actions: &mut Vec<Action>) {
        let head = self.queue.head().and_then(|seq| self.queue.get(seq));
        let (Some(head), Some(request)) = (head, self.queue.get(seq)) else {
            return;
        };
        let Some(client) = self.clients.get(request.process) else {
            return;
        };
        if client.grown_in_turn == self.turn {
            self.serve_due = Some(self.now);
            return;
        }
        let free = self.free() - self.claim(head);
        if self.own_least(client, request) == Ok(0) && self.suffices(free, client, request.bytes) {
            self.grant(seq, 0, 0, actions);
        } else if head.patient
            && client.offered() >= request.bytes
            && client.supply_is_fresh(self.now, SUPPLY_AGE_MS)
        {
            let own = request.bytes;
            self.grant(seq, own, own, actions);
        }
    }

    /// What of the free bytes is the head's.
    fn claim(&self, head: &Request) -> i128 {
        let Some(client) = self.clients.get(head.process) else {
            return 0;
        };
        let needs = head.bytes.saturating_sub(head.own);
        let kept = i128::from(self.kept(client, needs));
        (self.free() - kept).clamp(0, i128::from(needs))
    }

    fn take_out(&mut self, seq: u64) -> Option<Request> {
        let request = self.queue.remove(seq)?;
        if let Some(client) = self.clients.get_mut(request.process) {
            client.requests = client.requests.saturating_sub(1);
        }
        self.notices_wanted();
        Some(request)
    }

    /// Grants a request whole: `own` bytes from the client's own memory, the rest as credit.
    fn grant(&mut self, seq: u64, own: u64, licence: u64, actions: &mut Vec<Action>) {
        let Some(request) = self.take_out(seq) else {
            return;
        };
        let needs = request.bytes - own;
        let slack = match own {
            0 => self.slack(&request, needs),
            _ => 0,
        };
        let granted_bytes = needs.saturating_add(slack);
        let message = ToClient::Credit(Credit {
            request: request.request,
            granted_bytes,
            own_bytes: licence,
            own_ms: if licence > 0 { OWN_MS } else { 0 },
        });
        let (process, connection) = (request.process, request.connection);
        self.totals.granted += 1;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        if granted_bytes == 0 {
            actions.push(Action::Send {
                connection,
                message,
            });
            return;
        }
        client.growth = Some(Growth::Grant {
            bytes: granted_bytes,
            request: request.request,
        });
        client.grown_in_turn = self.turn;
        let charged_bytes = client.charge().saturating_add(granted_bytes);
        self.clients.set_charge(process, charged_bytes);
        self.charges_changed();
        actions.push(Action::Grant {
            process,
            charged_bytes,
            connection,
            message,
        });
    }

    /// What is granted beyond a need, so that the next needs no message. Nothing while anybody
    /// waits or gives.
    fn slack(&self, request: &Request, needs: u64) -> u64 {
        if !self.queue.is_empty() || self.out.expected() > 0 {
            return 0;
        }
        let Some(client) = self.clients.get(request.process) else {
            return 0;
        };
        let kept =
            i128::from(self.kept(client, needs)).max(i128::from(self.settings.reserve_bytes));
        let left = self.free() - i128::from(needs) - kept;
        let left = to_u64(u128::try_from(left).unwrap_or(0));
        let clients = u64::try_from(self.clients.len()).unwrap_or(u64::MAX).max(1);
        let slack = (self.settings.budget_bytes / QUANTUM_PART).min(left / 2 / clients);
        let to_cap = client.cap().saturating_sub(client.charge());
        let room = to_cap.min(request.cgroup_room).saturating_sub(needs);
        slack.min(room) / 4096 * 4096
    }

    fn refuse(&mut self, seq: u64, why: WhyNot, actions: &mut Vec<Action>) {
        let Some(request) = self.take_out(seq) else {
            return;
        };
        if why == WhyNot::Short {
            self.please_trim(&request, actions);
        }
        self.say_refused(&request, why, actions);
    }

    fn say_refused(&mut self, request: &Request, why: WhyNot, actions: &mut Vec<Action>) {
        self.totals.refused += 1;
        actions.push(Action::Send {
            connection: request.connection,
            message: ToClient::NoCredit(NoCredit {
                request: request.request,
                why,
            }),
        });
        let text = format!("gets no credit of {} bytes: {why:?}", request.bytes);
        log(Severity::Debug, Some(request.process), text, actions);
    }

    /// Who is unresponsive gets nothing.
    pub(crate) fn refuse_unanswered(&mut self, process: ProcessId, actions: &mut Vec<Action>) {
        for seq in self.queue.of(process) {
            self.refuse(seq, WhyNot::Unanswered, actions);
        }
    }

    /// Who is gone asks for nothing.
    pub(crate) fn drop_requests(&mut self, process: ProcessId) {
        for seq in self.queue.of(process) {
            self.take_out(seq);
        }
    }

    pub(crate) fn withdraw(&mut self, process: ProcessId, request: u32) {
        for seq in self.queue.of(process) {
            let this = self
                .queue
                .get(seq)
                .is_some_and(|row| row.request == request);
            if this {
                self.take_out(seq);
            }
        }
    }
}
