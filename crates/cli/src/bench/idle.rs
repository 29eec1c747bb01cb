//! `idle`: how often a pool that holds nothing wakes up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use vidmm::Pool;

use crate::bench::row::{Row, Target, Unit};
use crate::bench::sample::Samples;
use crate::bench::usage::switches_of_threads;
use crate::output::{Failure, note};

const SIZE_BYTES: usize = 1 << 20;
const WINDOW: Duration = Duration::from_secs(30);
/// A pool that has become empty may look once more before it rests.
const SETTLE: Duration = Duration::from_secs(3);
/// The count is shown so often meanwhile.
const PARTS: u32 = 10;

pub(crate) fn idle() -> Result<Vec<Row>, Failure> {
    let before: BTreeSet<String> = switches_of_threads()?.into_keys().collect();
    // With everything that a program gets if it says nothing: the machine's pressure is heeded.
    let pool = Pool::builder()
        .budget_bytes(8 * SIZE_BYTES as u64)
        .build()?;
    let mut tile = pool.allocate(SIZE_BYTES)?;
    tile.lock_mut()?.fill(1);
    drop(tile);
    pool.trim(u64::MAX)?;

    let agents: Vec<String> = switches_of_threads()?
        .into_keys()
        .filter(|thread| !before.contains(thread))
        .collect();
    if agents.is_empty() {
        return Err("the pool has started no thread, so there is none to watch".into());
    }
    let wakeups = || -> Result<f64, Failure> {
        let now = switches_of_threads()?;
        let count = |agent: &String| now.get(agent).copied();
        let sum: Option<u64> = agents.iter().map(count).sum();
        let sum = sum.ok_or("a thread of the pool has ended while it was watched")?;
        Ok(sum as f64)
    };
    std::thread::sleep(SETTLE);

    let (first, start) = (wakeups()?, Instant::now());
    let mut last = first;
    for part in 1..=PARTS {
        std::thread::sleep((WINDOW * part / PARTS).saturating_sub(start.elapsed()));
        last = wakeups()?;
        note(&format!(
            "  idle: {} of {} s, {} wake-ups",
            start.elapsed().as_secs(),
            WINDOW.as_secs(),
            last - first
        ));
    }
    let held_bytes = pool.resident()?.rss_bytes;
    if held_bytes > 0 {
        return Err(format!("the pool still holds {held_bytes} bytes, so it is not idle").into());
    }
    let samples = Samples::beside(vec![last - first], 0.0);
    let row = Row::new("idle", 0, "the target", &samples)
        .in_unit(Unit::Wakeups)
        .judged(Target::AtMost(0.0));
    Ok(vec![row.noting(format!(
        "{} thread(s) watched for {} s",
        agents.len(),
        WINDOW.as_secs()
    ))])
}
