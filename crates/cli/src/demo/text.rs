//! The report as text, for somebody who has never heard of offer and reclaim.

use std::fmt;

use vidmm_machine::ByteSize;

use crate::demo::baseline::Baseline;
use crate::demo::report::Report;
use crate::output::printable;

/// How many skipped files are named; the JSON has them all.
const SKIPPED_SHOWN_MAX: usize = 20;

/// A report to be shown, with or without colours.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) report: &'a Report,
    pub(crate) colours: bool,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what_happened(out)?;
        self.memory(out)?;
        self.time(out)?;
        self.trace(out)?;
        self.skipped(out)
    }
}

impl Text<'_> {
    fn what_happened(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(
            out,
            "{} workers read {} packed files ({} packed, {} unpacked) {} times in {}.",
            report.workers,
            report.files,
            ByteSize(report.packed_bytes),
            ByteSize(report.unpacked_bytes),
            grouped(report.accesses),
            seconds(report.elapsed_ns),
        )?;
        writeln!(
            out,
            "Each kept what it had unpacked as offered memory, all under one budget of {}.",
            ByteSize(report.budget_bytes)
        )?;
        if report.workers_killed + report.workers_stopped + report.managers_killed > 0 {
            writeln!(
                out,
                "On the way {} were killed (a successor went on with what each was at), workers were \
                 stopped for a while {}, the manager was killed {}.",
                times(report.workers_killed, "worker", "workers"),
                times(report.workers_stopped, "time", "times"),
                times(report.managers_killed, "time", "times"),
            )?;
        }
        writeln!(out)?;
        let reclaims = report.intact + report.discarded;
        self.heading(out, "What the workers found when they asked")?;
        count(out, report.first_use, "first use  - not unpacked before")?;
        let share = format!(
            "intact     - as it was left, no unpacking ({})",
            percent(report.intact, reclaims)
        );
        count(out, report.intact, &share)?;
        let share = format!(
            "discarded  - given up to make room, unpacked again ({})",
            percent(report.discarded, reclaims)
        );
        count(out, report.discarded, &share)?;
        if report.uncached > 0 {
            writeln!(
                out,
                "  Of the unpackings, {} found no room in the budget and went without vidmm.",
                grouped(report.uncached)
            )?;
        }
        let verdict = format!("{} wrong bytes", grouped(report.wrong_bytes));
        writeln!(
            out,
            "  {} in {} that came back intact, each compared by digest.\n",
            self.judged(report.wrong_bytes == 0, &verdict),
            ByteSize(report.checked_bytes)
        )
    }

    fn memory(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        self.heading(out, "Memory")?;
        let kept = report.peak_bytes <= report.budget_bytes;
        let peak = format!("peak {}", ByteSize(report.peak_bytes));
        writeln!(
            out,
            "  {} of {} ({}), as the kernel counts it; {} samples, one every {}",
            self.judged(kept, &peak),
            ByteSize(report.budget_bytes),
            percent(report.peak_bytes, report.budget_bytes),
            grouped(report.peak_samples),
            milliseconds(report.peak_interval_ns),
        )?;
        writeln!(
            out,
            "  peak of other buffers for unpacking: {}\n",
            ByteSize(report.scratch_peak_bytes)
        )
    }

    fn time(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        self.heading(
            out,
            "Time spent on unpacking (each file at its one reference time)",
        )?;
        for baseline in &report.baselines {
            let name = name_of(baseline);
            let saved = if baseline.rebuild_ns >= report.rebuild_ns {
                format!(
                    "vidmm saves {}",
                    percent(baseline.rebuild_ns - report.rebuild_ns, baseline.rebuild_ns)
                )
            } else {
                format!(
                    "vidmm loses {}",
                    percent(report.rebuild_ns - baseline.rebuild_ns, baseline.rebuild_ns)
                )
            };
            writeln!(
                out,
                "  {:>10}  {name}; {saved}",
                seconds(baseline.rebuild_ns)
            )?;
        }
        writeln!(
            out,
            "  {:>10}  {} ({} on the clock, summed over the workers)",
            seconds(report.rebuild_ns),
            self.bold(report.policy.title()),
            seconds(report.rebuild_wall_ns),
        )?;
        writeln!(
            out,
            "  One offer took {} ns, one reclaim of intact memory {} ns (medians; 99 of 100: {} and {} ns).",
            report.offer_ns.p50, report.reclaim_ns.p50, report.offer_ns.p99, report.reclaim_ns.p99
        )
    }

    fn trace(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(trace) = &self.report.trace else {
            return Ok(());
        };
        writeln!(out)?;
        self.heading(out, "Trace")?;
        writeln!(out, "  {}", trace.in_words())
    }

    fn skipped(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        if report.files_left_out > 0 {
            writeln!(
                out,
                "\n{} more files were left out: the demo's limits on number and size.",
                report.files_left_out
            )?;
        }
        if report.skipped.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        self.heading(out, &format!("Skipped: {}", report.skipped.len()))?;
        for skipped in report.skipped.iter().take(SKIPPED_SHOWN_MAX) {
            writeln!(
                out,
                "  {}: {}",
                printable(&skipped.path),
                printable(&skipped.reason)
            )?;
        }
        match report.skipped.len().saturating_sub(SKIPPED_SHOWN_MAX) {
            0 => Ok(()),
            more => writeln!(out, "  and {more} more (--json names them all)"),
        }
    }

    fn heading(&self, out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
        writeln!(out, "{}", self.bold(text))
    }

    fn bold(&self, text: &str) -> String {
        if self.colours {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Green if all is well, red if not.
    fn judged(&self, well: bool, text: &str) -> String {
        match (self.colours, well) {
            (false, _) => text.to_owned(),
            (true, true) => format!("\x1b[32m{text}\x1b[0m"),
            (true, false) => format!("\x1b[1;31m{text}\x1b[0m"),
        }
    }
}

fn name_of(baseline: &Baseline) -> &'static str {
    match baseline.name {
        "none" => "no cache: unpack every time",
        "even_split_lru" => "an equal part of the budget for each worker, as a private LRU cache",
        "lru" => "one pool for all workers with no cost of sharing, least recently used first",
        other => other,
    }
}

