//! What was seen of a run: as text for people, as JSON for programs. The names of the JSON's fields
//! are a promise: they stay.

use std::ffi::OsString;
use std::time::Duration;

use serde::Serialize;
use vidmm_machine::ByteSize;
use vidmm_wire::ClassFigures;

use crate::output::{Failure, printable};
use crate::recording::Written;
use crate::run::command::Ended;
use crate::run::watch::{Process, Seen};
use crate::words::{CLASSES, discarded_bytes, discards, hit_rate, percent, size, table};

/// The name and version of the JSON's form.
const SCHEMA: &str = "vidmm.run/1";

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    command: Vec<String>,
    exit_status: u8,
    /// The signal that killed the command.
    signal: Option<i32>,
    elapsed_ns: u64,
    budget_bytes: u64,
    reserve_bytes: u64,
    peak_charged_bytes: u64,
    granted: u64,
    refused: u64,
    orders: u64,
    ordered_bytes: u64,
    samples: u64,
    interval_ms_max: u64,
    processes: Vec<ProcessReport>,
    /// Why the manager was not watched to the end; `null`: it was.
    trouble: Option<String>,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Written>,
    #[serde(skip)]
    seen: Vec<Process>,
}

#[derive(Debug, Serialize)]
struct ProcessReport {
    pid: u32,
    name: String,
    peak_charged_bytes: u64,
    discards: ClassReport,
    reclaims_intact: u64,
    reclaims_discarded: u64,
    /// Intact reclaims among all; `null`: there were none.
    hit_rate: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ClassReport {
    low: ClassFigures,
    normal: ClassFigures,
    high: ClassFigures,
}

impl Report {
    /// Puts them together. `sizes` are budget and reserve.
    pub(crate) fn new(
        command: &[OsString],
        ended: Ended,
        elapsed: Duration,
        sizes: (u64, u64),
        seen: &Seen,
        trace: Option<Written>,
    ) -> Self {
        let signal = match ended {
            Ended::Killed(signal) => Some(signal),
            Ended::Exited(_) => None,
        };
        Self {
            schema: SCHEMA,
            command: command
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            exit_status: ended.exit_status(),
            signal,
            elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            budget_bytes: sizes.0,
            reserve_bytes: sizes.1,
            peak_charged_bytes: seen.peak_charged_bytes,
            granted: seen.summary.granted,
            refused: seen.summary.refused,
            orders: seen.summary.orders,
            ordered_bytes: seen.summary.ordered_bytes,
            samples: seen.samples,
            interval_ms_max: u64::try_from(seen.interval_max.as_millis()).unwrap_or(u64::MAX),
            processes: seen.processes.iter().map(ProcessReport::of).collect(),
            trouble: seen.trouble.clone(),
            trace,
            seen: seen.processes.clone(),
        }
    }

