//! A snapshot as one JSON object. The names of the fields are a promise: they stay. Sizes are in
//! bytes, times in milliseconds.

use std::path::Path;

use serde::Serialize;
use vidmm_wire::{
    ClassFigures, ClientRow, Discard, EventRow, Figures, REASONS, Summary, Threshold, WhyOrdered,
};

use crate::operator::{Explained, Snapshot};
use crate::output::Failure;
use crate::words::CLASSES;

/// The name and version of the JSON's form.
const SCHEMA: &str = "vidmm.stat/1";

/// The whole object, ended by a newline. Without `explained`, `events` and `discards` are `null`:
/// not asked for.
///
/// # Errors
/// None in practice: all fields are numbers and text.
pub(crate) fn text(
    socket: &Path,
    snapshot: &Snapshot,
    explained: Option<&Explained>,
) -> Result<String, Failure> {
    let stat = Stat {
        schema: SCHEMA,
        socket: socket.display().to_string(),
        summary: snapshot.summary,
        clients: snapshot.clients.iter().map(Client::of).collect(),
        events: explained.map(|explained| explained.orders.iter().map(Event::of).collect()),
        discards: explained.map(discards),
    };
    let mut text = serde_json::to_string_pretty(&stat)?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
struct Stat {
    schema: &'static str,
    socket: String,
    // All of its fields, by the names that they have on the wire.
    #[serde(flatten)]
    summary: Summary,
    clients: Vec<Client>,
    events: Option<Vec<Event>>,
    discards: Option<Vec<ExplainedDiscard>>,
}

/// Something for each class.
#[derive(Serialize)]
struct ByClass<T> {
    low: T,
    normal: T,
    high: T,
}

impl<T> From<[T; 3]> for ByClass<T> {
    fn from([low, normal, high]: [T; 3]) -> Self {
        Self { low, normal, high }
    }
}

#[derive(Serialize)]
struct Client {
    pid: u32,
    uid: u32,
    name: String,
    charged_bytes: u64,
    budget_bytes: u64,
    share_bytes: u64,
    reservation_bytes: u64,
    weight_hundredths: u32,
    joined: bool,
    responsive: bool,
    exceeds: bool,
    resident_bytes: Option<u64>,
    age_ms: u32,
    #[serde(flatten)]
    figures: ClientFigures,
}

/// What a client told of itself.
#[derive(Serialize)]
pub(crate) struct ClientFigures {
    held_bytes: u64,
    committed: ClassFigures,
    locked: ClassFigures,
    offered: ByClass<ClassFigures>,
    discarded_now: ClassFigures,
    warm_bytes: u64,
    refused_bytes: u64,
    discards: ByClass<ClassFigures>,
    reclaims_intact: u64,
    reclaims_discarded: u64,
}

impl ClientFigures {
    pub(crate) fn of(figures: &Figures) -> Self {
        Self {
            held_bytes: figures.held_bytes,
            committed: figures.committed,
            locked: figures.locked,
            offered: figures.offered.into(),
            discarded_now: figures.discarded_now,
            warm_bytes: figures.warm_bytes,
            refused_bytes: figures.refused_bytes,
            discards: figures.discards.into(),
            reclaims_intact: figures.reclaims_intact,
            reclaims_discarded: figures.reclaims_discarded,
        }
    }
}

impl Client {
    fn of(row: &ClientRow) -> Self {
        Self {
            pid: row.pid,
            uid: row.uid,
            name: row.name.clone(),
            charged_bytes: row.charged_bytes,
            budget_bytes: row.budget_bytes,
            share_bytes: row.share_bytes,
            reservation_bytes: row.reservation_bytes,
            weight_hundredths: row.weight_hundredths,
            joined: row.joined,
            responsive: row.responsive,
            exceeds: row.exceeds,
            resident_bytes: row.resident_bytes,
            age_ms: row.age_ms,
            figures: ClientFigures::of(&row.figures),
        }
    }
}

#[derive(Serialize)]
struct Event {
    order: u32,
    at_ms: u64,
    pid: u32,
    beneficiary_pid: u32,
    why: &'static str,
    bytes: u64,
    /// Up to which rank each class might be discarded; `null` is nothing.
    thresholds: ByClass<Option<u32>>,
    returned_bytes: Option<u64>,
    discarded_bytes: ByClass<u64>,
}

impl Event {
    fn of(row: &EventRow) -> Self {
        let rank = |threshold| match threshold {
            Threshold::Nothing => None,
            Threshold::UpTo(rank) => Some(rank),
            Threshold::All => Some(u32::MAX),
        };
        Self {
            order: row.order,
            at_ms: row.at_ms,
            pid: row.pid,
            beneficiary_pid: row.beneficiary_pid,
            why: why(row.why),
            bytes: row.bytes,
            thresholds: row.thresholds.map(rank).into(),
            returned_bytes: row.returned_bytes,
            discarded_bytes: row.discarded_bytes.into(),
        }
    }
}

#[derive(Serialize)]
struct ExplainedDiscard {
    pid: u32,
    number: u64,
    at_ms: u64,
    allocation: u32,
    bytes: u64,
    class: &'static str,
    rank: u32,
    reason: &'static str,
    beneficiary_pid: u32,
    /// The order that asked for it; 0 is none.
    order: u32,
    /// Why that order was given; `null` if there was none, or it is forgotten.
    order_why: Option<&'static str>,
}

fn discards(explained: &Explained) -> Vec<ExplainedDiscard> {
    let one = |pid: u32, discard: &Discard| ExplainedDiscard {
        pid,
        number: discard.number,
        at_ms: discard.at_ms,
        allocation: discard.allocation,
        bytes: discard.bytes,
        class: CLASSES
            .get(usize::from(discard.class))
            .copied()
            .unwrap_or("unknown"),
        rank: discard.rank,
        reason: reason(discard.reason),
        beneficiary_pid: discard.beneficiary_pid,
        order: discard.order,
        order_why: explained
            .orders
            .iter()
            .find(|order| order.order == discard.order && order.pid == pid)
            .map(|order| why(order.why)),
    };
    explained
        .discards
        .iter()
        .flat_map(|whose| {
            whose
                .discards
                .iter()
                .map(move |discard| one(whose.pid, discard))
        })
        .collect()
}

fn why(why: WhyOrdered) -> &'static str {
    match why {
        WhyOrdered::Need => "need",
        WhyOrdered::Budget => "budget",
        WhyOrdered::Trim => "operator_trim",
        WhyOrdered::Pressure(number) => reason(number),
        WhyOrdered::Reserve => "reserve",
    }
}

