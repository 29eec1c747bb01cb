//! A snapshot as a table for people.

use vidmm_machine::ByteSize;
use vidmm_wire::ClientRow;

use crate::operator::Snapshot;
use crate::words::{discards, duration, hit_rate, percent, pressure, size, state, table};

const HEADS: [&str; 11] = [
    "PID",
    "NAME",
    "STATE",
    "CHARGED",
    "BUDGET",
    "SHARE",
    "LOCKED",
    "OFFERED L/N/H",
    "WARM",
    "DISCARDS",
    "HITS",
];

/// The whole first, then the clients by charge.
pub(crate) fn text(snapshot: &Snapshot) -> String {
    let summary = &snapshot.summary;
    let mut text = format!(
        "budget {}, charged {} ({}); reserve {}, reserved {}\n",
        ByteSize(summary.budget_bytes),
        ByteSize(summary.charged_bytes),
        percent(summary.charged_bytes, summary.budget_bytes),
        ByteSize(summary.reserve_bytes),
        ByteSize(summary.reserved_bytes),
    );
    text.push_str(&format!(
        "{} {} ({} absent, {} without an answer), {} {}; {} granted, {} refused\n",
        summary.clients,
        counted(summary.clients, "process", "processes"),
        summary.absent,
        summary.unresponsive,
        summary.waiting,
        counted(summary.waiting, "request waits", "requests wait"),
        summary.granted,
        summary.refused,
    ));
    text.push_str(&format!(
        "{} orders brought {}; pressure {}; manager {}, up {}\n",
        summary.orders,
        ByteSize(summary.ordered_bytes),
        pressure(summary.psi_some_avg10),
        summary.pid,
        duration(summary.uptime_ms),
    ));
    if !snapshot.clients.is_empty() {
        let mut clients: Vec<&ClientRow> = snapshot.clients.iter().collect();
        clients.sort_by_key(|client| (std::cmp::Reverse(client.charged_bytes), client.pid));
        let rows: Vec<_> = clients.into_iter().map(row).collect();
        text.push('\n');
        text.push_str(&table(&HEADS, 3, &rows));
    }
    if summary.hidden > 0 {
        text.push_str(&format!(
            "{} more of other users: root and the manager's user see them\n",
            summary.hidden
        ));
    }
    text
}

fn row(client: &ClientRow) -> Vec<String> {
    let figures = &client.figures;
    let offered = figures.offered.map(|class| size(class.bytes));
    vec![
        client.pid.to_string(),
        client.name.clone(),
        state(client).to_owned(),
        size(client.charged_bytes),
        size(client.budget_bytes),
        size(client.share_bytes),
        size(figures.locked.bytes),
        offered.join("/"),
        size(figures.warm_bytes),
        discards(figures).to_string(),
        hit_rate(figures),
    ]
}

fn counted(count: u32, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fake::{client, summary};

    #[test]
    fn the_table_is_sorted_by_charge_and_aligned() {
        let mut absent = client(71, "viewer", 700 << 20);
        absent.joined = false;
        let snapshot = Snapshot {
            summary: summary(),
            clients: vec![client(4711, "editor", 68 << 20), absent],
        };
        let text = text(&snapshot);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "budget 1 GiB, charged 768 MiB (75.0 %); reserve 64 MiB, reserved 0 B"
        );
        assert!(lines[1].contains("2 processes") && lines[1].contains("1 request waits"));
        assert!(lines[2].contains("pressure 1.23 %") && lines[2].contains("up 1 d 2 h"));
        assert!(lines[4].starts_with("PID   NAME    STATE"));
        assert!(lines[5].starts_with("71    viewer  absent"), "{}", lines[5]);
        assert!(lines[6].starts_with("4711  editor  ok"), "{}", lines[6]);
        assert!(lines[6].contains("30 MiB/40 MiB/50 MiB"), "{}", lines[6]);
        assert!(lines[6].ends_with("110  90.0 %"), "{}", lines[6]);
        assert_eq!(lines[5].len(), lines[6].len());
        assert_eq!(lines.len(), 7);
    }

    #[test]
    fn nobody_and_hidden_ones() {
        let mut snapshot = Snapshot::default();
        assert!(text(&snapshot).contains("0 processes"));
        snapshot.summary.hidden = 3;
        assert!(
            text(&snapshot)
                .ends_with("3 more of other users: root and the manager's user see them\n")
        );
    }
}
