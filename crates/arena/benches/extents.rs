//! The arena's bookkeeping against the `offset-allocator` crate on one random workload, and the
//! return of pages against the kernel's bare rate on the same addresses.
//!
//! `cargo bench -p vidmm-arena` prints divan's times for single operations, then two tables.
#![allow(unsafe_code, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use offset_allocator::Allocator;
use vidmm_arena::free::{Align, FreeSpace, Run};
use vidmm_arena::{Arena, ArenaOptions, Extent, LinuxKernel};

fn main() {
    divan::main();
    // `cargo test --benches` only sees whether everything runs, in divan's way: it says no such word.
    if std::env::args().any(|argument| argument == "--bench") {
        compare_free_spaces();
        compare_returns();
    }
}

fn arena() -> Arena {
    Arena::new(LinuxKernel, ArenaOptions::default()).expect("address space")
}

/// The whole way of a freed extent and of the next allocation of its size: lock, bin, lock, bin.
#[divan::bench(args = [4 << 10, 64 << 10, 1 << 20, 16 << 20])]
fn put_and_take_warm(bencher: divan::Bencher<'_, '_>, size_bytes: u64) {
    let arena = arena();
    let shape = arena.shape(size_bytes, 0).expect("shape");
    arena.put_warm(arena.take_clean(shape, 64 << 20).expect("extent"));
    bencher.bench_local(|| {
        let extent = arena.take_warm(black_box(shape)).expect("put before");
        arena.put_warm(extent);
    });
}

/// Without the lock.
#[divan::bench]
fn put_and_take_free_space(bencher: divan::Bencher<'_, '_>) {
    let mut space = FreeSpace::new();
    space.put(Run { start: 64, len: 16 });
    bencher.bench_local(|| {
        let start = space.take(black_box(16), Align::NONE).expect("put before");
        space.put(Run { start, len: 16 });
    });
}

/// Splits and merges only: no bin can serve a size that is never asked for again.
#[divan::bench]
fn split_and_merge(bencher: divan::Bencher<'_, '_>) {
    let mut space = FreeSpace::new();
    for start in 0..10_000 {
        space.put_merged(Run {
            start: start * 100,
            len: 99,
        });
    }
    bencher.bench_local(|| {
        let start = space
            .take(black_box(16), Align::NONE)
            .expect("there is plenty");
        space.put_merged(Run { start, len: 16 });
    });
}

/// A small generator of our own, so that the workload is the same for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound)).expect("below a u32")
    }
}

/// 16 GiB in pages of 4 KiB.
const UNITS: u32 = 1 << 22;
const OPERATIONS: u32 = 4_000_000;

/// What sizes a workload asks for, in pages.
#[derive(Copy, Clone)]
enum Sizes {
    /// 1 to 512 pages, small ones more often.
    Mixed,
    /// One of six sizes, as image tiles and decoded files have.
    Few,
}

impl Sizes {
    fn draw(self, random: &mut Random) -> u32 {
        match self {
            Self::Mixed => {
                let bound = 2 << random.below(9);
                1 + random.below(bound)
            }
            Self::Few => [1, 4, 16, 64, 256, 1024][random.below(6) as usize],
        }
    }
}

/// One of the two under test.
trait Space {
    type Piece: Copy;
    fn take(&mut self, len: u32) -> Option<(u32, Self::Piece)>;
    fn put(&mut self, piece: Self::Piece);
    /// The largest free run and all free units.
    fn free(&mut self) -> (u64, u64);
}

impl Space for FreeSpace {
    type Piece = Run;

    fn take(&mut self, len: u32) -> Option<(u32, Run)> {
        let start = Self::take(self, len, Align::NONE)?;
        Some((start, Run { start, len }))
    }

    fn put(&mut self, run: Run) {
        Self::put(self, run);
    }

    fn free(&mut self) -> (u64, u64) {
        (u64::from(self.largest()), self.units())
    }
}

impl Space for Allocator<u32> {
    type Piece = offset_allocator::Allocation<u32>;

    fn take(&mut self, len: u32) -> Option<(u32, Self::Piece)> {
        let piece = self.allocate(len)?;
        Some((piece.offset, piece))
    }

    fn put(&mut self, piece: Self::Piece) {
        self.free(piece);
    }

    fn free(&mut self) -> (u64, u64) {
        let report = self.storage_report();
        (
            report.largest_free_region.into(),
            report.total_free_space.into(),
        )
    }
}

