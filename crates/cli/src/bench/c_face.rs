//! The rows of the C interface: `pair_c`, `pair_c_1g`, `pair_c_syscalls`, `batch_1024_c`,
//! `reclaim_null`, `create_destroy_64k_c`.

use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::Instant;

use vidmm_abi::{BOOL, D3DKMT_HANDLE, STATUS_SUCCESS};

use crate::bench::c_library::{Device, Offer, Reclaim};
use crate::bench::create::mapped_and_unmapped;
use crate::bench::pair::{Line, PEER, bare_pairs, swap};
use crate::bench::row::{Row, Target};
use crate::bench::sample::{Samples, TURNS, by_turns, ns_each, ns_since};
use crate::bench::too_little_memory;
use crate::bench::usage::machine_available_bytes;
use crate::output::Failure;

const SMALL_BYTES: usize = 4 << 10;
const SIZE_BYTES: usize = 64 << 10;
const LARGE_BYTES: usize = 1 << 30;
/// Pairs of one sample: a few milliseconds.
const PAIRS: u32 = 200_000;
/// The handles of a batch.
const BATCH: usize = 1024;
/// Batches of one sample.
const BATCHES: u32 = 200;
/// Discards of one sample, each of a batch.
const DISCARDS: u32 = 8;
/// Creates of one sample, and before the first one, as in `create`.
const CREATES: u32 = 20_000;
const CREATES_BEFORE: u32 = 40_000;

const LIMIT_CREATE_NS: f64 = 400.0;

/// A device with room for all of a row.
fn device(bytes: usize) -> Result<Device, Failure> {
    let budget_bytes = bytes as u64 + (16 << 20);
    if machine_available_bytes()? < 2 * budget_bytes {
        return Err(too_little_memory(2 * budget_bytes));
    }
    Device::open(budget_bytes)
}

/// An allocation with a content.
pub(crate) fn backed(device: &Device, size_bytes: usize) -> Result<[D3DKMT_HANDLE; 1], Failure> {
    let allocation = device.create(size_bytes as u64)?;
    device.back(allocation, size_bytes)?;
    Ok([allocation])
}

/// Nanoseconds per pair.
#[inline(never)]
pub(crate) fn pairs(offer: &Offer<'_>, reclaim: &Reclaim<'_>, count: u32) -> Result<f64, Failure> {
    let mut done = true;
    let ns = ns_each(count, || {
        done &= black_box(offer).call() == STATUS_SUCCESS;
        done &= black_box(reclaim).call() == STATUS_SUCCESS;
    });
    match done && reclaim.all_intact() {
        true => Ok(ns),
        false => Err("a pair was refused, or something offered was lost".into()),
    }
}

pub(crate) fn pair() -> Result<Vec<Row>, Failure> {
    let device = device(SIZE_BYTES)?;
    let tile = backed(&device, SIZE_BYTES)?;
    let mut discarded = [BOOL::MAX];
    let offer = device.offer_of(&tile);
    let reclaim = device.reclaim_of(&tile, Some(&mut discarded))?;
    let line = Line::default();
    let samples = by_turns(
        TURNS,
        || pairs(&offer, &reclaim, PAIRS),
        || bare_pairs(&line, u64::from(PAIRS)),
    )?;
    let row = Row::new("pair_c", SIZE_BYTES as u64, PEER, &samples)
        .judged(Target::OfPeer(1.5))
        .noting(device.where_from.clone());
    device.destroy(tile[0])?;
    Ok(vec![row])
}

