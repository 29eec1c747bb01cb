//! What was seen of each group: reclaims, and time survived, by age. Out of it: hazards, and out of
//! these the Gittins index of every group and age.

use super::Tuning;
use super::ages::{BUCKETS, ByAge, begin_of, bucket_of, middle_of, width_of};
use super::gittins::gittins;
use super::groups::{COUNTS, GROUPS, Group, INTERVALS};
use super::profiles::Profiles;

/// What was seen of a group; older sightings count less.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Reclaims at that age.
    pub(super) reclaims: ByAge,
    /// Ticks that members spent at that age, waiting.
    pub(super) ticks: ByAge,
}

impl Tally {
    pub(super) const EMPTY: Tally = Tally {
        reclaims: [0.0; BUCKETS],
        ticks: [0.0; BUCKETS],
    };

    fn add(&mut self, other: &Tally) {
        let mine = self.reclaims.iter_mut().chain(&mut self.ticks);
        for (mine, other) in mine.zip(other.reclaims.iter().chain(&other.ticks)) {
            *mine += other;
        }
    }

    fn scale(&mut self, factor: f64) {
        for number in self.reclaims.iter_mut().chain(&mut self.ticks) {
            *number *= factor;
        }
    }
}

/// Places in a row of indices: a shift finds it.
const ROW: usize = BUCKETS.next_power_of_two();
/// One for all together, one for what was never reclaimed, and three levels of groups.
const ROWS_MAX: usize = 2 + INTERVALS * (1 + COUNTS) + GROUPS;

/// All tallies.
#[derive(Debug)]
pub(super) struct Model {
    /// A group has a tally from its first sighting on.
    tallies: Vec<Option<Box<Tally>>>,
    widths: ByAge,
}

impl Model {
    pub(super) fn new() -> Self {
        Model {
            tallies: vec![None; GROUPS],
            widths: std::array::from_fn(width_of),
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let tallies = self.tallies.iter().flatten().count();
        size_of_val(self.tallies.as_slice()) + tallies * size_of::<Tally>()
    }

    fn tally(&mut self, group: Group) -> &mut Tally {
        self.tallies[group.index()].get_or_insert_with(|| Box::new(Tally::EMPTY))
    }

    /// All that was seen so far counts by this factor less.
    pub(super) fn fade(&mut self, factor: f64) {
        for tally in self.tallies.iter_mut().flatten() {
            tally.scale(factor);
        }
    }

    /// A member of the group was reclaimed at this age.
    pub(super) fn reclaimed(&mut self, group: Group, age_ticks: u32) {
        self.tally(group).reclaims[bucket_of(age_ticks)] += 1.0;
    }

    /// A member of the group waited from one age to another.
    pub(super) fn waited(&mut self, group: Group, from_ticks: u32, to_ticks: u32) {
        if to_ticks <= from_ticks {
            return;
        }
        let widths = self.widths;
        let ticks = &mut self.tally(group).ticks;
        let (first, last) = (bucket_of(from_ticks), bucket_of(to_ticks));
        let (from, to) = (f64::from(from_ticks), f64::from(to_ticks));
        if first == last {
            ticks[first] += to - from;
            return;
        }
        ticks[first] += begin_of(first + 1) - from;
        for bucket in first + 1..last {
            ticks[bucket] += widths[bucket];
        }
        ticks[last] += to - begin_of(last);
    }

    /// The index of every group by age, from all that was seen.
    pub(super) fn fit(&self, tuning: &Tuning) -> Indices {
        // Where little was seen, this is assumed as if so many had been seen.
        let towards = |assumed: &ByAge, weight: f64, tally: &Tally| -> ByAge {
            std::array::from_fn(|age| {
                let weight = self.widths[age] * weight;
                (tally.reclaims[age] + assumed[age] * weight) / (tally.ticks[age] + weight)
            })
        };
        let mut everything = Tally::EMPTY;
        for tally in self.tallies.iter().flatten() {
            everything.add(tally);
        }
        // A hazard that falls as the inverse of the age makes the index do so, too, and the rank
        // least recently used.
        let prior = tuning.prior_per_fold();
        let base = std::array::from_fn(|age| prior / middle_of(age));
        let base = towards(&base, tuning.prior_at_risk, &everything);
        let profiles = Profiles::of(|group| self.seen(group), tuning);
        let mut indices = Indices::new();
        let mut push = |hazards: &ByAge| indices.push(hazards, &self.widths);
        let by_all = push(&base);
        let mut row_of = [by_all; GROUPS];
        if let Some(new) = self.seen(Group::NEW) {
            row_of[Group::NEW.index()] = push(&towards(&base, tuning.weight, new));
        }
        for interval in 0..INTERVALS {
            let of_interval = (0..COUNTS).flat_map(|count| Group::alike(count, interval));
            let Some(tally) = self.sum(of_interval) else {
                continue;
            };
            let coarse = towards(&base, tuning.weight, &tally);
            let by_interval = push(&coarse);
            for count in 0..COUNTS {
                let groups = Group::alike(count, interval);
                let Some(tally) = self.sum(groups) else {
                    for group in groups {
                        row_of[group.index()] = by_interval;
                    }
                    continue;
                };
                let assumed = profiles.bend(&coarse, count, interval);
                let middle = towards(&assumed, tuning.weight, &tally);
                let by_both = push(&middle);
                for group in groups {
                    row_of[group.index()] = match self.seen(group) {
                        Some(tally) => push(&towards(&middle, tuning.weight, tally)),
                        None => by_both,
                    };
                }
            }
        }
        indices.row_of = row_of;
        indices
    }

    /// Reclaims, and ticks waited, of all groups and ages.
    #[cfg(test)]
    pub(super) fn totals(&self) -> (f64, f64) {
        let sum = |by_age: fn(&Tally) -> &ByAge| {
            let tallies = self.tallies.iter().flatten();
            tallies.flat_map(|tally| by_age(tally)).sum()
        };
        (sum(|tally| &tally.reclaims), sum(|tally| &tally.ticks))
    }

    fn seen(&self, group: Group) -> Option<&Tally> {
        self.tallies[group.index()].as_deref()
    }

    /// What was seen of several groups together; `None` if nothing.
    fn sum(&self, groups: impl IntoIterator<Item = Group>) -> Option<Tally> {
        let mut sum = None;
        for tally in groups.into_iter().filter_map(|group| self.seen(group)) {
            sum.get_or_insert(Tally::EMPTY).add(tally);
        }
        sum
    }
}

/// The index of every group by age.
#[derive(Debug)]
pub(super) struct Indices {
    /// [`ROW`] to a row, of which [`BUCKETS`] are used.
    numbers: Vec<f32>,
    row_of: [u16; GROUPS],
}

impl Indices {
    fn new() -> Self {
        Indices {
            // At once: what is not used is not touched.
            numbers: Vec::with_capacity(ROWS_MAX * ROW),
            row_of: [0; GROUPS],
        }
    }

