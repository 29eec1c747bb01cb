//! What a run came to: the figures, as JSON, and the judgement whether it went as promised.
//!
//! The names of the fields up to `baselines` are a promise to whoever reads the JSON: they stay.
//! Sizes are in bytes, times in nanoseconds.

use serde::Serialize;
use vidmm_machine::ByteSize;

use crate::demo::baseline::Baseline;
use crate::demo::histogram::Quantiles;
use crate::demo::inputs::Skipped;
use crate::demo::policy::PolicyName;
use crate::output::Failure;
use crate::recording::Written;

/// The name and version of the JSON's form.
const SCHEMA: &str = "vidmm.demo/1";

/// All figures of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: Schema,
    pub(crate) budget_bytes: u64,
    /// Resident and swapped bytes of all pools' memory together as the kernel counts them, at most.
    pub(crate) peak_bytes: u64,
    /// Buffers outside vidmm, at most, all workers together.
    pub(crate) scratch_peak_bytes: u64,
    /// Processes that were started as workers: one for each worker, and one for each that was killed.
    pub(crate) workers_started: u64,
    pub(crate) workers_killed: u64,
    /// `first_use`, `intact` and `discarded` sum to this.
    pub(crate) accesses: u64,
    pub(crate) first_use: u64,
    pub(crate) intact: u64,
    pub(crate) discarded: u64,
    pub(crate) skipped_files: u64,
    pub(crate) wrong_bytes: u64,
    /// Reference times of all that was unpacked during the run.
    pub(crate) rebuild_ns: u64,
    /// What that unpacking really took, summed over the workers.
    pub(crate) rebuild_wall_ns: u64,
    pub(crate) offer_ns: Quantiles,
    pub(crate) reclaim_ns: Quantiles,
    pub(crate) baselines: Vec<Baseline>,

    pub(crate) seed: u64,
    pub(crate) policy: PolicyName,
    pub(crate) workers: u64,
    /// How often a worker was stopped for a while.
    pub(crate) workers_stopped: u64,
    pub(crate) managers_killed: u64,
    pub(crate) files: u64,
    pub(crate) packed_bytes: u64,
    pub(crate) unpacked_bytes: u64,
    /// Accesses (of `first_use` and `discarded`) that vidmm had no room for.
    pub(crate) uncached: u64,
    /// Bytes that came back intact and were compared with their digest.
    pub(crate) checked_bytes: u64,
    /// The run itself, without the reference pass.
    pub(crate) elapsed_ns: u64,
    pub(crate) reference_elapsed_ns: u64,
    pub(crate) peak_samples: u64,
    pub(crate) peak_interval_ns: u64,
    /// Subtracted from each measured offer and reclaim: what reading the clock takes.
    pub(crate) clock_ns: u64,
    pub(crate) skipped: Vec<Skipped>,
    /// Good files beyond the limits on number and size.
    pub(crate) files_left_out: u64,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<Written>,
}

/// Always [`SCHEMA`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Schema;

impl Serialize for Schema {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SCHEMA)
    }
}

impl Report {
    /// The JSON object, ended by a newline.
    ///
    /// # Errors
    /// None in practice: all fields are numbers and text.
    pub(crate) fn json(&self) -> Result<String, Failure> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Whether vidmm kept its two promises: exact content, and no more memory than the budget.
    ///
    /// # Errors
    /// Names the promise that was broken, and by how much.
    pub(crate) fn judge(&self) -> Result<(), Failure> {
        if self.wrong_bytes > 0 {
            return Err(format!(
                "{} bytes were not what they should be: memory said to be intact was not. \
                 This is a defect of vidmm; please report it with the seed ({})",
                self.wrong_bytes, self.seed
            )
            .into());
        }
        if self.peak_bytes > self.budget_bytes {
            return Err(format!(
                "the memory in use reached {} ({} bytes), above the budget of {} ({} bytes). \
                 This is a defect of vidmm; please report it with the seed ({})",
                ByteSize(self.peak_bytes),
                self.peak_bytes,
                ByteSize(self.budget_bytes),
                self.budget_bytes,
                self.seed
            )
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of a small run that went well.
    pub(crate) fn example() -> Report {
        Report {
            schema: Schema,
            budget_bytes: 1 << 20,
            peak_bytes: 1_000_000,
            scratch_peak_bytes: 70_000,
            workers_started: 4,
            workers_killed: 0,
            accesses: 1_000,
            first_use: 100,
            intact: 600,
            discarded: 300,
            skipped_files: 1,
            wrong_bytes: 0,
            rebuild_ns: 4_000_000_000,
            rebuild_wall_ns: 4_500_000_000,
            offer_ns: Quantiles { p50: 20, p99: 80 },
            reclaim_ns: Quantiles { p50: 25, p99: 90 },
            baselines: vec![
                Baseline {
                    name: "none",
                    rebuild_ns: 10_000_000_000,
                    peak_bytes: 300_000,
                },
                Baseline {
                    name: "even_split_lru",
                    rebuild_ns: 5_000_000_000,
                    peak_bytes: 900_000,
                },
            ],
            seed: 1,
            policy: PolicyName::Vidmm,
            workers: 4,
            workers_stopped: 0,
            managers_killed: 0,
            files: 30,
            packed_bytes: 1 << 20,
            unpacked_bytes: 3 << 20,
            uncached: 2,
            checked_bytes: 60 << 20,
            elapsed_ns: 2_300_000_000,
            reference_elapsed_ns: 100_000_000,
            peak_samples: 115,
            peak_interval_ns: 20_000_000,
            clock_ns: 20,
            skipped: vec![Skipped {
                path: "broken.gz".into(),
                reason: "is damaged".into(),
            }],
            files_left_out: 0,
            trace: None,
        }
    }

    #[test]
    fn broken_promises_are_failures() {
        assert!(example().judge().is_ok());
        let wrong = Report {
            wrong_bytes: 3,
            ..example()
        };
        assert!(
            wrong
                .judge()
                .unwrap_err()
                .to_string()
                .starts_with("3 bytes")
        );
        let above = Report {
            peak_bytes: (1 << 20) + 1,
            ..example()
        };
        assert!(
            above
                .judge()
                .unwrap_err()
                .to_string()
                .contains("above the budget of 1 MiB")
        );
    }

    #[test]
    fn json_has_the_promised_names_in_order() {
        let json = example().json().unwrap();
        let promised = [
            "schema",
            "budget_bytes",
            "peak_bytes",
            "scratch_peak_bytes",
            "workers_started",
            "workers_killed",
            "accesses",
            "first_use",
            "intact",
            "discarded",
            "skipped_files",
            "wrong_bytes",
            "rebuild_ns",
            "rebuild_wall_ns",
            "offer_ns",
            "reclaim_ns",
            "baselines",
        ];
        let mut rest = json.as_str();
        for name in promised {
            let key = format!("\n  \"{name}\":");
            let at = rest
                .find(&key)
                .unwrap_or_else(|| panic!("{name} is missing or misplaced"));
            rest = &rest[at + key.len()..];
        }
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(value.get("trace").is_none(), "it was not asked for");
        assert_eq!(value["schema"], "vidmm.demo/1");
        assert_eq!(value["offer_ns"]["p99"], 80);
        assert_eq!(value["baselines"][1]["name"], "even_split_lru");
    }
}
