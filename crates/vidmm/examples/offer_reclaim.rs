//! The contract in forty lines: offer a buffer, lose it to somebody who needs the memory, be told.
//!
//! `cargo run --release -p vidmm --example offer_reclaim`

// It shows what happens.
#![allow(clippy::print_stdout)]

use vidmm::{Class, Pool, Reclaimed};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder().budget_bytes(8 << 20).build()?;

    // Six buffers of a mebibyte, each filled with its own number, offered while they lie idle.
    let mut idle = Vec::new();
    for number in 0..6_u8 {
        let mut buffer = pool.allocate(1 << 20)?;
        buffer.lock_mut()?.fill(number);
        idle.push(buffer.offer(Class::Normal));
    }
    println!("offered {} buffers: {:?}", idle.len(), pool.resident()?);

    // Somebody needs 5 MiB of the 8: the oldest buffers make room.
    let mut big = pool.allocate(5 << 20)?;
    big.lock_mut()?.fill(0xFF);
    println!("5 MiB more are in use: {:?}", pool.resident()?);
    drop(big);

    for (number, offered) in (0..).zip(idle) {
        match offered.reclaim()? {
            Reclaimed::Intact(buffer) => {
                assert!(buffer.lock()?.iter().all(|&byte| byte == number));
                println!("buffer {number}: intact");
            }
            Reclaimed::Discarded(mut buffer) => {
                buffer.lock_mut()?.fill(number);
                println!("buffer {number}: was discarded, rebuilt");
            }
        }
    }
    Ok(())
}
