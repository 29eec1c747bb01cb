//! What was seen of each group: reclaims, and time survived, by age. Out of it: hazards, and out of
//! these the Gittins index of every group and age.

use super::Tuning;
use super::ages::{BUCKETS, begin_of, bucket_of, middle_of, width_of};
use super::groups::{COARSES, GROUPS, Group, MIDDLES};

/// What was seen of a group, by age; older sightings count less.
#[derive(Debug, Clone)]
struct Tally {
    /// Reclaims at that age.
    reclaims: [f64; BUCKETS],
    /// Ticks that members spent at that age, waiting.
    ticks: [f64; BUCKETS],
}

impl Tally {
    const EMPTY: Tally = Tally {
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

/// The logarithm of the ratio of the ages at the ends of a bucket.
const HALF_A_DOUBLING: f64 = std::f64::consts::LN_2 / 2.0;

/// Places in a row of indices: a shift finds it.
const ROW: usize = BUCKETS.next_power_of_two();

/// By age bucket.
type ByAge = [f64; BUCKETS];

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
        let mut all = Tally::EMPTY;
        let mut coarse: Vec<Option<Tally>> = vec![None; COARSES];
        let mut middle: Vec<Option<Tally>> = vec![None; MIDDLES];
        for (group, tally) in self.seen() {
            all.add(tally);
            let add = |to: &mut Option<Tally>| to.get_or_insert(Tally::EMPTY).add(tally);
            add(&mut coarse[group.coarse()]);
            add(&mut middle[group.middle()]);
        }
        // Assumed of ages at which little was seen: a hazard that falls as the inverse of the age,
        // which makes the index do so, too, and the rank least recently used.
        let base: ByAge = std::array::from_fn(|age| {
            let assumed = tuning.prior_chance / HALF_A_DOUBLING / middle_of(age);
            let weight = self.widths[age] * tuning.prior_at_risk;
            (all.reclaims[age] + assumed * weight) / (all.ticks[age] + weight)
        });
        let towards = |parent: &ByAge, tally: &Tally| -> ByAge {
            std::array::from_fn(|age| {
                let weight = tuning.weight * self.widths[age];
                (tally.reclaims[age] + parent[age] * weight) / (tally.ticks[age] + weight)
            })
        };
        let mut indices = Indices {
            numbers: Vec::new(),
            row_of: Vec::new(),
        };
        let global = indices.push(&base, &self.widths);
        let coarse: Vec<Option<(ByAge, u16)>> = coarse
            .into_iter()
            .map(|tally| {
                let hazards = towards(&base, &tally?);
                Some((hazards, indices.push(&hazards, &self.widths)))
            })
            .collect();
        // Which coarse group a middle one is part of: any member knows.
        let mut middle_rows: Vec<Option<(ByAge, u16)>> = vec![None; MIDDLES];
        for (group, _) in self.seen() {
            let place = group.middle();
            if let (None, Some(tally), Some((parent, _))) =
                (&middle_rows[place], &middle[place], &coarse[group.coarse()])
            {
                let hazards = towards(parent, tally);
                middle_rows[place] = Some((hazards, indices.push(&hazards, &self.widths)));
            }
        }
        let rows = Group::all().map(|group| {
            let own = self.tallies[group.index()].as_ref();
            match (own, &middle_rows[group.middle()], &coarse[group.coarse()]) {
                (Some(tally), Some((parent, _)), _) => {
                    indices.push(&towards(parent, tally), &self.widths)
                }
                (None, Some((_, row)), _) | (_, None, Some((_, row))) => *row,
                (_, None, None) => global,
            }
        });
        let row_of = rows.collect();
        indices.row_of = row_of;
        indices
    }

    fn seen(&self) -> impl Iterator<Item = (Group, &Tally)> {
        Group::all()
            .zip(&self.tallies)
            .filter_map(|(group, tally)| Some((group, tally.as_deref()?)))
    }
}

/// The index of every group by age.
#[derive(Debug)]
pub(super) struct Indices {
    /// [`ROW`] to a row, of which [`BUCKETS`] are used.
    numbers: Vec<f32>,
    row_of: Vec<u16>,
}

