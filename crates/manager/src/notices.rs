//! What clients are told unasked: their budget when it has changed, and that trimming would help.

use vidmm_wire::{Notice, ToClient};

use crate::event::{Action, Millis};
use crate::manager::Manager;
use crate::queue::Request;
use crate::shares::{Shares, reservable};

/// Budgets are looked at, and a client is told its own, at most so often, in milliseconds.
pub(crate) const EVERY_MS: u64 = 100;

/// A client is asked to trim at most so often, in milliseconds.
const TRIM_EVERY_MS: u64 = 1000;

/// A budget has changed if it has by this part of the whole.
const CHANGE_PART: u64 = 64;

impl Manager {
    /// Tells whoever's budget or reservation has changed since it was told, if it is time to.
    pub(crate) fn send_notices(&mut self, actions: &mut Vec<Action>) {
        if self.notices_due.is_none_or(|due| due > self.now) {
            return;
        }
        self.notices_due = None;
        self.noticed_at = Some(self.now);
        let whole_bytes = self.settings.budget_bytes;
        let shares = Shares::of(&self.settings, &self.clients);
        let mut told = Vec::new();
        for (process, client) in self.clients.iter() {
            let Some(connection) = client.connection else {
                continue;
            };
            let budget_bytes = shares.budget(client);
            let reservation_bytes = client.reservation();
            let by = budget_bytes.abs_diff(client.noticed_budget);
            let changed = by > 0 && by >= whole_bytes / CHANGE_PART;
            let reserved = reservation_bytes != client.noticed_reservation;
            if !(changed || reserved || client.notice_wanted) {
                continue;
            }
            told.push((process, budget_bytes, reservation_bytes));
            let message = ToClient::Notice(Notice::Budget {
                budget_bytes,
                reservation_bytes,
                available_for_reservation_bytes: reservable(&self.settings, &self.clients, client),
                whole_bytes,
            });
            actions.push(Action::Send {
                connection,
                message,
            });
        }
        for (process, budget_bytes, reservation_bytes) in told {
            if let Some(client) = self.clients.get_mut(process) {
                client.noticed_budget = budget_bytes;
                client.noticed_reservation = reservation_bytes;
                client.notice_wanted = false;
            }
        }
    }

    /// Asks those beyond their share, but for the one that needs it, to trim.
    pub(crate) fn please_trim(&mut self, request: &Request, actions: &mut Vec<Action>) {
        let now = self.now;
        let lately =
            |at: Option<Millis>, ms: u64| at.is_some_and(|at| now.0.saturating_sub(at.0) < ms);
        if lately(self.trims_wanted_at, EVERY_MS) {
            return;
        }
        self.trims_wanted_at = Some(now);
        let shares = Shares::of(&self.settings, &self.clients);
        for (process, client) in self.clients.iter_mut() {
            let Some(connection) = client.connection else {
                continue;
            };
            let beyond = client.charge() > shares.share(client);
            if process == request.process || !beyond {
                continue;
            }
            if lately(client.trim_noticed_at, TRIM_EVERY_MS) {
                continue;
            }
            client.trim_noticed_at = Some(now);
            let message = ToClient::Notice(Notice::Trim {
                bytes: request.bytes,
            });
            actions.push(Action::Send {
                connection,
                message,
            });
        }
    }
}