    /// The JSON object, ended by a newline.
    ///
    /// # Errors
    /// None in practice: all fields are numbers and text.
    pub(crate) fn json(&self) -> Result<String, Failure> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// A few lines for people.
    pub(crate) fn text(&self) -> String {
        let name = self.command.first().map_or("", String::as_str);
        let how = match self.signal {
            Some(signal) => format!("was killed by signal {signal}"),
            None => format!("ended with status {}", self.exit_status),
        };
        let mut text = format!(
            "vidmm: {} {how} after {}.{:02} s under a budget of {}\n",
            printable(name),
            self.elapsed_ns / 1_000_000_000,
            self.elapsed_ns / 10_000_000 % 100,
            ByteSize(self.budget_bytes)
        );
        if self.seen.is_empty() {
            text.push_str("vidmm: no process was seen that used vidmm\n");
        } else {
            text.push_str(&format!(
                "vidmm: peak charged {} ({}); {} requests granted, {} refused; {} orders brought {}\n",
                ByteSize(self.peak_charged_bytes),
                percent(self.peak_charged_bytes, self.budget_bytes),
                self.granted,
                self.refused,
                self.orders,
                ByteSize(self.ordered_bytes)
            ));
            let heads = [
                "PID",
                "NAME",
                "PEAK",
                "DISCARDS",
                "L/N/H",
                "DISCARDED",
                "RECLAIMS",
                "HITS",
            ];
            let rows: Vec<_> = self.seen.iter().map(row).collect();
            text.push_str(&table(&heads, 2, &rows));
        }
        if let Some(trouble) = &self.trouble {
            text.push_str(&format!("vidmm: not watched to the end: {trouble}\n"));
        }
        if let Some(trace) = &self.trace {
            text.push_str(&format!("vidmm: trace {}\n", trace.in_words()));
        }
        text
    }
}

fn row(process: &Process) -> Vec<String> {
    let figures = &process.figures;
    let by_class: Vec<String> = (0..CLASSES.len())
        .map(|class| figures.discards[class].count.to_string())
        .collect();
    let reclaims = figures
        .reclaims_intact
        .saturating_add(figures.reclaims_discarded);
    vec![
        process.pid.to_string(),
        process.name.clone(),
        size(process.peak_charged_bytes),
        discards(figures).to_string(),
        by_class.join("/"),
        size(discarded_bytes(figures)),
        reclaims.to_string(),
        hit_rate(figures),
    ]
}

impl ProcessReport {
    fn of(process: &Process) -> Self {
        let figures = &process.figures;
        let [low, normal, high] = figures.discards;
        let all = figures
            .reclaims_intact
            .saturating_add(figures.reclaims_discarded);
        Self {
            pid: process.pid,
            name: process.name.clone(),
            peak_charged_bytes: process.peak_charged_bytes,
            discards: ClassReport { low, normal, high },
            reclaims_intact: figures.reclaims_intact,
            reclaims_discarded: figures.reclaims_discarded,
            hit_rate: (all > 0).then(|| figures.reclaims_intact as f64 / all as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fake::{client, summary};

    fn report(ended: Ended, processes: Vec<Process>) -> Report {
        let seen = Seen {
            peak_charged_bytes: 250 << 20,
            summary: summary(),
            processes,
            samples: 9,
            interval_max: Duration::from_millis(250),
            ..Seen::default()
        };
        let command = [OsString::from("make"), OsString::from("-j4")];
        let elapsed = Duration::from_millis(12_345);
        Report::new(&command, ended, elapsed, (256 << 20, 0), &seen, None)
    }

    fn process() -> Process {
        Process {
            pid: 4711,
            name: "viewer".into(),
            peak_charged_bytes: 128 << 20,
            figures: client(1, "", 0).figures,
        }
    }

    #[test]
    fn the_text_says_how_it_went() {
        let text = report(Ended::Exited(3), vec![process()]).text();
        for part in [
            "vidmm: make ended with status 3 after 12.34 s under a budget of 256 MiB",
            "peak charged 250 MiB (97.6 %); 12 requests granted, 1 refused; 5 orders brought 3 MiB",
            "4711  viewer  128 MiB       110  100/10/0    110 MiB      1000  90.0 %",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        let text = report(Ended::Killed(9), Vec::new()).text();
        assert!(text.contains("was killed by signal 9") && text.contains("no process was seen"));
    }

    #[test]
    fn the_json_has_the_promised_names() {
        let json = report(Ended::Killed(15), vec![process()]).json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["schema"], "vidmm.run/1");
        assert_eq!(value["command"][1], "-j4");
        assert_eq!(
            (&value["exit_status"], &value["signal"]),
            (&143.into(), &15.into())
        );
        assert_eq!(value["peak_charged_bytes"], 250 << 20);
        assert_eq!(value["interval_ms_max"], 250);
        let process = &value["processes"][0];
        assert_eq!(process["discards"]["low"]["count"], 100);
        assert_eq!(process["hit_rate"], 0.9);
        assert!(value["trouble"].is_null() && value["seen"].is_null());
    }
}