pub(crate) fn pair_of_1g() -> Result<Vec<Row>, Failure> {
    let device = device(LARGE_BYTES)?;
    let (small, large) = (backed(&device, SMALL_BYTES)?, backed(&device, LARGE_BYTES)?);
    let (mut of_small, mut of_large) = ([BOOL::MAX], [BOOL::MAX]);
    let (offer_small, offer_large) = (device.offer_of(&small), device.offer_of(&large));
    let reclaim_small = device.reclaim_of(&small, Some(&mut of_small))?;
    let reclaim_large = device.reclaim_of(&large, Some(&mut of_large))?;
    let samples = by_turns(
        TURNS,
        || pairs(&offer_large, &reclaim_large, PAIRS),
        || pairs(&offer_small, &reclaim_small, PAIRS),
    )?;
    let peer = "the same on 4 KiB";
    let row =
        Row::new("pair_c_1g", LARGE_BYTES as u64, peer, &samples).judged(Target::OfPeer(1.05));
    device.destroy(small[0])?;
    device.destroy(large[0])?;
    Ok(vec![row])
}

pub(crate) fn pair_and_system_calls() -> Result<Vec<Row>, Failure> {
    let device = device(SIZE_BYTES)?;
    let tile = backed(&device, SIZE_BYTES)?;
    let mut discarded = [BOOL::MAX];
    let offer = device.offer_of(&tile);
    let reclaim = device.reclaim_of(&tile, Some(&mut discarded))?;
    let samples = by_turns(
        TURNS,
        || pairs(&offer, &reclaim, PAIRS),
        || Ok(two_system_calls()),
    )?;
    let peer = "two bare system calls (getppid)";
    let row =
        Row::new("pair_c_syscalls", SIZE_BYTES as u64, peer, &samples).judged(Target::Ratio(10.0));
    device.destroy(tile[0])?;
    Ok(vec![row])
}

/// The cheapest that the kernel does, twice.
fn two_system_calls() -> f64 {
    ns_each(PAIRS / 10, || {
        black_box(rustix::process::getppid());
        black_box(rustix::process::getppid());
    })
}

/// A batch of allocations with contents.
fn batch(device: &Device) -> Result<Vec<D3DKMT_HANDLE>, Failure> {
    let mut tiles = Vec::new();
    for _ in 0..BATCH {
        tiles.extend(backed(device, SMALL_BYTES)?);
    }
    Ok(tiles)
}

pub(crate) fn batch_of_1024() -> Result<Vec<Row>, Failure> {
    let device = device(BATCH * SMALL_BYTES)?;
    let tiles = batch(&device)?;
    let mut discarded = vec![BOOL::MAX; BATCH];
    let offer = device.offer_of(&tiles);
    let reclaim = device.reclaim_of(&tiles, Some(&mut discarded))?;
    let lines: Vec<Line> = (0..BATCH).map(|_| Line::default()).collect();
    let samples = by_turns(
        TURNS,
        || Ok(pairs(&offer, &reclaim, BATCHES)? / (2 * BATCH) as f64),
        || one_pass_each(&lines),
    )?;
    let peer = "one pass of bare compare-and-swaps";
    let row =
        Row::new("batch_1024_c", SMALL_BYTES as u64, peer, &samples).judged(Target::OfPeer(1.3));
    for &tile in &tiles {
        device.destroy(tile)?;
    }
    Ok(vec![row])
}

/// Nanoseconds per line of passes that swap a value known beforehand in each. Nothing is looked up,
/// checked first or answered.
#[inline(never)]
fn one_pass_each(lines: &[Line]) -> Result<f64, Failure> {
    let mut now = 1;
    lines
        .iter()
        .for_each(|line| line.0.store(now, Ordering::SeqCst));
    let mut swapped = true;
    let passes = 2 * BATCHES;
    let start = Instant::now();
    for _ in 0..passes {
        let next = now + 1;
        for line in black_box(lines) {
            swapped &= swap(line, now, next);
        }
        now = next;
    }
    let ns = ns_since(start) / (f64::from(passes) * lines.len() as f64);
    match swapped {
        true => Ok(ns),
        false => Err("the bare swaps failed: somebody else wrote their cache lines".into()),
    }
}

