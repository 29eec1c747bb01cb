//! Orders and discards in sentences: whose, how much, which class and rank, for whom, why.

use vidmm_machine::ByteSize;
use vidmm_wire::{Discard, EventRow, Threshold, WhyOrdered};

use crate::operator::{Explained, Snapshot};
use crate::words::{CLASSES, time_of_day, why_ordered, why_short};

/// All of them, oldest first within orders and within the discards of a process.
pub(crate) fn text(snapshot: &Snapshot, explained: &Explained) -> String {
    let mut text = String::from("\nOrders (times are UTC)\n");
    for order in &explained.orders {
        text.push_str(&format!("  {}\n", order_in_words(snapshot, order)));
    }
    if explained.orders.is_empty() {
        text.push_str("  none yet\n");
    }
    text.push_str("\nDiscards\n");
    let mut none = true;
    for whose in &explained.discards {
        for discard in &whose.discards {
            none = false;
            let order = explained
                .orders
                .iter()
                .find(|order| order.order == discard.order && order.pid == whose.pid);
            text.push_str(&format!(
                "  {}\n",
                discard_in_words(snapshot, whose.pid, discard, order)
            ));
        }
    }
    if none {
        text.push_str("  none yet\n");
    }
    text
}

/// What one order wanted and brought.
pub(crate) fn order_in_words(snapshot: &Snapshot, order: &EventRow) -> String {
    let came = match order.returned_bytes {
        None => "no answer yet".to_owned(),
        Some(bytes) => format!("it gave {}{}", ByteSize(bytes), of_which(order)),
    };
    format!(
        "{} order {}: {} was to give {}{}: {}; {}; {came}",
        time_of_day(order.at_ms),
        order.order,
        process(snapshot, order.pid),
        ByteSize(order.bytes),
        beneficiary(snapshot, order.pid, order.beneficiary_pid),
        why_ordered(order.why),
        thresholds(&order.thresholds),
    )
}

/// Why one allocation was discarded. `order` is the order that asked for it, if it is still known.
pub(crate) fn discard_in_words(
    snapshot: &Snapshot,
    pid: u32,
    discard: &Discard,
    order: Option<&EventRow>,
) -> String {
    let class = usize::from(discard.class);
    let class = CLASSES.get(class).copied().unwrap_or("of no known class");
    let why = match order {
        Some(order) => why_ordered(order.why),
        // It was ordered, the order is forgotten: somebody is named where somebody needed credit.
        None if discard.order != 0 && discard.beneficiary_pid != 0 => why_ordered(WhyOrdered::Need),
        None => why_short(discard.reason),
    };
    let by_order = match discard.order {
        0 => String::new(),
        number => format!(" (order {number})"),
    };
    format!(
        "{} {} gave {} {class}, rank {}{}: {why}{by_order}; allocation {:#x}, its discard {}",
        time_of_day(discard.at_ms),
        process(snapshot, pid),
        ByteSize(discard.bytes),
        discard.rank,
        beneficiary(snapshot, pid, discard.beneficiary_pid),
        discard.allocation,
        discard.number,
    )
}

/// `pid 4711 (viewer)`.
fn process(snapshot: &Snapshot, pid: u32) -> String {
    match snapshot.name_of(pid) {
        Some(name) => format!("pid {pid} ({name})"),
        None => format!("pid {pid}"),
    }
}

fn beneficiary(snapshot: &Snapshot, giver: u32, beneficiary: u32) -> String {
    match beneficiary {
        0 => String::new(),
        pid if pid == giver => ", for itself".to_owned(),
        pid => format!(", for {}", process(snapshot, pid)),
    }
}

fn thresholds(thresholds: &[Threshold; 3]) -> String {
    let part = |(class, threshold): (&&str, &Threshold)| match threshold {
        Threshold::Nothing => None,
        Threshold::UpTo(rank) => Some(format!("{class} up to rank {rank}")),
        Threshold::All => Some(format!("all {class}")),
    };
    let parts: Vec<String> = CLASSES.iter().zip(thresholds).filter_map(part).collect();
    match parts.is_empty() {
        true => "nothing to be discarded".to_owned(),
        false => format!("to be discarded at most: {}", parts.join(", ")),
    }
}