fn reason(number: u8) -> &'static str {
    REASONS
        .get(usize::from(number))
        .copied()
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fake::{client, summary};
    use vidmm_wire::WhoseEvents;

    #[test]
    fn the_json_has_all_figures() {
        let snapshot = Snapshot {
            summary: summary(),
            clients: vec![client(4711, "viewer", 68 << 20)],
        };
        let value = |explained| -> serde_json::Value {
            serde_json::from_str(&text(Path::new("/x"), &snapshot, explained).unwrap()).unwrap()
        };
        let plain = value(None);
        assert_eq!(plain["schema"], "vidmm.stat/1");
        assert_eq!(plain["budget_bytes"], 1 << 30);
        assert_eq!(plain["psi_some_avg10"], 123);
        assert!(plain["events"].is_null() && plain["discards"].is_null());
        let viewer = &plain["clients"][0];
        assert_eq!(viewer["charged_bytes"], 68 << 20);
        assert_eq!(viewer["offered"]["high"]["bytes"], 50 << 20);
        assert_eq!(viewer["discards"]["low"]["count"], 100);
        assert_eq!(viewer["reclaims_intact"], 900);

        let order = EventRow {
            order: 3,
            at_ms: 5,
            pid: 4711,
            beneficiary_pid: 0,
            why: WhyOrdered::Pressure(2),
            bytes: 10,
            thresholds: [Threshold::All, Threshold::UpTo(9), Threshold::Nothing],
            returned_bytes: None,
            discarded_bytes: [0; 3],
        };
        let discard = Discard {
            order: 3,
            class: 1,
            reason: 2,
            ..Discard::default()
        };
        let explained = Explained {
            orders: vec![order],
            discards: vec![WhoseEvents {
                pid: 4711,
                discards: vec![discard],
            }],
        };
        let full = value(Some(&explained));
        assert_eq!(full["events"][0]["why"], "psi_machine");
        assert_eq!(full["events"][0]["thresholds"]["low"], u32::MAX);
        assert_eq!(full["events"][0]["thresholds"]["normal"], 9);
        assert!(full["events"][0]["thresholds"]["high"].is_null());
        assert!(full["events"][0]["returned_bytes"].is_null());
        assert_eq!(full["discards"][0]["class"], "NORMAL");
        assert_eq!(full["discards"][0]["order_why"], "psi_machine");
    }
}
