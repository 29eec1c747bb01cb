//! A damaged Parquet file ends in rows or in an error, never in a panic: alone in its process, since it
//! counts panics, also those that are caught.
#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::spool;
use vidmm_tracefile::{
    Class, Event, Events, Kind, Output, Spool, Trace, open, open_trace, write_accesses,
    write_events,
};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Reads a file to its end, in both ways; says how many rows there were, or why it ended.
fn read(path: &Path) -> Result<usize, String> {
    let mut rows = 0;
    match open_trace(path, None).map_err(|error| error.to_string())? {
        Trace::Events(events) => {
            for event in events {
                event.map_err(|error| error.to_string())?;
                rows += 1;
            }
            let accesses = open(path, None).map_err(|error| error.to_string())?;
            assert!(accesses.map(Result::unwrap).count() <= rows);
        }
        Trace::Accesses(accesses) => {
            for access in accesses {
                access.map_err(|error| error.to_string())?;
                rows += 1;
            }
        }
    }
    Ok(rows)
}

fn small_events(directory: &Path) -> Vec<u8> {
    let events = |thread: u32| -> Vec<Event> {
        (0..12_u32)
            .map(|n| Event {
                time_ns: u64::from(10 * n + thread),
                kind: Kind::ALL[n as usize % Kind::ALL.len()],
                class: Class::ALL[n as usize % 3],
                allocation: n / 4 + thread,
                size_bytes: u64::from(n) << 12,
                cost_ns: if n % 2 == 0 { 0.0 } else { 1.5 * n as f32 },
            })
            .collect()
    };
    let spool = spool(directory, 5, &[(1, events(1)), (2, events(2))]);
    let events = Events::of_spools(&spool, vec![Spool::open(&spool).unwrap()]);
    let out = directory.join("events.parquet");
    write_events(events, &out, Output::Parquet, |_| ControlFlow::Continue(())).unwrap();
    std::fs::read(out).unwrap()
}

fn small_accesses(directory: &Path) -> Vec<u8> {
    let text = directory.join("accesses.csv");
    std::fs::write(&text, "1,7,4096,2.5\n2,8,100,\n3,7,4096,2.5\n4,9,0,1\n").unwrap();
    let out = directory.join("accesses.parquet");
    let accesses = open(&text, None).unwrap();
    write_accesses(accesses, &out, Output::Parquet, |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    std::fs::read(out).unwrap()
}

#[test]
fn damage_anywhere_is_rows_or_an_error() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |about| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(about);
    }));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.parquet");
    let files = [
        (small_events(directory.path()), 24),
        (small_accesses(directory.path()), 4),
    ];
    for (whole, rows) in files {
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(read(&path), Ok(rows));
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains("damaged.parquet"), "{length}: {error}");
        }
        let mut errors = 0;
        for byte in 0..whole.len() {
            let bit = 8 * byte + byte % 8;
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &damaged).unwrap();
            match read(&path) {
                Ok(rows) => assert!(rows < 1000, "bit {bit}: {rows} rows"),
                Err(_) => errors += 1,
            }
        }
        assert!(errors > whole.len() / 4, "much damage is found");
        // Bytes at random, some of them many.
        let mut random = 1_u64;
        for _ in 0..500 {
            let mut damaged = whole.clone();
            for _ in 0..1 + random % 5 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let place = usize::try_from(random >> 33).unwrap() % damaged.len();
                damaged[place] = random.to_le_bytes()[3];
            }
            std::fs::write(&path, &damaged).unwrap();
            let _ = read(&path);
        }
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "caught ones count, too");
}
