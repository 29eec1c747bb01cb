//! A cache that several threads use and that never holds more than its budget.
//!
//! `cargo run --release -p vidmm --example shared_cache`

// It shows what happens.
#![allow(clippy::print_stdout)]

use std::thread;

use vidmm::{Class, Pool, PurgeableCache};

/// Something that takes a while: the first 64 KiB of a number's orbit.
fn orbit(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut step = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..64 << 10).map(|_| step()).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Room for 128 of the 1,000 results.
    let pool = Pool::builder().budget_bytes(8 << 20).build()?;
    let cache = PurgeableCache::new(&pool, Class::Normal);

    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..5_000_u64 {
                    // Low numbers are asked for more often.
                    let seed = (round * (thread + 7) % 1000).pow(2) / 1000;
                    let bytes = cache.get_or_rebuild(seed, || orbit(seed));
                    assert_eq!(bytes.len(), 64 << 10);
                }
            });
        }
    });
    println!("{:#?}", cache.stats());
    println!("resident: {:?}", pool.resident()?);
    Ok(())
}
