//! The result as a table for people.

use std::fmt;

use crate::bench::Report;
use crate::bench::row::{Row, Unit};

/// The report; with `colours`, what was missed stands out.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) report: &'a Report,
    pub(crate) colours: bool,
}

/// Width of the columns, but for the last.
const NAME: usize = 36;
const FIGURE: usize = 10;
const TARGET: usize = 23;

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(out, "{}\n", report.machine)?;
        writeln!(
            out,
            "{:NAME$} {:>FIGURE$} {:>FIGURE$} {:>FIGURE$}  {:TARGET$} {:4} peer",
            "row", "ours", "peer", "peer/ours", "target", "met"
        )?;
        for row in &report.rows {
            self.row(out, row)?;
        }
        for row in report.rows.iter().filter(|row| row.note.is_some()) {
            let note = row.note.as_deref().unwrap_or_default();
            writeln!(out, "\n{}: {note}.", row.name)?;
        }
        for skipped in &report.skipped {
            writeln!(out, "\n{}: SKIPPED: {}", skipped.name, skipped.reason)?;
        }
        let judged = report.rows.iter().filter_map(|row| row.met);
        let (met, all) = (judged.clone().filter(|&met| met).count(), judged.count());
        writeln!(out, "\n{met} of {all} targets met.")
    }
}

impl Text<'_> {
    fn row(&self, out: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        let met = match row.met {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        let (on, off) = match self.colours && row.met == Some(false) {
            true => ("\x1b[1;31m", "\x1b[0m"),
            false => ("", ""),
        };
        writeln!(
            out,
            "{:NAME$} {:>FIGURE$} {:>FIGURE$} {:>FIGURE$}  {:TARGET$} {on}{met:4}{off} {}",
            row.name,
            figure(row.vidmm_ns, row.unit),
            figure(row.peer_ns, row.unit),
            times(row.ratio),
            row.target.as_deref().unwrap_or("-"),
            row.peer
        )
    }
}

/// A figure as people read it.
pub(crate) fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns if value < 1e3 => format!("{} ns", digits(value)),
        Unit::Ns if value < 1e6 => format!("{} us", digits(value / 1e3)),
        Unit::Ns if value < 1e9 => format!("{} ms", digits(value / 1e6)),
        Unit::Ns => format!("{} s", digits(value / 1e9)),
        Unit::Bytes => format!("{} B", digits(value)),
        Unit::Percent => format!("{} %", digits(value)),
        Unit::Wakeups => format!("{value:.0}"),
    }
}

fn times(ratio: f64) -> String {
    if ratio < 1e9 {
        digits(ratio)
    } else {
        "infinite".to_owned()
    }
}

/// Three digits that mean something.
fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_their_unit() {
        assert_eq!(figure(9.876, Unit::Ns), "9.88 ns");
        assert_eq!(figure(98.76, Unit::Ns), "98.8 ns");
        assert_eq!(figure(9_876.0, Unit::Ns), "9.88 us");
        assert_eq!(figure(98_760_000.0, Unit::Ns), "98.8 ms");
        assert_eq!(figure(96.0, Unit::Bytes), "96.0 B");
        assert_eq!(figure(0.0, Unit::Wakeups), "0");
        assert_eq!(times(f64::MAX), "infinite");
        assert_eq!(times(31_234.5), "31234");
    }
}