fn of_which(order: &EventRow) -> String {
    let parts: Vec<String> = CLASSES
        .iter()
        .zip(&order.discarded_bytes)
        .filter(|(_, bytes)| **bytes > 0)
        .map(|(class, bytes)| format!("{} {class}", ByteSize(*bytes)))
        .collect();
    match parts.is_empty() {
        true => ", discarding nothing".to_owned(),
        false => format!(", discarding {}", parts.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fake::{client, summary};
    use vidmm_wire::WhoseEvents;

    fn snapshot() -> Snapshot {
        Snapshot {
            summary: summary(),
            clients: vec![client(4711, "viewer", 1 << 20), client(4712, "editor", 1)],
        }
    }

    fn order() -> EventRow {
        EventRow {
            order: 17,
            at_ms: 3_723_004,
            pid: 4711,
            beneficiary_pid: 4712,
            why: WhyOrdered::Need,
            bytes: 128 << 10,
            thresholds: [Threshold::All, Threshold::UpTo(9), Threshold::Nothing],
            returned_bytes: Some(96 << 10),
            discarded_bytes: [64 << 10, 0, 0],
        }
    }

    fn discard() -> Discard {
        Discard {
            number: 5,
            at_ms: 3_723_005,
            allocation: 0x2a,
            bytes: 64 << 10,
            class: 0,
            rank: 12,
            reason: 0,
            beneficiary_pid: 4712,
            order: 17,
        }
    }

    #[test]
    fn a_discard_for_another_names_everybody() {
        let said = discard_in_words(&snapshot(), 4711, &discard(), Some(&order()));
        assert_eq!(
            said,
            "01:02:03.005 pid 4711 (viewer) gave 64 KiB LOW, rank 12, for pid 4712 (editor): it \
             needed credit (order 17); allocation 0x2a, its discard 5"
        );
        // The order is forgotten already, and the one it was for is gone.
        let mut gone = snapshot();
        gone.clients.pop();
        let said = discard_in_words(&gone, 4711, &discard(), None);
        assert!(
            said.contains("for pid 4712: it needed credit (order 17)"),
            "{said}"
        );
    }

    #[test]
    fn a_discard_for_oneself_and_for_the_machine() {
        let own = Discard {
            beneficiary_pid: 4711,
            order: 0,
            class: 2,
            ..discard()
        };
        let said = discard_in_words(&snapshot(), 4711, &own, None);
        assert!(
            said.contains("64 KiB HIGH, rank 12, for itself: the process needed room"),
            "{said}"
        );
        let pressed = Discard {
            beneficiary_pid: 0,
            order: 0,
            reason: 5,
            class: 9,
            ..discard()
        };
        let said = discard_in_words(&snapshot(), 4711, &pressed, None);
        assert!(
            said.contains("of no known class, rank 12: the machine had little memory"),
            "{said}"
        );
    }

    #[test]
    fn an_order_says_what_was_allowed_and_what_came() {
        assert_eq!(
            order_in_words(&snapshot(), &order()),
            "01:02:03.004 order 17: pid 4711 (viewer) was to give 128 KiB, for pid 4712 (editor): it \
             needed credit; to be discarded at most: all LOW, NORMAL up to rank 9; it gave 96 KiB, \
             discarding 64 KiB LOW"
        );
        let open = EventRow {
            returned_bytes: None,
            beneficiary_pid: 0,
            why: WhyOrdered::Trim,
            thresholds: [Threshold::Nothing; 3],
            ..order()
        };
        let said = order_in_words(&snapshot(), &open);
        assert!(
            said.contains("128 KiB: an operator trimmed; nothing to be discarded; no answer yet"),
            "{said}"
        );
    }

    #[test]
    fn discards_meet_their_orders() {
        let explained = Explained {
            orders: vec![
                order(),
                EventRow {
                    order: 18,
                    why: WhyOrdered::Reserve,
                    beneficiary_pid: 0,
                    ..order()
                },
            ],
            discards: vec![WhoseEvents {
                pid: 4711,
                discards: vec![
                    discard(),
                    Discard {
                        order: 18,
                        beneficiary_pid: 0,
                        ..discard()
                    },
                ],
            }],
        };
        let text = text(&snapshot(), &explained);
        assert!(text.contains("rank 12: the reserve for newcomers was to be refilled (order 18)"));
        let none = super::text(&snapshot(), &Explained::default());
        assert_eq!(none.matches("none yet").count(), 2);
    }
}
