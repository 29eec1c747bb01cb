//! A trace, read into memory: whole, or a sample of it.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use vidmm_replay::{Future, MOST_OBJECTS, Requests};
use vidmm_tracefile::{Access, Accesses, Format};

use crate::output::{Failure, printable};
use crate::progress::Progress;
use crate::replay::sample::{KEPT_MAX, SALT, SLICES, Sample, Sampler};
use crate::replay::size::Rate;

/// Nothing is shown of what takes no longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// So many accesses are read between two looks at the clock.
const ACCESSES_PER_LOOK: u64 = 65_536;

/// What is known of a trace as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) objects: u64,
    /// The sizes of all objects.
    pub(crate) footprint_bytes: u64,
    /// What all requests ask for.
    pub(crate) bytes: u64,
    /// What all requests would cost if all of them missed.
    pub(crate) cost: f64,
    /// The trace says of some what they cost.
    pub(crate) has_costs: bool,
    /// Each object counts 1 byte: the trace has no sizes.
    pub(crate) all_of_one_byte: bool,
}

impl Totals {
    /// Adds a request; `size_bytes` is the object's, as it was first seen.
    pub(crate) fn count(&mut self, size_bytes: u64, cost: Option<f32>) {
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(size_bytes);
        self.cost += f64::from(cost.unwrap_or(0.0));
        self.has_costs |= cost.is_some();
    }
}

/// Requests that are replayed by themselves: all of the trace, or those for some of its objects.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) requests: Requests,
    future: OnceLock<Future>,
}

impl Part {
    pub(crate) fn new(requests: Requests) -> Self {
        Part {
            requests,
            future: OnceLock::new(),
        }
    }

    /// What is to come, found when it is first asked for.
    pub(crate) fn future(&self) -> &Future {
        self.future.get_or_init(|| Future::of(&self.requests))
    }
}

/// A trace in memory.
#[derive(Debug)]
pub(crate) struct Trace {
    /// The file's name, fit for a terminal.
    pub(crate) name: String,
    pub(crate) format: Format,
    pub(crate) totals: Totals,
    pub(crate) parts: Parts,
}

/// What is in memory of it.
#[derive(Debug)]
pub(crate) enum Parts {
    Whole(Part),
    Sample(Sample),
}

impl Parts {
    /// All of them, in a fixed order.
    pub(crate) fn all(&self) -> Vec<&Part> {
        match self {
            Parts::Whole(part) => vec![part],
            Parts::Sample(sample) => {
                let slices = sample.slices.iter();
                std::iter::once(&sample.all).chain(slices).collect()
            }
        }
    }

    /// The size that the cache has on each part, if it is of `size_bytes` on the whole trace.
    pub(crate) fn sizes_bytes(&self, size_bytes: u64) -> Vec<u64> {
        match self {
            Parts::Whole(_) => vec![size_bytes],
            Parts::Sample(sample) => {
                let of_slice = sample.threshold.scaled(size_bytes, SLICES);
                let mut sizes = vec![of_slice; SLICES + 1];
                sizes[0] = sample.threshold.scaled(size_bytes, 1);
                sizes
            }
        }
    }
}

/// Reads a trace, or takes a sample out of it.
///
/// # Errors
/// The file cannot be read, is damaged, is of no known format, has no requests or too many objects.
pub(crate) fn load(
    path: &Path,
    format: Option<Format>,
    rate: Option<Rate>,
) -> Result<Trace, Failure> {
    let mut accesses = vidmm_tracefile::open(path, format)?;
    let format = accesses.format();
    let name = name_of(path);
    let (totals, parts) = match rate {
        None => whole(&mut accesses)?,
        Some(rate) => {
            let mut sampler = Sampler::new(rate, KEPT_MAX, SALT);
            read(&mut accesses, |access| sampler.see(&access))?;
            sampler.finish()
        }
    };
    if totals.requests == 0 {
        return Err(
            format!("{name}: there are no requests in it, so nothing could be missed").into(),
        );
    }
    if let (Parts::Sample(sample), Some(rate)) = (&parts, rate)
        && sample.all.requests.is_empty()
    {
        return Err(format!(
            "{name}: a sample of {rate} has none of the {} objects in it; take a larger one (--sample)",
            totals.objects
        )
        .into());
    }
    Ok(Trace {
        name,
        format,
        totals,
        parts,
    })
}

fn whole(accesses: &mut Accesses) -> Result<(Totals, Parts), Failure> {
    let mut requests = Requests::default();
    read(accesses, |access| {
        requests.push(access.time, access.id, access.size_bytes, access.cost);
        // The next new object would be one too many.
        few_enough(requests.objects(), MOST_OBJECTS)
    })?;
    Ok((totals_of(&requests), Parts::Whole(Part::new(requests))))
}

/// Hands on all accesses, and shows how far it is.
fn read(
    accesses: &mut Accesses,
    mut take: impl FnMut(Access) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut progress = Progress::begin_long("reading", accesses.total_bytes(), PATIENCE);
    let mut count = 0;
    while let Some(access) = accesses.next() {
        take(access?)?;
        count += 1;
        if count % ACCESSES_PER_LOOK == 0 {
            progress.show(accesses.read_bytes(), || format!("{count} requests"));
        }
    }
    Ok(())
}

/// Whether there is room for another object.
pub(crate) fn few_enough(objects: usize, most: u32) -> Result<(), Failure> {
    if objects < most as usize {
        return Ok(());
    }
    Err(format!(
        "the trace has {most} different objects or more, which is more than can be told apart"
    )
    .into())
}

fn totals_of(requests: &Requests) -> Totals {
    let mut totals = Totals {
        objects: requests.objects() as u64,
        footprint_bytes: requests.footprint_bytes(),
        ..Totals::default()
    };
    for request in requests.iter() {
        let cost = requests.has_costs().then_some(request.cost);
        totals.count(request.size_bytes, cost);
    }
    totals.all_of_one_byte = totals.footprint_bytes == totals.objects;
    totals
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    printable(&name.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_objects_are_refused_before_they_are_too_many() {
        assert!(few_enough(9, 10).is_ok());
        let error = few_enough(10, 10).unwrap_err().to_string();
        assert!(error.contains("10 different objects"), "{error}");
    }
}
