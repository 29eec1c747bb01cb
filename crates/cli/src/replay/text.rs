//! The report for people: a table, and who missed least.

use std::fmt;

use crate::replay::report::{Exactness, Report, Row};
use crate::words::table;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(out)?;
        writeln!(out, "\n{}", self.table())?;
        self.least(out)?;
        self.speed(out)
    }
}

impl Report {
    fn head(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{}: {}, {} requests for {} objects, footprint {}",
            self.trace,
            self.format,
            self.requests,
            self.objects,
            self.size_in_words(self.footprint_bytes)
        )?;
        if let Some(sample) = &self.sample {
            writeln!(
                out,
                "A sample of {}: {} requests for {} objects; after ± is one standard error.",
                share(sample.rate),
                sample.requests,
                sample.objects
            )?;
        }
        for note in &self.notes {
            writeln!(out, "Note: {note}.")?;
        }
        writeln!(out, "Missed, as parts of all that was asked for:")
    }

    fn table(&self) -> String {
        let mut heads = vec!["POLICY", "SIZE", "SHARE", "REQUESTS", "BYTES"];
        if self.has_costs {
            heads.push("COSTS");
        }
        heads.push("");
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| self.cells(row)).collect();
        table(&heads, 1, &rows)
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![
            row.policy.to_owned(),
            self.size_in_words(row.size_bytes),
            share(row.size_share),
            with_error(row.missed.requests, row.error.map(|error| error.requests)),
            with_error(row.missed.bytes, row.error.map(|error| error.bytes)),
        ];
        if self.has_costs {
            let error = row.error.and_then(|error| error.cost);
            let cell = row.missed.cost.map(|cost| with_error(cost, error));
            cells.push(cell.unwrap_or_default());
        }
        let remark = |exact| match self.sample.is_some() {
            true => "a bound, estimated".to_owned(),
            false => exactness(exact),
        };
        cells.push(row.exact.map_or_else(String::new, remark));
        cells
    }

    /// Whom to choose, size by size.
    fn least(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.measured();
        let mut sizes: Vec<u64> = Vec::new();
        for row in self.rows.iter().filter(|row| row.exact.is_none()) {
            if !sizes.contains(&row.size_bytes) {
                sizes.push(row.size_bytes);
            }
        }
        for size_bytes in sizes {
            let of_size = |row: &&Row| row.exact.is_none() && row.size_bytes == size_bytes;
            let mut rows: Vec<&Row> = self.rows.iter().filter(of_size).collect();
            rows.sort_by(|a, b| a.missed.main().total_cmp(&b.missed.main()));
            rows.dedup_by_key(|row| row.policy);
            if let [first, second, ..] = rows[..] {
                writeln!(
                    out,
                    "Least {what} missed at {}: {} {}, then {} {}",
                    self.size_in_words(size_bytes),
                    first.policy,
                    ratio(first.missed.main()),
                    second.policy,
                    ratio(second.missed.main())
                )?;
            }
        }
        Ok(())
    }

    /// What [`crate::replay::report::Ratios::main`] is about.
    pub(crate) fn measured(&self) -> &'static str {
        match self.has_costs {
            true => "cost",
            false => "bytes",
        }
    }

    fn speed(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speeds: Vec<f64> = self
            .rows
            .iter()
            .filter_map(|row| row.requests_per_second)
            .collect();
        let slowest = speeds.iter().copied().fold(f64::INFINITY, f64::min);
        let fastest = speeds.iter().copied().fold(0.0, f64::max);
        if speeds.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "Replayed in {:.2} s at {} to {} million requests a second of a core",
            self.replay_ns as f64 / 1e9,
            million(slowest),
            million(fastest)
        )
    }
}

fn million(requests: f64) -> String {
    match requests / 1e6 {
        few if few < 1.0 => format!("{few:.2}"),
        many => format!("{many:.1}"),
    }
}

fn with_error(estimate: f64, error: Option<f64>) -> String {
    match error {
        None => ratio(estimate),
        Some(error) => format!("{} ± {error:.3}", ratio(estimate)),
    }
}

/// Four digits: more are of no use to anybody.
fn ratio(ratio: f64) -> String {
    format!("{ratio:.4}")
}

/// A share of the footprint, with as many digits as say something.
pub(crate) fn share(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        percent if percent >= 9.995 => format!("{percent:.0} %"),
        percent if percent >= 0.995 => {
            let text = format!("{percent:.1}");
            format!("{} %", text.trim_end_matches(".0"))
        }
        percent => format!("{percent:.2} %"),
    }
}

fn exactness(exact: Exactness) -> String {
    let all = [Some(exact.requests), Some(exact.bytes), exact.cost];
    let names = ["requests", "bytes", "costs"];
    let exact: Vec<&str> = (names.into_iter().zip(all))
        .filter_map(|(name, exact)| (exact == Some(true)).then_some(name))
        .collect();
    match exact.len() {
        0 => "a bound".to_owned(),
        len if len == all.iter().flatten().count() => "exact".to_owned(),
        _ => format!("a bound; exact: {}", exact.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_digits_that_say_something() {
        assert_eq!(share(0.005), "0.50 %");
        assert_eq!(share(0.01), "1 %");
        assert_eq!(share(0.025), "2.5 %");
        assert_eq!(share(0.0999), "10 %");
        assert_eq!(share(1.0), "100 %");
        assert_eq!(share(123.0), "12300 %");
    }

    #[test]
    fn a_bound_is_told_from_what_is_reached() {
        let said = |requests, bytes, cost| {
            exactness(Exactness {
                requests,
                bytes,
                cost,
            })
        };
        assert_eq!(said(true, true, None), "exact");
        assert_eq!(said(false, false, Some(false)), "a bound");
        assert_eq!(
            said(true, true, Some(false)),
            "a bound; exact: requests, bytes"
        );
    }
}
