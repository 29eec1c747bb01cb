//! The request that is served next: from what is free, else from what others are ordered to give,
//! else it waits for them to offer, for as long as it is patient.

use vidmm_wire::{WhyNot, WhyOrdered};

use crate::client::Client;
use crate::event::{Action, Millis};
use crate::manager::Manager;
use crate::orders::{POLL_EVERY_MS, Polled, Whom};
use crate::plan::{Plan, Wanted, plan};
use crate::queue::{PollsAwaited, Request};
use crate::serving::{QUANTUM_PART, SUPPLY_AGE_MS};

/// Orders take at most this part of the budget more than is needed.
const OVERSHOOT_PART: u64 = 256;

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
    /// Whether the head is settled: granted, refused or gone. Otherwise it waits.
    pub(crate) fn look_at_head(&mut self, seq: u64, actions: &mut Vec<Action>) -> bool {
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
            Supplies::Some => self.plan_early(seq, own_least, missing - expected, actions),
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
            memory_only: false,
            bytes: u64::try_from(missing).unwrap_or(u64::MAX),
            own_least,
            own_enough: request.bytes,
            overshoot_most: self.settings.budget_bytes / OVERSHOOT_PART,
        }
    }

    /// Orders what the head lacks from those that have told, if they have it: who dawdles delays
    /// others no longer than it has to. Whether the head is settled.
    fn plan_early(
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
        let plan = plan(&self.givers(Whom::Told(request.process)), wanted);
        plan.missing == 0 && self.carry_out(seq, &request, plan, actions)
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
        let givers = self.givers(Whom::Responsive(Some(request.process)));
        let mut best = plan(&givers, wanted);
        if best.missing > 0 {
            // Only what all others lack is asked of those that do not answer.
            let rest = Wanted {
                bytes: best.missing,
                ..Wanted::default()
            };
            let last = plan(&self.givers(Whom::Unresponsive), rest);
            best.parts.extend(last.parts);
            best.missing = last.missing;
        }
        match best.missing {
            0 => self.carry_out(seq, &request, best, actions),
            _ => self.wait_or_refuse(seq, &request, actions),
        }
    }

    /// Does what was planned for the head; whether it is settled.
    fn carry_out(
        &mut self,
        seq: u64,
        request: &Request,
        plan: Plan,
        actions: &mut Vec<Action>,
    ) -> bool {
        // What orders of before may bring counts for a plan, but is not there yet.
        let there = self.clients.get(request.process).is_some_and(|client| {
            self.suffices(self.free(), client, request.bytes.saturating_sub(plan.own))
        });
        if plan.parts.is_empty() && there {
            let licence = self.licence(request, plan.own);
            self.grant(seq, plan.own, licence, actions);
            return true;
        }
        for part in plan.parts {
            let why = WhyOrdered::Need;
            self.send_order(part, why, Some(request.process), None, actions);
        }
        if let Some(request) = self.queue.get_mut(seq) {
            request.own = plan.own;
        }
        self.wait(seq, None);
        false
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
        if client.holds_up_from > self.now && !request.held_back {
            self.queue.hold_back(seq);
            return true;
        }
        // Perhaps something was offered just before the request came.
        if !request.patient && self.wait_for_polls(seq, request.arrived, actions) == Polled::Some {
            return false;
        }
        self.please_trim(request, actions);
        if let Some(request) = self.queue.get_mut(seq) {
            request.patient = true;
        }
        let ends = self.patience_ends(request);
        if self.now < ends {
            // Many are asked less often.
            let clients = u64::try_from(self.clients.len()).unwrap_or(u64::MAX);
            let again = self.after_ms(POLL_EVERY_MS + clients / 16);
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
}
