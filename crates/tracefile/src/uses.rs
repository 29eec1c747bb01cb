//! The requests that a trace of events stands for.
//!
//! An object is an allocation. A request for it is what makes its owner find the content there or
//! not: its creation (for the first time, so never) and each reclaim; an offer ends it. What the
//! content takes to build is often known only behind the request that had to build it, so a request
//! waits for that, and those behind it wait for their turn. What was never offered was never cached,
//! and is no request.

use std::collections::{HashMap, VecDeque};

use vidmm_trace::{Event, Kind};

use crate::access::Access;
use crate::merge::Recorded;

/// So many requests wait at most; then the first goes as it is.
const WAITING_MAX: usize = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// In the order of time.
    waiting: VecDeque<Waiting>,
    /// The number of the first of them, counted from 0 over all requests.
    first: u64,
    /// The number of an object's newest request, while that waits.
    newest: HashMap<u64, u64>,
    ended: bool,
}

#[derive(Debug)]
struct Waiting {
    access: Access,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// What it costs may still be told.
    Reclaimed,
    /// As above; and it may turn out to be no request.
    Created,
    Known,
    /// It was none.
    Never,
}

impl Uses {
    pub(crate) fn push(&mut self, recorded: &Recorded) {
        let Recorded { event, id, .. } = *recorded;
        match event.kind {
            Kind::Create => self.begin(id, &event, State::Created),
            Kind::ReclaimIntact | Kind::ReclaimDiscarded => {
                self.begin(id, &event, State::Reclaimed);
            }
            Kind::Rebuild => self.tell(id, &event, false),
            Kind::Offer => self.tell(id, &event, true),
            Kind::Destroy => self.end_of(id),
            Kind::Discard => {}
        }
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// The next request, if it is ready.
    pub(crate) fn pop(&mut self) -> Option<Access> {
        loop {
            let state = self.waiting.front()?.state;
            let is_due = self.ended || self.waiting.len() > WAITING_MAX;
            match state {
                State::Reclaimed | State::Created if !is_due => return None,
                _ => {}
            }
            let Waiting { access, .. } = self.waiting.pop_front()?;
            if self.newest.get(&access.id) == Some(&self.first) {
                self.newest.remove(&access.id);
            }
            self.first += 1;
            match state {
                State::Never => {}
                State::Created if self.ended => {}
                _ => return Some(access),
            }
        }
    }

    fn begin(&mut self, id: u64, event: &Event, state: State) {
        // Whatever the one before was waiting for did not come.
        self.settle(id);
        let cost = known(event);
        let number = self.first + self.waiting.len() as u64;
        self.waiting.push_back(Waiting {
            access: Access {
                time: event.time_ns,
                id,
                size_bytes: event.size_bytes,
                cost,
            },
            state: match (state, cost) {
                (State::Reclaimed, Some(_)) => State::Known,
                _ => state,
            },
        });
        if self.waiting.back().map(|last| last.state) != Some(State::Known) {
            self.newest.insert(id, number);
        }
    }

    fn newest(&mut self, id: u64) -> Option<&mut Waiting> {
        let number = *self.newest.get(&id)?;
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.waiting.get_mut(place)
    }

    fn settle(&mut self, id: u64) {
        if let Some(waiting) = self.newest(id) {
            waiting.state = State::Known;
            self.newest.remove(&id);
        }
    }

    fn tell(&mut self, id: u64, event: &Event, is_offer: bool) {
        let Some(waiting) = self.newest(id) else {
            return;
        };
        if let Some(cost) = known(event) {
            waiting.access.cost = Some(cost);
        }
        let is_settled = waiting.state == State::Reclaimed && waiting.access.cost.is_some();
        if is_offer || is_settled {
            self.settle(id);
        }
    }

    fn end_of(&mut self, id: u64) {
        if let Some(waiting) = self.newest(id) {
            waiting.state = match waiting.state {
                State::Created => State::Never,
                _ => State::Known,
            };
            self.newest.remove(&id);
        }
    }
}

fn known(event: &Event) -> Option<f32> {
    (event.cost_ns.is_finite() && event.cost_ns > 0.0).then_some(event.cost_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vidmm_trace::Class;

    fn recorded(time_ns: u64, id: u64, kind: Kind, cost_ns: f32) -> Recorded {
        Recorded {
            event: Event {
                time_ns,
                kind,
                class: Class::Normal,
                allocation: 1,
                size_bytes: 10 * id,
                cost_ns,
            },
            pid: 1,
            pool: 0,
            thread: 1,
            id,
        }
    }

    fn all(events: &[(u64, u64, Kind, f32)]) -> Vec<(u64, u64, Option<f32>)> {
        let mut uses = Uses::default();
        let mut out = Vec::new();
        for &(time_ns, id, kind, cost_ns) in events {
            uses.push(&recorded(time_ns, id, kind, cost_ns));
            out.extend(std::iter::from_fn(|| uses.pop()));
        }
        uses.end();
        out.extend(std::iter::from_fn(|| uses.pop()));
        out.into_iter()
            .map(|access| (access.time, access.id, access.cost))
            .collect()
    }

    #[test]
    fn a_request_is_what_an_offer_ends_and_costs_what_building_took() {
        use Kind::{Create, Destroy, Discard, Offer, Rebuild, ReclaimDiscarded, ReclaimIntact};
        let got = all(&[
            (1, 7, Create, 0.0),
            (2, 8, Create, 0.0),
            (3, 7, Rebuild, 50.0),
            (4, 7, Offer, 50.0),
            (5, 7, ReclaimIntact, 50.0),
            (6, 9, Create, 0.0),
            (7, 9, Destroy, 0.0),
            (8, 8, Offer, 0.0),
            (9, 8, Discard, 0.0),
            (10, 8, ReclaimDiscarded, 0.0),
            (11, 7, Offer, 50.0),
            (12, 8, Rebuild, 70.0),
            (13, 6, Create, 0.0),
            (14, 7, ReclaimIntact, 50.0),
        ]);
        let wanted = [
            (1, 7, Some(50.0)),
            (2, 8, None),
            (5, 7, Some(50.0)),
            // 9 was never offered, nor was 6.
            (10, 8, Some(70.0)),
            (14, 7, Some(50.0)),
        ];
        assert_eq!(got, wanted);
    }

    #[test]
    fn what_is_held_for_ever_holds_up_a_bounded_number() {
        let mut uses = Uses::default();
        uses.push(&recorded(0, 1, Kind::Create, 0.0));
        let mut out = 0;
        for time in 0..2 * WAITING_MAX as u64 {
            uses.push(&recorded(time, 2, Kind::ReclaimIntact, 5.0));
            out += std::iter::from_fn(|| uses.pop()).count();
            assert!(uses.waiting.len() <= WAITING_MAX);
        }
        assert_eq!(out, 2 * WAITING_MAX + 1, "the first of all among them");
    }
}
