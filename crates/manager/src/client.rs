//! One client, and all of them with their sums.

use std::collections::BTreeMap;

use vidmm_wire::{Figures, Order, Supply, clamp_supply};

use crate::event::{ConnectionId, Identity, Millis, ProcessId};
use crate::jobs::JobKind;
use crate::settings::Terms;

/// No client has more requests under way.
pub(crate) const REQUESTS_MAX: u32 = 64;

/// For how long a disappointing client is doubted, in milliseconds; twice as long each time.
const DOUBT_MS: u64 = 12;
const DOUBLINGS_MOST: u32 = 6;

/// An order that was not answered yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderOut {
    /// Its place among all orders.
    pub(crate) seq: u64,
    /// What was sent.
    pub(crate) order: Order,
    /// Until when it is to be answered.
    pub(crate) due: Millis,
    /// That time has passed.
    pub(crate) late: bool,
    /// What it is collected for, if that is no request.
    pub(crate) job: Option<JobKind>,
    /// What it was planned from had been told just before: the outcome tells of whoever told it.
    pub(crate) fresh: bool,
}

/// A poll that was not answered yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollOut {
    /// Its place among all polls.
    pub(crate) seq: u64,
    /// Its number.
    pub(crate) number: u32,
    /// How many discards were asked for.
    pub(crate) discards_max: u32,
    /// Until when it is to be answered.
    pub(crate) due: Millis,
    /// That time has passed.
    pub(crate) late: bool,
}

/// What the newest growth of a charge was, in case the ledger does not take it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Growth {
    /// A grant: of so many bytes, for that request.
    Grant { bytes: u64, request: u32 },
    /// A welcome: what the process was counted at before, if it was counted.
    Welcome { before_bytes: Option<u64> },
}

/// A process that is counted.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) who: Identity,
    terms: Terms,
    /// `None`: absent.
    pub(crate) connection: Option<ConnectionId>,
    charge: u64,
    /// What it asked to have reserved and got, beside what its terms say.
    asked_reservation: u64,
    /// What it could give, as it said last; `None`: not known.
    pub(crate) supply: Option<Supply>,
    /// When it said so.
    pub(crate) supply_at: Millis,
    /// How many bytes had been asked for by then, by all together, in requests that were granted.
    supply_turnover: u64,
    pub(crate) figures: Figures,
    pub(crate) figures_at: Option<Millis>,
    pub(crate) order: Option<OrderOut>,
    pub(crate) poll: Option<PollOut>,
    /// When it was polled last.
    pub(crate) polled_at: Option<Millis>,
    pub(crate) responsive: bool,
    /// How many orders in a row brought less than half of what it had said it could give.
    pub(crate) disappointments: u32,
    /// What it says it could give is not built upon until then.
    pub(crate) doubted_until: Millis,
    /// Until then its requests do not hold up others: one has, and came to nothing.
    pub(crate) holds_up_from: Millis,
    /// How many of its requests wait.
    pub(crate) requests: u32,
    /// What it owes of standing orders that it has answered.
    pub(crate) owed: u64,
    pub(crate) resident: Option<u64>,
    pub(crate) exceeds: bool,
    pub(crate) noticed_budget: u64,
    pub(crate) noticed_reservation: u64,
    /// It is to be told its budget whatever it was told before.
    pub(crate) notice_wanted: bool,
    pub(crate) trim_noticed_at: Option<Millis>,
    pub(crate) warned_at: Option<Millis>,
    pub(crate) growth: Option<Growth>,
    /// In which turn its charge grew last.
    pub(crate) grown_in_turn: u64,
}

impl Client {
    /// A process that is counted at nothing yet, not connected.
    pub(crate) fn new(who: Identity, terms: Terms) -> Self {
        Client {
            who,
            terms,
            connection: None,
            charge: 0,
            asked_reservation: 0,
            supply: None,
            supply_at: Millis(0),
            supply_turnover: 0,
            figures: Figures::default(),
            figures_at: None,
            order: None,
            poll: None,
            polled_at: None,
            responsive: true,
            disappointments: 0,
            doubted_until: Millis(0),
            holds_up_from: Millis(0),
            requests: 0,
            owed: 0,
            resident: None,
            exceeds: false,
            noticed_budget: 0,
            noticed_reservation: 0,
            notice_wanted: false,
            trim_noticed_at: None,
            warned_at: None,
            growth: None,
            grown_in_turn: 0,
        }
    }

