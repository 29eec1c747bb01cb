//! A trace in memory: columns of requests.

use std::collections::HashMap;

/// An object, numbered in the order of first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u32);

impl ObjectId {
    /// As an index into a column that has a row per object.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One access, as far as it is known when it happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// When, in the trace's own units; never decreases by much, but traces differ.
    pub time: u64,
    /// What.
    pub object: ObjectId,
    /// The object's size, in bytes, as it was first seen; at least 1.
    pub size_bytes: u64,
    /// What rebuilding the object takes if this access misses; 0 where the trace does not say.
    pub cost: f32,
}

/// The largest size of an object and of a cache, in bytes: two of them can be added.
pub const MOST_BYTES: u64 = 1 << 62;

/// Object numbers are below this; the numbers from here on are marks that policies use.
pub const MOST_OBJECTS: u32 = u32::MAX - 255;

/// All requests of a trace, in order.
#[derive(Debug, Default, Clone)]
pub struct Requests {
    objects: Vec<u32>,
    times: Vec<u64>,
    /// Empty until a request has a cost.
    costs: Vec<f32>,
    sizes: Vec<u64>,
    numbers: HashMap<u64, u32>,
}

impl Requests {
    /// Adds a request. A size of 0 counts as 1 byte, one above
    /// [`MOST_BYTES`] as that; the size of an object seen before is ignored.
    ///
    /// # Panics
    /// Beyond [`MOST_OBJECTS`].
    pub fn push(&mut self, time: u64, id: u64, size_bytes: u64, cost: Option<f32>) {
        let sizes = &mut self.sizes;
        let object = *self.numbers.entry(id).or_insert_with(|| {
            let number = u32::try_from(sizes.len()).expect("fewer objects than 2^32");
            assert!(number < MOST_OBJECTS, "fewer objects than 2^32 - 256");
            sizes.push(size_bytes.clamp(1, MOST_BYTES));
            number
        });
        if let Some(cost) = cost {
            self.costs.resize(self.objects.len(), 0.0);
            self.costs.push(cost);
        } else if !self.costs.is_empty() {
            self.costs.push(0.0);
        }
        self.objects.push(object);
        self.times.push(time);
    }

    /// How many requests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// How many different objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.sizes.len()
    }

    /// The sum of the sizes with which objects were first seen, in bytes.
    #[must_use]
    pub fn footprint_bytes(&self) -> u64 {
        self.sizes
            .iter()
            .fold(0, |sum: u64, &size| sum.saturating_add(size))
    }

    /// Whether the trace says what misses cost.
    #[must_use]
    pub fn has_costs(&self) -> bool {
        !self.costs.is_empty()
    }

    /// The request at a place.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Request> {
        let object = *self.objects.get(index)?;
        Some(Request {
            time: self.times[index],
            object: ObjectId(object),
            size_bytes: self.sizes[object as usize],
            cost: self.costs.get(index).copied().unwrap_or(0.0),
        })
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Request> + '_ {
        (0..self.len()).map(|index| {
            let object = self.objects[index];
            Request {
                time: self.times[index],
                object: ObjectId(object),
                size_bytes: self.sizes[object as usize],
                cost: self.costs.get(index).copied().unwrap_or(0.0),
            }
        })
    }
}