fn count(out: &mut fmt::Formatter<'_>, count: u64, text: &str) -> fmt::Result {
    writeln!(out, "  {:>10}  {text}", grouped(count))
}

fn times(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// Digits in groups of three: 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share with one decimal; nothing of nothing is shown as such.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "none of none".to_owned();
    }
    let thousandths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

fn seconds(time_ns: u64) -> String {
    format!(
        "{}.{:02} s",
        time_ns / 1_000_000_000,
        time_ns / 10_000_000 % 100
    )
}

fn milliseconds(time_ns: u64) -> String {
    format!("{}.{} ms", time_ns / 1_000_000, time_ns / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::inputs::Skipped;
    use crate::demo::report::tests::example;

    #[test]
    fn the_report_says_what_happened() {
        let report = example();
        let text = Text {
            report: &report,
            colours: false,
        }
        .to_string();
        for part in [
            "4 workers read 30 packed files (1 MiB packed, 3 MiB unpacked) 1,000 times in 2.30 s.",
            "600  intact     - as it was left, no unpacking (66.6 %)",
            "0 wrong bytes in 60 MiB",
            "of 1 MiB (95.3 %)",
            "10.00 s  no cache: unpack every time; vidmm saves 60.0 %",
            "private LRU cache; vidmm saves 20.0 %",
            "broken.gz: is damaged",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(!text.contains('\x1b'));
        assert!(
            Text {
                report: &report,
                colours: true
            }
            .to_string()
            .contains("\x1b[32m0 wrong")
        );
    }

    #[test]
    fn names_of_files_cannot_command_the_terminal() {
        let mut report = example();
        report.skipped = vec![
            Skipped {
                path: "a\x1b[2J.gz".into(),
                reason: "bad".into()
            };
            25
        ];
        let text = Text {
            report: &report,
            colours: false,
        }
        .to_string();
        assert!(text.contains("a?[2J.gz: bad") && !text.contains('\x1b'));
        assert!(text.contains("and 5 more"));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(percent(0, 0), "none of none");
        assert_eq!(seconds(61_234_567_890), "61.23 s");
    }
}
