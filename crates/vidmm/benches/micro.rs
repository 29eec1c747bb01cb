//! Single operations through the public API: `cargo bench -p vidmm`.
//!
//! Beside what they are compared with, in one run, they are in `vidmm bench`; here they are alone,
//! for whoever changes one of them.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use vidmm::{Allocation, Class, Committed, Outcome, Pool, PressureMode};

/// The sizes show that an operation costs the same for any.
const SIZES_BYTES: [usize; 3] = [4 << 10, 1 << 20, 64 << 20];
const SMALL_BYTES: usize = 64 << 10;
const BATCH: usize = 1024;

fn main() {
    divan::main();
}

/// Only its own budget takes memory from it: nothing is discarded while it is measured.
fn pool(budget_bytes: usize) -> Pool {
    Pool::builder()
        .budget_bytes(budget_bytes as u64)
        .pressure(PressureMode::Off)
        .build()
        .expect("address space")
}

fn shared(pool: &Pool, size_bytes: usize) -> Allocation {
    pool.options()
        .allocate_shared(size_bytes)
        .expect("within the budget")
}

/// Offer and reclaim, the state checked by types.
#[divan::bench]
fn pair(bencher: Bencher<'_, '_>) {
    let pool = pool(2 * SMALL_BYTES);
    let mut tile: Option<Committed> = pool.allocate(SMALL_BYTES).ok();
    bencher.bench_local(|| {
        let idle = tile.take().expect("put back").offer(Class::Normal);
        let answer = idle.reclaim().expect("room");
        assert!(answer.is_intact());
        tile = Some(answer.into_inner());
    });
}

/// Offer and reclaim, the state checked at run time.
#[divan::bench(args = SIZES_BYTES)]
fn pair_shared(bencher: Bencher<'_, '_>, size_bytes: usize) {
    let pool = pool(2 * size_bytes);
    let tile = shared(&pool, size_bytes);
    bencher.bench_local(|| {
        let tile = black_box(&tile);
        tile.offer(Class::Normal).expect("not locked");
        assert_eq!(tile.reclaim(), Ok(Outcome::Intact));
    });
}

/// The same by two threads, each with its own allocation, neighbours in the table.
#[divan::bench(threads = [1, 2])]
fn pair_threads(bencher: Bencher<'_, '_>) {
    let pool = pool(64 * SMALL_BYTES);
    bencher
        .with_inputs(|| shared(&pool, SMALL_BYTES))
        .bench_refs(|tile| {
            for _ in 0..BATCH {
                tile.offer(Class::Normal).expect("not locked");
                assert_eq!(tile.reclaim(), Ok(Outcome::Intact));
            }
        });
}

/// One call to offer and one to reclaim 1,024 allocations.
#[divan::bench]
fn batch_1024(bencher: Bencher<'_, '_>) {
    let pool = pool((BATCH + 1) * SMALL_BYTES);
    let tiles: Vec<Allocation> = (0..BATCH).map(|_| shared(&pool, SMALL_BYTES)).collect();
    let mut outcomes = vec![Outcome::Discarded; BATCH];
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        pool.offer_list(&tiles, Class::Normal).expect("not locked");
        pool.reclaim_list(&tiles, &mut outcomes).expect("room");
        black_box(&outcomes);
    });
    assert!(outcomes.iter().all(|&outcome| outcome == Outcome::Intact));
}

/// Lock and unlock of memory that was locked before.
#[divan::bench]
fn lock_unlock(bencher: Bencher<'_, '_>) {
    let pool = pool(2 * SMALL_BYTES);
    let mut tile = shared(&pool, SMALL_BYTES);
    tile.lock_mut().expect("committed")[0] = 1;
    bencher.bench_local(|| black_box(black_box(&tile).lock().expect("committed")).len());
}

/// An allocation that nobody touches.
#[divan::bench(args = SIZES_BYTES)]
fn create_destroy(bencher: Bencher<'_, '_>, size_bytes: usize) {
    let pool = pool(2 * size_bytes);
    // Dropped here, not by the harness, which would leave the drop out of the time.
    bencher.bench_local(|| drop(black_box(shared(&pool, black_box(size_bytes)))));
}

/// An allocation on warm memory, locked and written at its first byte: zeroed, or as it is.
#[divan::bench(args = [true, false])]
fn create_lock_destroy(bencher: Bencher<'_, '_>, zeroed: bool) {
    let pool = pool(2 * SMALL_BYTES);
    bencher.bench_local(|| {
        let options = if zeroed {
            pool.options()
        } else {
            pool.options().allow_not_zeroed()
        };
        let mut tile = options.allocate(SMALL_BYTES).expect("room");
        tile.lock_mut().expect("committed")[0] = 1;
        drop(black_box(tile));
    });
}
