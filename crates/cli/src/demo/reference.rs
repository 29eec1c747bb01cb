//! The pass before the run: each file is unpacked on its own, for its digest and its cost.
//!
//! Owns: the facts that everything later is measured by. A file that cannot be unpacked is named
//! here and plays no further part. One file is unpacked at a time, by one thread, so the costs
//! are those of an otherwise quiet program.

use std::time::{Duration, Instant};

use crate::demo::baseline::Cost;
use crate::demo::histogram::nanoseconds;
use crate::demo::inputs::{Input, Skipped};
use crate::demo::scratch::{Held, Scratch};
use crate::demo::sink::Growing;
use crate::demo::unpack::{UNPACKED_MAX_BYTES, UnpackError, size_u64, temporary_bytes, unpack};

/// How many unpacked bytes are used at most, over all files: bounds the time this pass takes.
const UNPACKED_TOTAL_MAX_BYTES: u64 = 4 << 30;
/// A file that unpacks within this time is unpacked three times, for the median.
const REPEAT_BELOW: Duration = Duration::from_millis(50);
/// After so long, every file is unpacked once only.
const REPEAT_UNTIL: Duration = Duration::from_secs(4);

/// A file that can be unpacked, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) input: Input,
    pub(crate) unpacked_bytes: usize,
    /// Of the unpacked content; see [`digest`].
    pub(crate) digest: u64,
    /// The reference time: median of three if the file is small, else the one time.
    pub(crate) unpack_ns: u64,
    /// What taking the digest costs.
    pub(crate) digest_ns: u64,
    /// Scratch that unpacking takes beside the unpacked content.
    pub(crate) temporary_bytes: u64,
}

impl Item {
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            unpacked_bytes: size_u64(self.unpacked_bytes),
            unpack_ns: self.unpack_ns,
        }
    }
}

/// What the pass brought.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) items: Vec<Item>,
    pub(crate) skipped: Vec<Skipped>,
    /// Good files beyond the limit on all unpacked bytes.
    pub(crate) left_out: usize,
}

impl Reference {
    pub(crate) fn unpacked_bytes(&self) -> u64 {
        self.items
            .iter()
            .map(|item| size_u64(item.unpacked_bytes))
            .sum()
    }
}

/// Unpacks every input; `progress` is told after each how many are done.
pub(crate) fn take(
    inputs: Vec<Input>,
    scratch: &Scratch,
    mut progress: impl FnMut(usize),
) -> Reference {
    let mut reference = Reference::default();
    let mut total_bytes = 0_u64;
    let repeat_until = Instant::now() + REPEAT_UNTIL;
    for (index, input) in inputs.into_iter().enumerate() {
        match measure(&input, scratch, repeat_until) {
            Err(error) => reference
                .skipped
                .push(Skipped::new(&input.path, error.to_string())),
            Ok(item) => {
                let with_it_bytes = total_bytes + size_u64(item.unpacked_bytes);
                if with_it_bytes > UNPACKED_TOTAL_MAX_BYTES {
                    reference.left_out += 1;
                } else {
                    total_bytes = with_it_bytes;
                    reference.items.push(item);
                }
            }
        }
        progress(index + 1);
    }
    reference
}

fn measure(input: &Input, scratch: &Scratch, repeat_until: Instant) -> Result<Item, UnpackError> {
    let temporary_bytes = temporary_bytes(&input.path, input.kind, UNPACKED_MAX_BYTES)?;
    let mut held = scratch.hold(temporary_bytes);
    // The first unpacking does not know the size yet, so its buffer grows on the way.
    let (content, first) = unpack_timed(input, 0, temporary_bytes, &mut held)?;
    if content.is_empty() {
        return Err(UnpackError::Empty);
    }
    let start = Instant::now();
    let digest = digest(&content);
    let digest_ns = nanoseconds(start.elapsed());
    let unpacked_bytes = content.len();
    drop(content);

    let mut times = vec![first];
    while times.len() < 3 && first < REPEAT_BELOW && Instant::now() < repeat_until {
        let (again, time) = unpack_timed(input, unpacked_bytes, temporary_bytes, &mut held)?;
        if again.len() != unpacked_bytes {
            return Err(UnpackError::Changed);
        }
        times.push(time);
    }
    times.sort();
    let unpack_ns = nanoseconds(times[times.len() / 2]);
    let input = input.clone();
    Ok(Item {
        input,
        unpacked_bytes,
        digest,
        unpack_ns,
        digest_ns,
        temporary_bytes,
    })
}

fn unpack_timed(
    input: &Input,
    expected_bytes: usize,
    temporary_bytes: u64,
    held: &mut Held<'_>,
) -> Result<(Vec<u8>, Duration), UnpackError> {
    let start = Instant::now();
    let mut sink = Growing::new(expected_bytes, UNPACKED_MAX_BYTES, temporary_bytes, held);
    unpack(&input.path, input.kind, &mut sink)?;
    let content = sink.into_bytes();
    Ok((content, start.elapsed()))
}

/// A 64-bit digest: two different contents have the same one by a chance of 1 in 2^64.
pub(crate) fn digest(content: &[u8]) -> u64 {
    rapidhash::v3::rapidhash_v3(content)
}
