//! One line of the result: what was measured, beside what, and whether that is good enough.

use serde::Serialize;

use crate::bench::sample::Samples;

/// What the figures of a row count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Nanoseconds.
    Ns,
    Bytes,
    /// Hundredths of one core's time.
    Percent,
    /// How often a thread was put on a core.
    Wakeups,
}

/// What a row has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// The peer's figure over ours is at least this.
    Ratio(f64),
    /// Our figure is at most this much of the peer's.
    OfPeer(f64),
    /// Our figure is at most this, whatever the peer's is.
    AtMost(f64),
}

/// A row of the result. The first nine fields are a promise to whoever reads the JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Ours, in `unit`: the median of `samples`.
    pub(crate) vidmm_ns: f64,
    /// What ours is compared with.
    pub(crate) peer: &'static str,
    /// The peer's, as ours.
    pub(crate) peer_ns: f64,
    /// The peer's over ours: above 1, ours is better.
    pub(crate) ratio: f64,
    /// The ratio that has to be reached. Where the target is an absolute figure: the ratio that
    /// reaching it would give beside this run's peer.
    pub(crate) target_ratio: Option<f64>,
    pub(crate) met: Option<bool>,
    pub(crate) samples: usize,
    /// Of the memory that one operation is about.
    pub(crate) size_bytes: u64,

    pub(crate) unit: Unit,
    /// The target in words.
    pub(crate) target: Option<String>,
    /// The middle half of the samples lies within so much.
    pub(crate) vidmm_spread: f64,
    pub(crate) peer_spread: f64,
    /// What else was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Row {
    /// A row of `samples`, in nanoseconds, without a target.
    pub(crate) fn new(name: &str, size_bytes: u64, peer: &'static str, samples: &Samples) -> Self {
        let (vidmm_ns, peer_ns) = (samples.ours.median(), samples.peer.median());
        Self {
            name: name.to_owned(),
            vidmm_ns,
            peer,
            peer_ns,
            ratio: ratio(peer_ns, vidmm_ns),
            target_ratio: None,
            met: None,
            samples: samples.ours.len(),
            size_bytes,
            unit: Unit::Ns,
            target: None,
            vidmm_spread: samples.ours.spread(),
            peer_spread: samples.peer.spread(),
            note: None,
        }
    }

    /// The row, its figures in `unit`.
    pub(crate) fn in_unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// The row, judged.
    pub(crate) fn judged(self, target: Target) -> Self {
        let (wanted, words) = match target {
            Target::Ratio(wanted) if wanted > 1.0 => (wanted, format!("{wanted}x faster")),
            Target::Ratio(wanted) => (wanted, format!("ratio {wanted}")),
            Target::OfPeer(share) => (1.0 / share, format!("at most {share} of the peer")),
            Target::AtMost(limit) => {
                let words = format!("at most {}", crate::bench::text::figure(limit, self.unit));
                (ratio(self.peer_ns, limit), words)
            }
        };
        let met = match target {
            // The same as by the ratios, but for rounding - and for a peer of 0.
            Target::AtMost(limit) => self.vidmm_ns <= limit,
            _ => self.ratio >= wanted,
        };
        Self {
            target_ratio: Some(wanted),
            met: Some(met),
            target: Some(words),
            ..self
        }
    }

    /// The row with something said about it.
    pub(crate) fn noting(self, note: String) -> Self {
        Self {
            note: Some(note),
            ..self
        }
    }
}

/// `peer` over `ours`. Nothing beside nothing is as good; JSON has no infinity for less.
fn ratio(peer: f64, ours: f64) -> f64 {
    if ours > 0.0 {
        peer / ours
    } else if peer > 0.0 {
        f64::MAX
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, peer: f64) -> Row {
        let samples = Samples::of(vec![ours], vec![peer]);
        Row::new("row", 0, "peer", &samples)
    }

    #[test]
    fn judged_by_ratio_by_share_and_by_limit() {
        let met = |ours, peer, target| row(ours, peer).judged(target).met;
        assert_eq!(row(10.0, 100.0).met, None);
        assert_eq!(met(10.0, 100.0, Target::Ratio(10.0)), Some(true));
        assert_eq!(met(10.1, 100.0, Target::Ratio(10.0)), Some(false));
        assert_eq!(met(119.0, 100.0, Target::OfPeer(1.2)), Some(true));
        assert_eq!(met(121.0, 100.0, Target::OfPeer(1.2)), Some(false));
        assert_eq!(met(150.0, 9.0, Target::AtMost(150.0)), Some(true));
        assert_eq!(met(151.0, 9000.0, Target::AtMost(150.0)), Some(false));
    }

    #[test]
    fn a_limit_is_told_as_the_ratio_that_reaching_it_would_give() {
        let row = row(100.0, 3000.0).judged(Target::AtMost(150.0));
        assert_eq!(row.target_ratio, Some(20.0));
        assert_eq!(row.ratio, 30.0);
    }

    #[test]
    fn none_where_none_is_allowed_is_met() {
        let row = row(0.0, 0.0).judged(Target::AtMost(0.0));
        assert_eq!((row.ratio, row.met), (1.0, Some(true)));
        assert_eq!(
            self::row(1.0, 0.0).judged(Target::AtMost(0.0)).met,
            Some(false)
        );
    }
}
