//! `warm_write_*`: new memory that is written at once, beside a new mapping.

use std::hint::black_box;
use std::time::Instant;

use crate::bench::map::{Map, Pages};
use crate::bench::pool_of;
use crate::bench::row::{Row, Target};
use crate::bench::sample::{TURNS, by_turns, ns_since};
use crate::output::Failure;

const SMALL: &str = "a fresh mapping + writing it, small pages";
const HUGE: &str = "a fresh mapping + writing it, huge pages";

/// How much faster it has to be than a mapping of small pages.
const TIMES: f64 = 8.0;

pub(crate) fn warm_write(name: &'static str, size_bytes: usize) -> Result<Vec<Row>, Failure> {
    let huge = format!("{name}_huge");
    Ok(vec![
        against(name, size_bytes, Pages::Small, SMALL)?.judged(Target::Ratio(TIMES)),
        against(&huge, size_bytes, Pages::Huge, HUGE)?,
    ])
}

fn against(
    name: &str,
    size_bytes: usize,
    pages: Pages,
    peer: &'static str,
) -> Result<Row, Failure> {
    let pool = pool_of(4 * size_bytes as u64)?;
    let samples = by_turns(
        TURNS,
        || {
            let start = Instant::now();
            let mut tile = pool.options().allow_not_zeroed().allocate(size_bytes)?;
            write_all(&mut tile.lock_mut()?);
            drop(tile);
            Ok(ns_since(start))
        },
        || {
            let start = Instant::now();
            let mut map = Map::fresh(size_bytes, pages)?;
            write_all(map.bytes_mut());
            // That it is unmapped afterwards is not held against it.
            Ok(ns_since(start))
        },
    )?;
    Ok(Row::new(name, size_bytes as u64, peer, &samples))
}

/// The same write for everybody.
#[inline(never)]
pub(crate) fn write_all(bytes: &mut [u8]) {
    bytes.fill(black_box(7));
    black_box(bytes.as_ptr());
}
