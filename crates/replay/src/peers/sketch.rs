//! How often objects were asked for lately, in a few bits.

use crate::ObjectId;
use crate::mix::mix;

/// Independent estimates of which the least counts.
const ROWS: u64 = 4;

/// Counters of a row for each object that the sketch is made for.
const COUNTERS_PER_OBJECT: usize = 4;

/// Counters of 4 bits in a word.
const COUNTERS_PER_WORD: usize = 16;

/// The largest count.
const MOST: u64 = 15;

/// Requests for each object after which all counts are halved.
const SAMPLE_PER_OBJECT: u64 = 10;

/// The fewest objects that a sketch is made for.
const FEWEST: usize = 16;

/// A count-min sketch with counters of 4 bits and ageing by halves: TinyLFU's, with the sizes of
/// Caffeine's, 8 bytes for each object that the cache holds. Grows with their number.
#[derive(Debug)]
pub(super) struct Sketch {
    /// Row after row; the number of counters of a row is a power of two.
    words: Vec<u64>,
    /// What the rows are long enough for; a power of two.
    objects: usize,
    /// The most objects that there ever were in the cache.
    most_objects: usize,
    additions: u64,
}

impl Sketch {
    pub(super) fn new() -> Self {
        Sketch {
            words: vec![0; FEWEST * COUNTERS_PER_OBJECT / COUNTERS_PER_WORD * 4],
            objects: FEWEST,
            most_objects: FEWEST,
            additions: 0,
        }
    }

    /// The requests after which counts are halved.
    pub(super) fn sample(&self) -> u64 {
        self.most_objects as u64 * SAMPLE_PER_OBJECT
    }

    /// Where the counter for an object in a row is: the word, and how far its bits are from the lowest.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "only the lowest bits are used"
    )]
    fn place(&self, row: u64, object: ObjectId) -> (usize, u32) {
        let counters = self.objects * COUNTERS_PER_OBJECT;
        let counter = mix((row + 1) << 32 | u64::from(object.0)) as usize & (counters - 1);
        let word = (row as usize * counters + counter) / COUNTERS_PER_WORD;
        (word, (counter % COUNTERS_PER_WORD * 4) as u32)
    }

    /// Counts a request.
    pub(super) fn record(&mut self, object: ObjectId) {
        let mut added = false;
        for row in 0..ROWS {
            let (word, shift) = self.place(row, object);
            if self.words[word] >> shift & MOST < MOST {
                self.words[word] += 1 << shift;
                added = true;
            }
        }
        self.additions += u64::from(added);
        if self.additions >= self.sample() {
            for word in &mut self.words {
                *word = *word >> 1 & 0x7777_7777_7777_7777;
            }
            self.additions /= 2;
        }
    }

    /// How many requests were counted, at most 15; too many now and then, but for ageing never too few.
    pub(super) fn frequency(&self, object: ObjectId) -> u64 {
        (0..ROWS)
            .map(|row| self.place(row, object))
            .map(|(word, shift)| self.words[word] >> shift & MOST)
            .min()
            .unwrap_or(0)
    }

    /// Makes it large enough for so many objects in the cache. What was counted stays: a row of twice
    /// the length starts as two copies of the old one, as the new place of an object is the old one or
    /// that plus the old length.
    pub(super) fn grow(&mut self, objects: usize) {
        self.most_objects = self.most_objects.max(objects);
        while self.objects < objects {
            let row = self.words.len() / 4;
            self.words = self
                .words
                .chunks(row)
                .flat_map(|row| [row, row].concat())
                .collect();
            self.objects *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_never_too_low_and_survive_growth() {
        let mut sketch = Sketch::new();
        for object in 0..12 {
            for _ in 0..=object {
                sketch.record(ObjectId(object));
            }
        }
        let exact = |sketch: &Sketch| {
            (0..12)
                .filter(|&object| sketch.frequency(ObjectId(object)) == u64::from(object) + 1)
                .count()
        };
        assert!((0..12).all(|object| sketch.frequency(ObjectId(object)) > u64::from(object)));
        assert!(exact(&sketch) >= 10);
        sketch.grow(1000);
        assert!((0..12).all(|object| sketch.frequency(ObjectId(object)) > u64::from(object)));
        assert!(exact(&sketch) >= 10);
        assert_eq!(sketch.sample(), 10_000);
    }

    #[test]
    fn a_full_sample_halves_all() {
        let mut sketch = Sketch::new();
        for _ in 0..7 {
            sketch.record(ObjectId(1));
        }
        // 160 additions are a sample; counters that are full add nothing.
        for other in 0..153 {
            assert!(sketch.frequency(ObjectId(1)) >= 7, "{other}");
            sketch.record(ObjectId(1_000 + other));
        }
        assert!((3..=9).contains(&sketch.frequency(ObjectId(1))));
        assert_eq!(sketch.additions, 80);
    }

    #[test]
    fn counts_end_at_fifteen() {
        let mut sketch = Sketch::new();
        for _ in 0..100 {
            sketch.record(ObjectId(3));
        }
        assert_eq!(sketch.frequency(ObjectId(3)), 15);
        assert_eq!(sketch.additions, 15);
    }
}