/// Fills half of the space, then frees and takes at random. Returns ns per operation, the largest
/// free run as a share of all free units, the share of the space that was ever reached, and
/// failures.
fn run<S: Space>(space: &mut S, sizes: Sizes) -> (f64, f64, f64, u32) {
    let mut random = Random(0x5eed_1234_5678_9abc);
    let mut live: Vec<(u32, S::Piece)> = Vec::with_capacity(1 << 21);
    let (mut used, mut reached, mut failures) = (0u64, 0u64, 0u32);
    let begin = Instant::now();
    for _ in 0..OPERATIONS {
        let full = used > u64::from(UNITS) / 2;
        if !live.is_empty() && (full || random.below(8) < 3) {
            let which = random.below(u32::try_from(live.len()).expect("few")) as usize;
            let (len, piece) = live.swap_remove(which);
            space.put(piece);
            used -= u64::from(len);
            continue;
        }
        let len = sizes.draw(&mut random);
        match space.take(len) {
            Some((start, piece)) => {
                live.push((len, piece));
                used += u64::from(len);
                reached = reached.max(u64::from(start) + u64::from(len));
            }
            None => failures += 1,
        }
    }
    let ns = begin.elapsed().as_secs_f64() * 1e9 / f64::from(OPERATIONS);
    let (largest, free) = space.free();
    let share = |part: u64, whole: u64| part as f64 / whole as f64;
    (
        ns,
        share(largest, free),
        share(reached, u64::from(UNITS)),
        failures,
    )
}

fn compare_free_spaces() {
    println!("\nfree space, {OPERATIONS} operations, half of {UNITS} pages in use");
    println!("sizes  allocator         ns/op  largest/free  reached  failed");
    let row = |sizes: &str, name: &str, (ns, largest, reached, failed): (f64, f64, f64, u32)| {
        println!("{sizes:6} {name:16} {ns:6.0}  {largest:12.3}  {reached:7.3}  {failed:6}");
    };
    for (name, sizes) in [("mixed", Sizes::Mixed), ("few", Sizes::Few)] {
        let mut ours = FreeSpace::new();
        ours.put_merged(Run {
            start: 0,
            len: UNITS,
        });
        row(name, "vidmm", run(&mut ours, sizes));
        let mut theirs = Allocator::<u32>::with_max_allocs(UNITS, 1 << 21);
        row(name, "offset-allocator", run(&mut theirs, sizes));
    }
}

const ROUNDS: usize = 9;

/// Bytes that each round writes and returns.
const RETURN_BYTES: u64 = 256 << 20;

fn compare_returns() {
    println!(
        "\nreturning {} MiB, us/MiB, median of {ROUNDS} (bare: madvise on each extent, and on",
        RETURN_BYTES >> 20
    );
    println!("the whole range at once)");
    println!("extent     return_extents  return_warm  bare each  bare whole  ratio to bare each");
    for size_bytes in [64 << 10, 1 << 20, 16 << 20] {
        let arena = arena();
        let shape = arena.shape(size_bytes, 0).expect("shape");
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            for (way, times) in times.iter_mut().enumerate() {
                times.push(time_return(&arena, shape, way));
            }
        }
        let us_per_mib: Vec<f64> = times
            .iter_mut()
            .map(|times| {
                times.sort_by(f64::total_cmp);
                times[ROUNDS / 2] * 1e6 / (RETURN_BYTES >> 20) as f64
            })
            .collect();
        println!(
            "{:6} KiB  {:14.1}  {:11.1}  {:9.1}  {:10.1}  {:18.2}",
            size_bytes >> 10,
            us_per_mib[0],
            us_per_mib[1],
            us_per_mib[2],
            us_per_mib[3],
            us_per_mib[2] / us_per_mib[0],
        );
    }
}

/// Writes extents and returns them in one of four ways; seconds for the return alone.
fn time_return(arena: &Arena, shape: vidmm_arena::Shape, way: usize) -> f64 {
    let count = RETURN_BYTES / shape.charge_bytes();
    let mut extents: Vec<Extent> = (0..count)
        .map(|_| arena.take_clean(shape, 64 << 20).expect("extent"))
        .collect();
    let len = usize::try_from(shape.charge_bytes()).expect("64 bits");
    for &extent in &extents {
        // SAFETY: taken above.
        unsafe { arena.fill(extent, 1) };
    }
    let advise = |extent: Extent, len: usize| {
        let start = arena.address(extent).as_ptr().cast();
        // SAFETY: extents of this function, not used any more.
        let answer = unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxDontNeed) };
        answer.expect("madvise");
    };
    let lowest = extents
        .iter()
        .copied()
        .min_by_key(|&extent| arena.address(extent));
    if way == 1 {
        extents.drain(..).for_each(|extent| arena.put_warm(extent));
    }
    let begin = Instant::now();
    match way {
        0 => drop(arena.return_extents(&mut extents).returned_bytes),
        1 => drop(arena.return_warm(RETURN_BYTES).returned_bytes),
        2 => extents.iter().for_each(|&extent| advise(extent, len)),
        _ => advise(lowest.expect("some"), len * extents.len()),
    }
    let seconds = begin.elapsed().as_secs_f64();
    extents.drain(..).for_each(|extent| arena.put_clean(extent));
    assert_eq!(arena.resident().expect("smaps").total_bytes(), 0);
    seconds
}
