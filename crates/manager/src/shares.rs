//! What is whose by right: fair shares, floors, budgets, what may be reserved.

use crate::client::{Client, Clients};
use crate::settings::{Settings, Terms};

/// What a client can always reach.
pub(crate) fn floor(settings: &Settings, clients: usize, terms: &Terms) -> u64 {
    let by_default = || {
        let each = settings.reserve_bytes / clients_u64(clients);
        (settings.budget_bytes / 64).min(each)
    };
    let floor = terms.floor_bytes.unwrap_or_else(by_default);
    floor.min(terms.cap_bytes.unwrap_or(u64::MAX))
}

/// What is never ordered away from a client.
pub(crate) fn protected(settings: &Settings, clients: usize, client: &Client) -> u64 {
    floor(settings, clients, client.terms()).max(client.reservation())
}

/// What a client could have reserved in all: reservations come to half the budget at most.
pub(crate) fn reservable(settings: &Settings, clients: &Clients, client: &Client) -> u64 {
    let half = u128::from(settings.budget_bytes / 2);
    let others = clients.reserved() - u128::from(client.reservation());
    to_u64(half.saturating_sub(others)).min(client.cap())
}

/// The sums that shares and budgets are made of, as of now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    budget: u64,
    reserve: u64,
    guarded_percent: u32,
    /// Of all that hold or want something.
    weights: u64,
    /// What all have in use or reserved.
    taken: u128,
}

impl Shares {
    /// One pass over all clients.
    pub(crate) fn of(settings: &Settings, clients: &Clients) -> Self {
        let mut shares = Shares {
            budget: settings.budget_bytes,
            reserve: settings.reserve_bytes,
            guarded_percent: settings.guarded_percent,
            weights: 0,
            taken: 0,
        };
        for (_, client) in clients.iter() {
            if client.active() {
                shares.weights = shares.weights.saturating_add(client.weight());
            }
            shares.taken += u128::from(taken(client));
        }
        shares
    }

    /// A client's part of the budget, by weight, among all that hold or want something.
    pub(crate) fn share(&self, client: &Client) -> u64 {
        let own = client.weight();
        let all = match client.active() {
            true => self.weights,
            false => self.weights.saturating_add(own),
        };
        let share = u128::from(self.budget) * u128::from(own) / u128::from(all.max(1));
        to_u64(share).min(client.cap())
    }

    /// How much of its share others' needs leave a client.
    pub(crate) fn guarded(&self, client: &Client) -> u64 {
        let guarded = u128::from(self.share(client)) * u128::from(self.guarded_percent) / 100;
        to_u64(guarded)
    }

    /// What a client may use now.
    pub(crate) fn budget(&self, client: &Client) -> u64 {
        let others = self.taken.saturating_sub(u128::from(taken(client)));
        let left = u128::from(self.budget.saturating_sub(self.reserve)).saturating_sub(others);
        to_u64(left).max(self.share(client)).min(client.cap())
    }
}

/// What others cannot count on.
fn taken(client: &Client) -> u64 {
    client.in_use().max(client.reservation())
}

fn clients_u64(clients: usize) -> u64 {
    u64::try_from(clients).unwrap_or(u64::MAX).max(1)
}

/// As much of it as there can be.
pub(crate) fn to_u64(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
