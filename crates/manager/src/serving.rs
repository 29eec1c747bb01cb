//! Requests: who gets credit, who waits, who is refused.
//!
//! One request is the head. What is free beyond what must be kept serves it; what lacks is planned
//! from fresh supplies and ordered. Those behind it are served from what is free beyond what the
//! head still needs.

use vidmm_wire::{Ask, Credit, NoCredit, ToClient, WhyNot};

use crate::client::{Client, Growth, REQUESTS_MAX};
use crate::event::{Action, ConnectionId, Millis, ProcessId, Severity};
use crate::manager::{Manager, log};
use crate::queue::{Level, Request};
use crate::shares::{floor, to_u64};

/// A supply is worked with if it is at most so old, in milliseconds.
pub(crate) const SUPPLY_AGE_MS: u64 = 100;

/// For how long a licence to turn over one's own memory holds, in milliseconds.
const OWN_MS: u32 = 100;

/// A request is over so many times `answer_ms` after its patience, whoever it waits for.
const ANSWERS_AT_THE_END: u64 = 4;

/// Whoever has held up others, and in vain, holds up nobody for so many times the patience.
const HELD_BACK_PATIENCES: u64 = 4;

/// So many requests behind the head are looked at in one go.
const BEHIND_MOST: usize = 64;

/// What a licence, or the slack beside a grant, is at most: this part of the budget.
pub(crate) const QUANTUM_PART: u64 = 32;

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
        let turnover = self.totals.granted_bytes;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        client.set_supply(ask.supply, now, turnover);
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
            held_back: false,
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
    pub(crate) fn own_least(&self, client: &Client, request: &Request) -> Result<u64, WhyNot> {
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
    pub(crate) fn kept(&self, client: &Client, bytes: u64) -> u64 {
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
    pub(crate) fn suffices(&self, free: i128, client: &Client, bytes: u64) -> bool {
        bytes == 0 || free - i128::from(bytes) >= i128::from(self.kept(client, bytes))
    }

    /// Serves the queue as far as it goes; those behind the head only if something may have come
    /// in for them, or the head is another one.
    pub(crate) fn serve(&mut self, for_all: bool, actions: &mut Vec<Action>) {
        let mut for_all = for_all || self.serve_due.is_some();
        self.serve_due = None;
        self.refuse_overdue(actions);
        while let Some(seq) = self.queue.head() {
            if !self.look_at_head(seq, actions) {
                if for_all {
                    self.serve_behind(actions);
                }
                return;
            }
            for_all = true;
        }
    }

    /// When the queue is to be looked at, if nothing happens before.
    pub(crate) fn serving_due(&self) -> Option<Millis> {
        let head = self.queue.head().and_then(|seq| self.queue.get(seq));
        let overdue = self.queue.oldest().map(|(_, row)| self.overdue_at(row));
        let of_head = head.and_then(|head| head.look_at);
        [of_head, overdue].into_iter().flatten().min()
    }

    pub(crate) fn patience_ends(&self, request: &Request) -> Millis {
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

    /// Serves one client's requests behind the head, of which more is known now.
    pub(crate) fn serve_own(&mut self, process: ProcessId, actions: &mut Vec<Action>) {
        for seq in self.queue.of(process) {
            if self.queue.head() != Some(seq) {
                self.serve_one_behind(seq, actions);
            }
        }
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

    pub(crate) fn take_out(&mut self, seq: u64) -> Option<Request> {
        let request = self.queue.remove(seq)?;
        if let Some(client) = self.clients.get_mut(request.process) {
            client.requests = client.requests.saturating_sub(1);
        }
        self.notices_wanted();
        Some(request)
    }

    /// Grants a request whole: `own` bytes from the client's own memory, the rest as credit.
    pub(crate) fn grant(&mut self, seq: u64, own: u64, licence: u64, actions: &mut Vec<Action>) {
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
        self.totals.granted_bytes = self.totals.granted_bytes.saturating_add(request.bytes);
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

    pub(crate) fn refuse(&mut self, seq: u64, why: WhyNot, actions: &mut Vec<Action>) {
        let Some(request) = self.take_out(seq) else {
            return;
        };
        if why == WhyNot::Short {
            self.please_trim(&request, actions);
        }
        let pause_ms = HELD_BACK_PATIENCES * u64::from(self.settings.patience_ms);
        let from = self.after_ms(pause_ms);
        if why == WhyNot::Short
            && request.patient
            && !request.held_back
            && let Some(client) = self.clients.get_mut(request.process)
        {
            client.holds_up_from = from;
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

    /// A request that nobody waits for any more is refused: its client hears that somebody is here.
    pub(crate) fn withdraw(&mut self, process: ProcessId, request: u32, actions: &mut Vec<Action>) {
        for seq in self.queue.of(process) {
            let this = self
                .queue
                .get(seq)
                .is_some_and(|row| row.request == request);
            if this {
                self.refuse(seq, WhyNot::Withdrawn, actions);
            }
        }
    }
}