    /// Adds a row for these hazards and says which it is.
    fn push(&mut self, hazards: &ByAge, widths: &ByAge) -> u16 {
        let row = u16::try_from(self.numbers.len() / ROW).unwrap_or(u16::MAX);
        // A rank has fewer digits.
        #[allow(clippy::cast_possible_truncation)]
        self.numbers
            .extend(gittins(hazards, widths).map(|index| index as f32));
        self.numbers.resize((usize::from(row) + 1) * ROW, 0.0);
        row
    }

    /// Expected reclaims per tick held, at best.
    #[inline]
    pub(super) fn of(&self, group: Group, age_ticks: u32) -> f32 {
        let row = self.row_of[group.index()];
        let at = usize::from(row) * ROW + bucket_of(age_ticks);
        self.numbers.get(at).copied().unwrap_or(0.0)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.numbers.as_slice()) + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waiting_is_counted_where_it_was(from in 0..5000_u32, len in 0..5000_u32, cut in 0..5000_u32) {
            let to = from + len;
            let cut = from + cut.min(len);
            let (mut once, mut twice) = (Model::new(), Model::new());
            once.waited(Group::NEW, from, to);
            twice.waited(Group::NEW, from, cut);
            twice.waited(Group::NEW, cut, to);
            let ticks = |model: &Model| model.tallies[0].as_ref().map_or([0.0; BUCKETS], |t| t.ticks);
            prop_assert_eq!(ticks(&once).map(f64::round), ticks(&twice).map(f64::round));
            prop_assert!((ticks(&once).iter().sum::<f64>() - f64::from(len)).abs() < 1e-6);
        }
    }

    #[test]
    fn what_comes_back_after_a_while_is_worth_more_as_that_comes_near() {
        let mut model = Model::new();
        for _ in 0..100_000 {
            model.waited(Group::NEW, 0, 1000);
            model.reclaimed(Group::NEW, 1000);
        }
        let indices = model.fit(&Tuning::default());
        let at = |age| indices.of(Group::NEW, age);
        assert!(at(10) < at(300) && at(300) < at(600) && at(600) < at(1000));
        // Just offered, it is worth one reclaim in a thousand ticks.
        assert!((0.0005..0.002).contains(&at(10)), "{}", at(10));
    }
}
