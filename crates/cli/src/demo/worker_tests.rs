//! A worker meets what must not happen: memory that is not what it was, files that change.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use vidmm::Pool;

use super::*;
use crate::demo::inputs::{Wanted, find};
use crate::demo::reference;

const LENGTH_BYTES: usize = 10_000;

fn pack(path: &std::path::Path, content: &[u8]) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    fs::write(path, encoder.finish().unwrap()).unwrap();
}

/// A run of one worker and one file of zeros, read `accesses` times.
fn shared(directory: &tempfile::TempDir, accesses: u64) -> Shared {
    pack(&directory.path().join("zeros.gz"), &[0; LENGTH_BYTES]);
    let found = find(directory.path(), Wanted::Everything).unwrap();
    let scratch = Scratch::default();
    let items = reference::take(found.inputs, &scratch, |_| ()).items;
    assert_eq!(items[0].unpacked_bytes, LENGTH_BYTES);
    let plan = Plan::new(1, 1, accesses, 1);
    Shared {
        items,
        plan,
        still: Still::default(),
        scratch,
        live: Live::default(),
    }
}

fn store() -> Store {
    Store::new(Pool::builder().budget_bytes(1 << 20).build().unwrap(), 1, 0)
}

/// Puts `content` into the store's memory for the one file, as if it had been unpacked there.
fn plant(store: &mut Store, content: &[u8]) {
    let fetched = store
        .fetch(0, LENGTH_BYTES, Duration::from_millis(1))
        .unwrap();
    let Fetched::Empty(mut memory) = fetched else {
        panic!("{fetched:?}")
    };
    memory.lock_mut().unwrap().copy_from_slice(content);
    store.keep(0, memory, Class::Normal);
}

#[test]
fn a_quiet_run_finds_everything_intact() {
    let directory = tempfile::tempdir().unwrap();
    let shared = shared(&directory, 10);
    let tally = run(&shared, store(), &AtomicU64::new(0)).unwrap();
    assert_eq!((tally.first_use, tally.intact, tally.discarded), (1, 9, 0));
    assert_eq!((tally.wrong_bytes, tally.uncached), (0, 0));
    assert_eq!(tally.checked_bytes, 9 * size_u64(LENGTH_BYTES));
    assert_eq!(tally.rebuild_ns, shared.items[0].unpack_ns);
    assert!(tally.lost.is_empty());
}

#[test]
fn each_wrong_byte_of_intact_memory_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let shared = shared(&directory, 3);
    let mut store = store();
    let mut content = vec![0; LENGTH_BYTES];
    (content[7], content[5_000], content[LENGTH_BYTES - 1]) = (1, 2, 3);
    plant(&mut store, &content);
    let tally = run(&shared, store, &AtomicU64::new(0)).unwrap();
    // The wrong memory is given up at the first access; the second one unpacks anew.
    assert_eq!(tally.wrong_bytes, 3);
    assert_eq!((tally.first_use, tally.intact, tally.discarded), (0, 2, 1));
}

#[test]
fn a_file_that_changes_or_goes_is_named_and_no_wrong_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zeros.gz");
    let run_with = |change: &dyn Fn()| {
        let shared = shared(&directory, 4);
        change();
        let tally = run(&shared, store(), &AtomicU64::new(0)).unwrap();
        assert_eq!((tally.first_use, tally.intact, tally.discarded), (1, 0, 3));
        assert_eq!(tally.wrong_bytes, 0);
        tally.lost[&0].clone()
    };
    let mut other = vec![0; LENGTH_BYTES];
    other[1] = 1;
    assert!(run_with(&|| pack(&path, &other)).contains("has changed"));
    assert!(run_with(&|| pack(&path, &[0; LENGTH_BYTES / 2])).contains("has changed"));
    assert!(run_with(&|| pack(&path, &[0; LENGTH_BYTES * 2])).contains("has changed"));
    assert!(run_with(&|| fs::write(&path, b"junk").unwrap()).contains("is damaged"));
    assert!(run_with(&|| fs::remove_file(&path).unwrap()).contains("cannot be opened"));
}

#[test]
fn differing_bytes_are_counted_one_by_one() {
    assert_eq!(differing(b"abcd", b"abcd"), 0);
    assert_eq!(differing(b"abcd", b"xbcy"), 2);
    assert_eq!(differing(b"abcd", b"ab"), 2);
}
