//! Hit density by class and age, learned from what was hit and discarded.

/// Ages that are told apart. The last stands for all beyond.
pub(super) const AGES: u32 = 20_000;
/// Classes of last hit ages.
pub(super) const CLASSES: usize = 16;
/// The last but one hit age of an object that was never hit.
pub(super) const NEW_OBJECT: u32 = AGES;

/// Requests between reconfigurations.
const PERIOD: u32 = 1 << 14;
/// What histograms keep at each.
const DECAY: f32 = 0.9;
/// Objects in the cache for each unit of age, times the number of ages.
const COARSENING_ERROR: f64 = 0.01;
/// The reconfigurations at which the unit of age is set.
const COARSEN_AT: [u32; 3] = [1, 5, 25];
/// What is as good as no event.
const HARDLY_ANY: f32 = 1e-5;

#[derive(Debug, Clone)]
struct Class {
    /// By age.
    hits: Vec<f32>,
    discards: Vec<f32>,
    /// Hits a unit of age for an object of that age.
    densities: Vec<f32>,
}

#[derive(Debug)]
pub(super) struct Model {
    classes: Vec<Class>,
    /// The logarithm of the requests in a unit of age.
    unit_shift: u32,
    left_of_period: u32,
    reconfigurations: u32,
    /// Objects in the cache, a decaying sum over reconfigurations, and its weight.
    objects: f64,
    weight: f64,
}

impl Model {
    /// Until the first reconfiguration an object's density is one over its age, times the number of its
    /// class, as it is in the authors' program.
    pub(super) fn new() -> Self {
        let class = |number: usize| Class {
            hits: vec![0.0; AGES as usize],
            discards: vec![0.0; AGES as usize],
            densities: (0..AGES)
                .map(|age| (number + 1) as f32 / (age + 1) as f32)
                .collect(),
        };
        Model {
            classes: (0..CLASSES).map(class).collect(),
            unit_shift: 0,
            left_of_period: PERIOD,
            reconfigurations: 0,
            objects: 0.0,
            weight: 0.0,
        }
    }

    /// The age, in units, after so many requests.
    #[inline]
    pub(super) fn age(&self, requests: u64) -> u32 {
        let age = requests >> self.unit_shift;
        u32::try_from(age).map_or(AGES - 1, |age| age.min(AGES - 1))
    }

    /// The class of objects with this sum of last hit ages: the last for 0, the first for those as old
    /// as can be; a class lower for each doubling.
    #[inline]
    pub(super) fn class(hit_ages: u32) -> usize {
        let mut class = 0;
        let mut age = hit_ages;
        while age < AGES && class < CLASSES - 1 {
            age *= 2;
            class += 1;
        }
        class
    }

    #[inline]
    pub(super) fn density(&self, class: usize, age: u32) -> f32 {
        self.classes[class].densities[age as usize]
    }

    pub(super) fn hit(&mut self, class: usize, age: u32) {
        self.classes[class].hits[age as usize] += 1.0;
    }

    pub(super) fn discarded(&mut self, class: usize, age: u32) {
        self.classes[class].discards[age as usize] += 1.0;
    }

    /// A request has been served, and so many objects are in the cache.
    #[inline]
    pub(super) fn tick(&mut self, objects: usize) {
        self.left_of_period -= 1;
        if self.left_of_period == 0 {
            self.left_of_period = PERIOD;
            self.reconfigure(objects);
        }
    }

    #[cold]
    fn reconfigure(&mut self, objects: usize) {
        self.reconfigurations += 1;
        for class in &mut self.classes {
            for events in class.hits.iter_mut().chain(&mut class.discards) {
                *events *= DECAY;
            }
        }
        let decay = f64::from(DECAY);
        self.objects = self.objects * decay + objects as f64;
        self.weight = self.weight * decay + 1.0;
        if COARSEN_AT.contains(&self.reconfigurations) {
            let unit = self.objects / self.weight / (COARSENING_ERROR * f64::from(AGES));
            let mut shift = 0_u32;
            while ((1_u64 << shift) as f64) < unit {
                shift += 1;
            }
            self.rescale(shift);
        }
        self.classes.iter_mut().for_each(Class::learn);
    }

