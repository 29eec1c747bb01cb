//! What came of it: one row for each policy at each size. The names of the JSON's fields are a
//! promise: they stay.

use std::time::Duration;

use serde::Serialize;
use vidmm_machine::ByteSize;
use vidmm_replay::{Exact, Misses, Policy};

use crate::output::Failure;
use crate::replay::load::{Parts, Totals, Trace};
use crate::replay::play::Played;
use crate::replay::sample::{Estimate, Threshold};

/// The name and version of the JSON's form.
const SCHEMA: &str = "vidmm.replay/1";

/// A cache that holds fewer is no small picture of a large one.
const FEW_OBJECTS: u64 = 100;

/// All that was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    /// The file's name.
    pub(crate) trace: String,
    pub(crate) format: &'static str,
    pub(crate) footprint_bytes: u64,
    pub(crate) requests: u64,
    pub(crate) objects: u64,
    /// The trace says what misses cost.
    pub(crate) has_costs: bool,
    /// The trace has no sizes: each object counts 1 byte.
    #[serde(skip)]
    pub(crate) all_of_one_byte: bool,
    /// `null`: all requests were replayed.
    pub(crate) sample: Option<SampleReport>,
    pub(crate) rows: Vec<Row>,
    /// What is to be known of the figures.
    pub(crate) notes: Vec<String>,
    /// All replays together, by the clock on the wall.
    pub(crate) replay_ns: u64,
}

/// A part of the objects, with all their requests.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SampleReport {
    /// The part of all objects that was asked for.
    pub(crate) rate: f64,
    /// What is in it.
    pub(crate) requests: u64,
    pub(crate) objects: u64,
}

/// A policy at a size.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) policy: &'static str,
    pub(crate) size_bytes: u64,
    /// The size as a part of the footprint.
    pub(crate) size_share: f64,
    #[serde(flatten)]
    pub(crate) missed: Ratios,
    /// Of estimates by a sample: one standard error. `null`: these are no estimates.
    pub(crate) error: Option<Ratios>,
    /// Of the clairvoyant bound: where somebody reaches it.
    pub(crate) exact: Option<Exactness>,
    /// Requests per second of a processor; `null` where that took no time that could be measured.
    pub(crate) requests_per_second: Option<f64>,
}

/// What was missed, as parts of all that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratios {
    #[serde(rename = "miss_ratio")]
    pub(crate) requests: f64,
    #[serde(rename = "byte_miss_ratio")]
    pub(crate) bytes: f64,
    /// `null`: the trace has no costs.
    #[serde(rename = "cost_miss_ratio")]
    pub(crate) cost: Option<f64>,
}

impl Ratios {
    /// What a table is read for: costs, or bytes where the trace has no costs.
    pub(crate) fn main(&self) -> f64 {
        self.cost.unwrap_or(self.bytes)
    }
}

/// Where the clairvoyant bound is not only a bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Exactness {
    pub(crate) requests: bool,
    pub(crate) bytes: bool,
    pub(crate) cost: Option<bool>,
}

impl Exactness {
    fn new(exact: Exact, has_costs: bool) -> Self {
        Exactness {
            requests: exact.requests,
            bytes: exact.bytes,
            cost: has_costs.then_some(exact.cost),
        }
    }
}

impl Row {
    pub(crate) fn whole(policy: Policy, size_bytes: u64, totals: &Totals, played: &Played) -> Self {
        let misses = &played.misses;
        let has_costs = misses.cost_ratio().is_some();
        Row {
            policy: policy.name(),
            size_bytes,
            size_share: size_bytes as f64 / totals.footprint_bytes as f64,
            missed: Ratios {
                requests: misses.request_ratio(),
                bytes: misses.byte_ratio(),
                cost: misses.cost_ratio(),
            },
            error: None,
            exact: played.exact.map(|exact| Exactness::new(exact, has_costs)),
            requests_per_second: speed(std::slice::from_ref(played)),
        }
    }

    /// From what was played on the sample and on its slices, in this order.
    pub(crate) fn sampled(
        policy: Policy,
        size_bytes: u64,
        totals: &Totals,
        threshold: Threshold,
        played: &[Played],
    ) -> Self {
        let misses: Vec<Misses> = played.iter().map(|played| played.misses).collect();
        let (all, slices) = misses
            .split_first()
            .map_or((Misses::default(), &[][..]), |(all, slices)| (*all, slices));
        let estimate = Estimate::new(threshold, totals, &all, slices);
        Row {
            policy: policy.name(),
            size_bytes,
            size_share: size_bytes as f64 / totals.footprint_bytes as f64,
            missed: estimate.missed,
            error: Some(estimate.error),
            // What nobody can beat on the sample may be off as anything else.
            exact: (policy == Policy::Belady).then_some(Exactness {
                requests: false,
                bytes: false,
                cost: estimate.missed.cost.map(|_| false),
            }),
            requests_per_second: speed(played),
        }
    }
}

fn speed(played: &[Played]) -> Option<f64> {
    let seconds: f64 = played.iter().map(|played| played.took.as_secs_f64()).sum();
    let requests: u64 = played.iter().map(|played| played.misses.requests).sum();
    (seconds > 0.0).then(|| requests as f64 / seconds)
}

impl Report {
    pub(crate) fn new(trace: &Trace, rows: Vec<Row>, elapsed: Duration) -> Self {
        let sample = match &trace.parts {
            Parts::Whole(_) => None,
            Parts::Sample(sample) => Some(SampleReport {
                rate: sample.threshold.rate(),
                requests: sample.all.requests.len() as u64,
                objects: sample.all.requests.objects() as u64,
            }),
        };
        Report {
            schema: SCHEMA,
            trace: trace.name.clone(),
            format: trace.format.name(),
            footprint_bytes: trace.totals.footprint_bytes,
            requests: trace.totals.requests,
            objects: trace.totals.objects,
            has_costs: trace.totals.cost > 0.0,
            all_of_one_byte: trace.totals.all_of_one_byte,
            sample,
            notes: notes(trace, &rows),
            rows,
            replay_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
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

    /// A size, in objects where the trace has no sizes.
    pub(crate) fn size_in_words(&self, bytes: u64) -> String {
        size_in_words(bytes, self.all_of_one_byte)
    }
}

fn notes(trace: &Trace, rows: &[Row]) -> Vec<String> {
    let mut notes = Vec::new();
    let totals = &trace.totals;
    if totals.all_of_one_byte {
        notes.push("the trace has no sizes: each object counts 1 byte".to_owned());
    }
    if let Parts::Sample(_) = trace.parts {
        let object_bytes = totals.footprint_bytes / totals.objects.max(1);
        let few_bytes = object_bytes.saturating_mul(FEW_OBJECTS);
        let is_coarse = |row: &&Row| {
            let sizes_bytes = trace.parts.sizes_bytes(row.size_bytes);
            sizes_bytes
                .first()
                .is_some_and(|&scaled| scaled < few_bytes)
        };
        let coarse = rows.iter().filter(is_coarse);
        if let Some(size_bytes) = coarse.map(|row| row.size_bytes).max() {
            notes.push(format!(
                "up to {} the sample's caches hold fewer than {FEW_OBJECTS} objects of mean size, \
                 and the figures may be off by more than the error says: take a larger sample",
                size_in_words(size_bytes, totals.all_of_one_byte)
            ));
        }
    }
    notes
}

/// A size, in objects where each counts 1 byte.
pub(crate) fn size_in_words(bytes: u64, all_of_one_byte: bool) -> String {
    match all_of_one_byte {
        true => bytes.to_string(),
        false => ByteSize(bytes).to_string(),
    }
}