/// A reclaim without results beside one with them: of intact memory, and after a discard.
pub(crate) fn reclaim_null() -> Result<Vec<Row>, Failure> {
    let device = device(BATCH * SMALL_BYTES)?;
    let tiles = batch(&device)?;
    let (mut of_one, mut of_all) = ([BOOL::MAX], vec![BOOL::MAX; BATCH]);
    let one = &tiles[..1];
    let offer = device.offer_of(one);
    let told = device.reclaim_of(one, Some(&mut of_one))?;
    let untold = device.reclaim_of(one, None)?;
    let samples = by_turns(
        TURNS,
        || pairs(&offer, &untold, PAIRS),
        || pairs(&offer, &told, PAIRS),
    )?;
    let peer = "the pair with results";
    let intact = Row::new("reclaim_null", SMALL_BYTES as u64, peer, &samples)
        // As good as equal: the difference is less than two runs of one of them.
        .judged(Target::OfPeer(1.05));

    let offer = device.offer_of(&tiles);
    let told = device.reclaim_of(&tiles, Some(&mut of_all))?;
    let untold = device.reclaim_of(&tiles, None)?;
    let row = |name, samples: &Samples| {
        let peer = "the same with results";
        Row::new(name, SMALL_BYTES as u64, peer, samples).judged(Target::Ratio(1.0))
    };
    let of_batch = by_turns(
        TURNS,
        || after_discards(&device, &offer, &untold),
        || after_discards(&device, &offer, &told),
    )?;
    let mut each = vec![BOOL::MAX; BATCH];
    let told: Result<Vec<Reclaim<'_>>, Failure> = tiles
        .chunks(1)
        .zip(each.chunks_mut(1))
        .map(|(tile, result)| device.reclaim_of(tile, Some(result)))
        .collect();
    let untold: Result<Vec<Reclaim<'_>>, Failure> = tiles
        .chunks(1)
        .map(|tile| device.reclaim_of(tile, None))
        .collect();
    let (told, untold) = (told?, untold?);
    let of_each = by_turns(
        TURNS,
        || each_after_a_discard(&device, &offer, &untold),
        || each_after_a_discard(&device, &offer, &told),
    )?;
    let rows = vec![
        intact,
        row("reclaim_null_discarded", &of_each),
        row("reclaim_null_discarded_1024", &of_batch),
    ];
    for &tile in &tiles {
        device.destroy(tile)?;
    }
    Ok(rows)
}

/// Nanoseconds per allocation of one reclaim of all, after all were discarded.
fn after_discards(
    device: &Device,
    offer: &Offer<'_>,
    reclaim: &Reclaim<'_>,
) -> Result<f64, Failure> {
    each_after_a_discard(device, offer, std::slice::from_ref(reclaim))
}

/// Nanoseconds per allocation of reclaims that are all of them together, after all were discarded.
fn each_after_a_discard(
    device: &Device,
    offer: &Offer<'_>,
    reclaims: &[Reclaim<'_>],
) -> Result<f64, Failure> {
    let mut ns = 0.0;
    for _ in 0..DISCARDS {
        let mut done = offer.call() == STATUS_SUCCESS;
        device.evict_all()?;
        let start = Instant::now();
        for reclaim in black_box(reclaims) {
            done &= reclaim.call() == STATUS_SUCCESS;
        }
        ns += ns_since(start);
        if !done {
            return Err("an offer or a reclaim after a discard was refused".into());
        }
    }
    Ok(ns / (f64::from(DISCARDS) * BATCH as f64))
}

pub(crate) fn create_destroy() -> Result<Vec<Row>, Failure> {
    let device = device(64 << 20)?;
    created_and_destroyed(&device, CREATES_BEFORE)?;
    let samples = by_turns(
        TURNS,
        || created_and_destroyed(&device, CREATES),
        || mapped_and_unmapped(CREATES / 10),
    )?;
    let peer = "mmap + munmap, untouched";
    let row = Row::new("create_destroy_64k_c", SIZE_BYTES as u64, peer, &samples)
        .judged(Target::AtMost(LIMIT_CREATE_NS));
    Ok(vec![row])
}

fn created_and_destroyed(device: &Device, count: u32) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..count {
        let tile = device.create(black_box(SIZE_BYTES as u64))?;
        device.destroy(black_box(tile))?;
    }
    Ok(ns_since(start) / f64::from(count))
}