    /// Changes the unit of age, and what was learned with it.
    fn rescale(&mut self, shift: u32) {
        for class in &mut self.classes {
            for events in [&mut class.hits, &mut class.discards] {
                if shift > self.unit_shift {
                    compress(events, shift - self.unit_shift);
                } else if shift < self.unit_shift {
                    stretch(events, self.unit_shift - shift);
                }
            }
        }
        self.unit_shift = shift;
    }
}

/// Adds up each 2^by ages; what was too old still is.
fn compress(events: &mut [f32], by: u32) {
    let last = events.len() - 1;
    let too_old = std::mem::take(&mut events[last]);
    for age in 0..events.len() {
        let count = std::mem::take(&mut events[age]);
        events[age >> by] += count;
    }
    events[last] += too_old;
}

/// Spreads each age over 2^by; what that makes too old is.
fn stretch(events: &mut [f32], by: u32) {
    let last = events.len() - 1;
    let parts = 1 << by;
    let cut = last >> by;
    // Of the age that is cut, the parts that are no younger than the last age.
    let of_cut = (cut + 1) * parts - last;
    let too_old =
        events[cut] * of_cut as f32 / parts as f32 + events[cut + 1..].iter().sum::<f32>();
    for age in (0..last).rev() {
        events[age] = events[age >> by] / parts as f32;
    }
    events[last] = too_old;
}

impl Class {
    /// Density at an age: the hits yet to come over the time that objects of that age have yet to live,
    /// both summed over all that got so old.
    fn learn(&mut self) {
        let (mut hits, mut events, mut lifetime) = (0.0, 0.0, 0.0);
        for age in (0..AGES as usize).rev() {
            hits += self.hits[age];
            events += self.hits[age] + self.discards[age];
            lifetime += events;
            self.densities[age] = if events > HARDLY_ANY {
                hits / lifetime
            } else {
                0.0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One object hit at age 2, one discarded at age 4.
    #[test]
    fn densities_are_as_worked_by_hand() {
        let mut model = Model::new();
        model.hit(3, 2);
        model.discarded(3, 4);
        model.classes[3].learn();
        let density = |age| model.density(3, age);
        // Of age 0, both: one hit, in 3 + 5 units of time, each counting the one it is in.
        assert!((density(0) - 1.0 / 8.0).abs() < 1e-6);
        assert!((density(1) - 1.0 / 6.0).abs() < 1e-6);
        assert!((density(2) - 1.0 / 4.0).abs() < 1e-6);
        // Of age 3, one that was never hit.
        assert!(density(3).abs() < 1e-6);
        assert!(density(5).abs() < 1e-6);
    }

    #[test]
    fn classes_are_logarithms() {
        assert_eq!(Model::class(0), 15);
        assert_eq!(Model::class(1), 15);
        assert_eq!(Model::class(3), 13);
        assert_eq!(Model::class(9_999), 2);
        assert_eq!(Model::class(10_000), 1);
        assert_eq!(Model::class(AGES), 0);
        assert_eq!(Model::class(2 * AGES), 0);
    }

    #[test]
    fn another_unit_of_age_keeps_all_events() {
        let mut events = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        compress(&mut events, 1);
        assert_eq!(events, [3.0, 7.0, 11.0, 7.0, 0.0, 0.0, 0.0, 8.0]);
        stretch(&mut events, 1);
        assert_eq!(events, [1.5, 1.5, 3.5, 3.5, 5.5, 5.5, 3.5, 8.0 + 3.5]);
    }

    /// 200 units of age for as many objects as the cache has.
    #[test]
    fn the_unit_of_age_follows_the_objects() {
        let mut model = Model::new();
        assert_eq!(model.age(777), 777);
        for _ in 0..PERIOD {
            model.tick(1_600);
        }
        assert_eq!(model.age(800), 100);
        assert_eq!(model.age(u64::MAX), AGES - 1);
    }
}