    pub(crate) fn charge(&self) -> u64 {
        self.charge
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// All that is reserved for it.
    pub(crate) fn reservation(&self) -> u64 {
        self.terms
            .reservation_bytes
            .saturating_add(self.asked_reservation)
    }

    pub(crate) fn asked_reservation(&self) -> u64 {
        self.asked_reservation
    }

    pub(crate) fn cap(&self) -> u64 {
        self.terms.cap_bytes.unwrap_or(u64::MAX)
    }

    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.terms.weight_hundredths.max(1))
    }

    /// It holds or wants something.
    pub(crate) fn active(&self) -> bool {
        self.charge > 0 || self.requests > 0
    }

    /// What it has in use, as far as is known.
    pub(crate) fn in_use(&self) -> u64 {
        let idle = self.supply.as_ref().map_or(0, |supply| {
            let unused = supply.unused_bytes.saturating_add(supply.warm_bytes);
            supply.offered_bytes().saturating_add(unused)
        });
        self.charge.saturating_sub(idle)
    }

    /// What it has offered, as far as is known.
    pub(crate) fn offered(&self) -> u64 {
        self.supply.as_ref().map_or(0, Supply::offered_bytes)
    }

    /// Takes what it says it could give, within what it can.
    /// `turnover` is how much has been granted to all so far, in bytes.
    pub(crate) fn set_supply(&mut self, mut supply: Supply, now: Millis, turnover: u64) {
        clamp_supply(&mut supply, self.charge);
        self.supply = Some(supply);
        self.supply_at = now;
        self.supply_turnover = turnover;
    }

    /// Whether it said what it could give since then, and not so much was granted after it that
    /// there will be something else to give by now.
    pub(crate) fn supply_serves(&self, since: Millis, turnover: u64, turnover_most: u64) -> bool {
        self.supply.is_some()
            && self.supply_at >= since
            && turnover.saturating_sub(self.supply_turnover) <= turnover_most
    }

    /// Notes how far an order's outcome was what it had led to expect. Whoever disappoints again
    /// and again is built upon less and less often.
    pub(crate) fn judge(&mut self, ordered: u64, returned: u64, now: Millis) {
        if returned >= ordered / 2 {
            self.disappointments = 0;
            return;
        }
        self.disappointments = self.disappointments.saturating_add(1);
        let pause_ms = DOUBT_MS << self.disappointments.min(DOUBLINGS_MOST);
        self.doubted_until = Millis(now.0.saturating_add(pause_ms));
    }

    /// Whether what is known of its supply is at most so old.
    pub(crate) fn supply_is_fresh(&self, now: Millis, age_most_ms: u64) -> bool {
        self.supply.is_some() && now.0.saturating_sub(self.supply_at.0) <= age_most_ms
    }

    /// Forgets all that hung on its connection.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
        self.supply = None;
        self.order = None;
        self.poll = None;
        self.owed = 0;
        self.responsive = true;
    }
}

/// All clients, by process, with their sums.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    rows: BTreeMap<ProcessId, Client>,
    by_connection: BTreeMap<ConnectionId, ProcessId>,
    charged: u128,
    configured: u128,
    asked: u128,
    holders: usize,
}

impl Clients {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many have a charge.
    pub(crate) fn holders(&self) -> usize {
        self.holders
    }

    /// The sum of all charges.
    pub(crate) fn charged(&self) -> u128 {
        self.charged
    }

    /// What is reserved by terms.
    pub(crate) fn configured(&self) -> u128 {
        self.configured
    }

    /// All that is reserved.
    pub(crate) fn reserved(&self) -> u128 {
        self.configured + self.asked
    }

    pub(crate) fn get(&self, process: ProcessId) -> Option<&Client> {
        self.rows.get(&process)
    }

    pub(crate) fn get_mut(&mut self, process: ProcessId) -> Option<&mut Client> {
        self.rows.get_mut(&process)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProcessId, &Client)> {
        self.rows.iter().map(|(process, client)| (*process, client))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ProcessId, &mut Client)> {
        self.rows
            .iter_mut()
            .map(|(process, client)| (*process, client))
    }

    pub(crate) fn of_connection(&self, connection: ConnectionId) -> Option<ProcessId> {
        self.by_connection.get(&connection).copied()
    }

    pub(crate) fn insert(&mut self, client: Client) {
        let process = client.who.process;
        self.remove(process);
        self.configured += u128::from(client.terms.reservation_bytes);
        self.asked += u128::from(client.asked_reservation);
        self.charged += u128::from(client.charge);
        self.holders += usize::from(client.charge > 0);
        if let Some(connection) = client.connection {
            self.by_connection.insert(connection, process);
        }
        self.rows.insert(process, client);
    }

    pub(crate) fn remove(&mut self, process: ProcessId) -> Option<Client> {
        let client = self.rows.remove(&process)?;
        self.configured -= u128::from(client.terms.reservation_bytes);
        self.asked -= u128::from(client.asked_reservation);
        self.charged -= u128::from(client.charge);
        self.holders -= usize::from(client.charge > 0);
        if let Some(connection) = client.connection {
            self.by_connection.remove(&connection);
        }
        Some(client)
    }

    /// Counts a client at `bytes`.
    pub(crate) fn set_charge(&mut self, process: ProcessId, bytes: u64) {
        let Some(client) = self.rows.get_mut(&process) else {
            return;
        };
        self.charged = self.charged - u128::from(client.charge) + u128::from(bytes);
        self.holders -= usize::from(client.charge > 0);
        self.holders += usize::from(bytes > 0);
        client.charge = bytes;
        if let Some(supply) = &mut client.supply {
            clamp_supply(supply, bytes);
        }
    }

    pub(crate) fn set_asked_reservation(&mut self, process: ProcessId, bytes: u64) {
        let Some(client) = self.rows.get_mut(&process) else {
            return;
        };
        self.asked = self.asked - u128::from(client.asked_reservation) + u128::from(bytes);
        client.asked_reservation = bytes;
    }

    pub(crate) fn set_terms(&mut self, process: ProcessId, terms: Terms) {
        let Some(client) = self.rows.get_mut(&process) else {
            return;
        };
        self.configured = self.configured - u128::from(client.terms.reservation_bytes)
            + u128::from(terms.reservation_bytes);
        client.terms = terms;
    }

    pub(crate) fn connect(&mut self, process: ProcessId, connection: ConnectionId) {
        if let Some(client) = self.rows.get_mut(&process) {
            client.connection = Some(connection);
            self.by_connection.insert(connection, process);
        }
    }

    /// Makes a client absent; which connection it had.
    pub(crate) fn disconnect(&mut self, process: ProcessId) -> Option<ConnectionId> {
        let client = self.rows.get_mut(&process)?;
        let connection = client.connection?;
        client.disconnect();
        self.by_connection.remove(&connection);
        Some(connection)
    }
}
