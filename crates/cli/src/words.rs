//! Figures in words: what `stat`, `top`, `run` and the demo's report share.

use vidmm_machine::ByteSize;
use vidmm_wire::{ClientRow, Figures, REASONS, WhyOrdered};

/// The names of the classes, in the order in which they go.
pub(crate) const CLASSES: [&str; 3] = ["LOW", "NORMAL", "HIGH"];

/// A count of bytes as people read it; nothing is `-`, so that what there is stands out.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        _ => ByteSize(bytes).to_string(),
    }
}

/// A share with one decimal; nothing of nothing is `-`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let thousandths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// The share of reclaims that found the content.
pub(crate) fn hit_rate(figures: &Figures) -> String {
    let all = figures
        .reclaims_intact
        .saturating_add(figures.reclaims_discarded);
    percent(figures.reclaims_intact, all)
}

/// A share of time in hundredths of a percent, if the kernel told it.
pub(crate) fn pressure(hundredths: Option<u32>) -> String {
    hundredths.map_or_else(
        || "not known".to_owned(),
        |share| format!("{}.{:02} %", share / 100, share % 100),
    )
}

/// Allocations discarded so far.
pub(crate) fn discards(figures: &Figures) -> u64 {
    figures
        .discards
        .iter()
        .fold(0, |sum, class| sum.saturating_add(class.count))
}

/// Bytes discarded so far.
pub(crate) fn discarded_bytes(figures: &Figures) -> u64 {
    figures
        .discards
        .iter()
        .fold(0, |sum, class| sum.saturating_add(class.bytes))
}

/// All that is offered, in bytes.
pub(crate) fn offered_bytes(figures: &Figures) -> u64 {
    figures
        .offered
        .iter()
        .fold(0, |sum, class| sum.saturating_add(class.bytes))
}

/// How a client stands, in a word; the gravest first.
pub(crate) fn state(client: &ClientRow) -> &'static str {
    match client {
        ClientRow { exceeds: true, .. } => "exceeds",
        ClientRow { joined: false, .. } => "absent",
        ClientRow {
            responsive: false, ..
        } => "no answer",
        _ => "ok",
    }
}

/// Why somebody had to give, as the end of a sentence about whom it was for.
pub(crate) fn why_ordered(why: WhyOrdered) -> String {
    match why {
        WhyOrdered::Need => "it needed credit".to_owned(),
        WhyOrdered::Budget => "the budget was lowered or is exceeded".to_owned(),
        WhyOrdered::Trim => "an operator trimmed".to_owned(),
        WhyOrdered::Pressure(reason) => why_short(reason),
        WhyOrdered::Reserve => "the reserve for newcomers was to be refilled".to_owned(),
    }
}

/// Why memory was short, by the number of the reason.
pub(crate) fn why_short(reason: u8) -> String {
    match REASONS.get(usize::from(reason)).copied() {
        Some("budget") => "the process needed room within its budget",
        Some("trim") => "the program trimmed",
        Some("psi_machine") => "tasks of the machine stalled for memory (PSI)",
        Some("psi_cgroup") => "tasks of its cgroup stalled for memory (PSI)",
        Some("cgroup_limit") => "the limit of its cgroup came near",
        Some("low_available") => "the machine had little memory available",
        Some("systemd") => "systemd reported memory pressure",
        _ => "for a reason that this version does not know",
    }
    .to_owned()
}

/// Milliseconds since 1970 as a time of day, UTC.
pub(crate) fn time_of_day(at_ms: u64) -> String {
    let (second, ms) = (at_ms / 1000 % 86_400, at_ms % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// A length of time, in its two largest units.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A table for people: the first columns are text, the others figures. Columns are as wide as they
/// have to be.
pub(crate) fn table(heads: &[&str], texts: usize, rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(heads[column].chars().count())
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    let heads = heads.iter().map(|&head| head.to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            line.push_str(&match column < texts {
                true => format!("{gap}{cell:<width$}"),
                false => format!("{gap}{cell:>width$}"),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fake::client;

    #[test]
    fn figures_become_words() {
        assert_eq!(size(0), "-");
        assert_eq!(size(1_610_612_736), "1.5 GiB");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "-");
        assert_eq!(pressure(Some(1234)), "12.34 %");
        assert_eq!(pressure(None), "not known");
        assert_eq!(time_of_day(1_000), "00:00:01.000");
        assert_eq!(time_of_day(86_399_999), "23:59:59.999");
        assert_eq!(time_of_day(u64::MAX).len(), 12);
        assert_eq!(duration(59_999), "59 s");
        assert_eq!(duration(61_000), "1 min 1 s");
        assert_eq!(duration(7_260_000), "2 h 1 min");
        assert_eq!(duration(93_784_000), "1 d 2 h");
    }

    #[test]
    fn every_reason_has_words() {
        for reason in 0..REASONS.len() {
            let words = why_short(u8::try_from(reason).unwrap());
            assert!(!words.contains("not know"), "{reason}");
        }
        assert!(why_short(200).contains("not know"));
    }

    #[test]
    fn the_gravest_is_said_of_a_client() {
        let mut row = client(1, "x", 1);
        assert_eq!(state(&row), "ok");
        row.responsive = false;
        assert_eq!(state(&row), "no answer");
        row.joined = false;
        assert_eq!(state(&row), "absent");
        row.exceeds = true;
        assert_eq!(state(&row), "exceeds");
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [
            vec!["1".into(), "long name".into(), "5 B".into()],
            vec!["22".into(), "x".into(), "1.5 GiB".into()],
        ];
        assert_eq!(
            table(&["PID", "NAME", "SIZE"], 2, &rows),
            "PID  NAME          SIZE\n1    long name      5 B\n22   x          1.5 GiB\n"
        );
    }
}