impl Indices {
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
        let row = self.row_of.get(group.index()).copied().unwrap_or(0);
        let at = usize::from(row) * ROW + bucket_of(age_ticks);
        self.numbers.get(at).copied().unwrap_or(0.0)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.numbers.as_slice()) + size_of_val(self.row_of.as_slice())
    }
}

/// What is left of 1 after so many times of life, on average: near enough `e^-times`, and by
/// multiplications alone, so the same to the last bit on every machine and without a library.
pub(super) fn fallen(times: f64) -> f64 {
    let mut power = 1.0 / (1.0 + times / 16.0);
    for _ in 0..4 {
        power *= power;
    }
    power
}

/// A stretch of ages that something is held through, as seen from its beginning.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// The chance of a reclaim in it.
    reclaims: f64,
    /// How long it is held, on average, in ticks: to the reclaim or to the end.
    ticks: f64,
    /// The chance of no reclaim in it.
    survives: f64,
}

impl Stretch {
    const NONE: Stretch = Stretch {
        reclaims: 0.0,
        ticks: 0.0,
        survives: 1.0,
    };

    fn new(hazard: f64, width_ticks: f64) -> Self {
        let survives = fallen(hazard * width_ticks);
        let reclaims = 1.0 - survives;
        let ticks = if reclaims > 1e-12 {
            reclaims / hazard
        } else {
            width_ticks
        };
        Stretch {
            reclaims,
            ticks,
            survives,
        }
    }

    fn then(self, next: Stretch) -> Stretch {
        Stretch {
            reclaims: self.reclaims + self.survives * next.reclaims,
            ticks: self.ticks + self.survives * next.ticks,
            survives: self.survives * next.survives,
        }
    }

    fn index(self) -> f64 {
        self.reclaims / self.ticks
    }
}

/// The Gittins index of each age: the highest ratio, over all times to give up, of the expected
/// number of reclaims to the expected time held until a reclaim or until giving up. What is in the
/// middle of its bucket has half of it before it.
///
/// From the last age back: the best stretch from an age on is its own bucket, and then every best
/// stretch that follows as long as that is better than what there is so far. Each is looked at a few
/// times only, since what was taken in is one with it from then on.
///
/// J. C. Gittins, "Bandit Processes and Dynamic Allocation Indices", J. R. Statist. Soc. B 41, 1979.
fn gittins(hazards: &ByAge, widths: &ByAge) -> ByAge {
    let mut indices = [0.0; BUCKETS];
    // The best stretches from the next bucket on, the nearest last; each is better than what
    // follows it.
    let mut ahead = [Stretch::NONE; BUCKETS];
    let mut count = 0;
    for age in (0..BUCKETS).rev() {
        let mut from_the_middle = Stretch::new(hazards[age], widths[age] / 2.0);
        for next in ahead[..count].iter().rev() {
            if next.index() <= from_the_middle.index() {
                break;
            }
            from_the_middle = from_the_middle.then(*next);
        }
        indices[age] = from_the_middle.index();
        let mut whole = Stretch::new(hazards[age], widths[age]);
        while count > 0 && ahead[count - 1].index() > whole.index() {
            count -= 1;
            whole = whole.then(ahead[count]);
        }
        ahead[count] = whole;
        count += 1;
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn widths() -> ByAge {
        std::array::from_fn(width_of)
    }

    /// Every time to give up, one after the other.
    fn by_all_horizons(hazards: &ByAge) -> ByAge {
        let widths = widths();
        std::array::from_fn(|age| {
            let mut so_far = Stretch::new(hazards[age], widths[age] / 2.0);
            let mut best = so_far.index();
            for next in age + 1..BUCKETS {
                so_far = so_far.then(Stretch::new(hazards[next], widths[next]));
                best = best.max(so_far.index());
            }
            best
        })
    }

    proptest! {
        #[test]
        fn the_index_is_the_best_over_all_horizons(
            digits in prop::collection::vec(-7.0..1.0_f64, BUCKETS),
        ) {
            let hazards: ByAge = std::array::from_fn(|age| 10_f64.powf(digits[age]));
            let (fast, slow) = (gittins(&hazards, &widths()), by_all_horizons(&hazards));
            for age in 0..BUCKETS {
                prop_assert!((fast[age] / slow[age] - 1.0).abs() < 1e-9, "{age}: {fast:?} {slow:?}");
            }
        }

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
