//! Our own format: what is written is read back, as events and as accesses, whatever it is.
#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod common;

use std::ops::ControlFlow;
use std::path::Path;

use common::spool;
use proptest::prelude::*;
use vidmm_tracefile::{
    Access, Accesses, Class, Event, Events, Format, Kind, Output, Recorded, Spool, Trace,
    TraceError, Written, merge, open, open_trace, spools_in, write_accesses, write_events,
};

fn to_end(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn events_of(path: &Path) -> Events {
    match open_trace(path, None).unwrap() {
        Trace::Events(events) => events,
        Trace::Accesses(_) => panic!("there are only accesses in {}", path.display()),
    }
}

fn read_accesses(path: &Path) -> Vec<Access> {
    open(path, None).unwrap().map(Result::unwrap).collect()
}

/// Accesses as a trace, by way of a text.
fn accesses_from(path: &Path, accesses: &[Access]) -> Accesses {
    let mut text = String::from("time,id,size,cost\n");
    for a in accesses {
        let cost = a.cost.map_or_else(String::new, |cost| cost.to_string());
        text.push_str(&format!("{},{},{},{cost}\n", a.time, a.id, a.size_bytes));
    }
    std::fs::write(path, text).unwrap();
    open(path, Some(Format::Csv)).unwrap()
}

fn any_event() -> impl Strategy<Value = Event> {
    let cost = prop_oneof![Just(0.0_f32), 0.0..1e12_f32, Just(f32::MAX)];
    let size = prop_oneof![0..1_u64 << 30, any::<u64>()];
    let time = prop_oneof![0..1_000_u64, any::<u64>()];
    let what = (0..Kind::ALL.len(), 0..Class::ALL.len());
    (time, what, any::<u32>(), size, cost).prop_map(
        |(time_ns, (kind, class), allocation, size_bytes, cost_ns)| Event {
            time_ns,
            kind: Kind::ALL[kind],
            class: Class::ALL[class],
            allocation,
            size_bytes,
            cost_ns,
        },
    )
}

/// The frames of a process: of some threads, each in the order of time.
fn any_frames() -> impl Strategy<Value = Vec<(u32, Vec<Event>)>> {
    let frame = (1..4_u32, prop::collection::vec(any_event(), 0..40));
    prop::collection::vec(frame, 0..5).prop_map(|mut frames| {
        for (_, events) in &mut frames {
            events.sort_by_key(|event| event.time_ns);
        }
        frames
    })
}

fn any_access() -> impl Strategy<Value = Access> {
    let cost = prop_oneof![
        Just(None),
        (0.0..1e9_f32).prop_map(Some),
        any::<f32>().prop_map(|cost| cost.is_finite().then(|| cost.abs()))
    ];
    (any::<u64>(), any::<u64>(), any::<u64>(), cost).prop_map(|(time, id, size_bytes, cost)| {
        Access {
            time,
            id,
            size_bytes,
            cost,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn events_come_back_as_they_were(processes in prop::collection::vec(any_frames(), 1..4)) {
        let directory = tempfile::tempdir().unwrap();
        for (index, frames) in processes.iter().enumerate() {
            spool(directory.path(), 100 + u32::try_from(index).unwrap(), frames);
        }
        let (spools, unreadable) = spools_in(directory.path()).unwrap();
        prop_assert!(unreadable.is_empty());
        let wanted: Vec<Recorded> = merge(&spools).map(Result::unwrap).collect();
        let out = directory.path().join("all.parquet");
        let events = Events::of_spools(directory.path(), spools);
        let about = events.about().clone();
        let written = write_events(events, &out, Output::Parquet, to_end).unwrap();
        let bytes = std::fs::metadata(&out).unwrap().len();
        prop_assert_eq!(written, Written { rows: wanted.len() as u64, bytes });
        let back = events_of(&out);
        prop_assert_eq!(back.about(), &about);
        prop_assert_eq!(about.recorded, wanted.len() as u64);
        prop_assert_eq!(about.unfinished(), processes.len());
        let back: Vec<Recorded> = back.map(Result::unwrap).collect();
        prop_assert_eq!(&back, &wanted);

        // As accesses: the same from the spools, from this, and from a text made of this.
        let of_spools = read_accesses(directory.path());
        prop_assert_eq!(&read_accesses(&out), &of_spools);
        let text = directory.path().join("all.csv");
        write_events(events_of(&out), &text, Output::Csv, to_end).unwrap();
        prop_assert_eq!(&read_accesses(&text), &of_spools);
    }

    #[test]
    fn accesses_come_back_as_they_were(wanted in prop::collection::vec(any_access(), 0..60)) {
        let directory = tempfile::tempdir().unwrap();
        let given = accesses_from(&directory.path().join("given"), &wanted);
        let out = directory.path().join("out.parquet");
        let written = write_accesses(given, &out, Output::Parquet, to_end).unwrap();
        prop_assert_eq!(written.rows, wanted.len() as u64);
        let back = open(&out, None).unwrap();
        prop_assert_eq!(back.format(), Format::Parquet);
        let back: Vec<Access> = back.map(Result::unwrap).collect();
        prop_assert_eq!(&back, &wanted);
        let text = directory.path().join("out.csv");
        write_accesses(open(&out, None).unwrap(), &text, Output::Csv, to_end).unwrap();
        prop_assert_eq!(&read_accesses(&text), &wanted);
    }
}

#[test]
fn many_rows_are_many_groups_and_little_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let count = 150_000_u64;
    let wanted: Vec<Access> = (0..count)
        .map(|n| Access {
            time: 1_000_000 + 7 * n,
            id: n * n % 1009,
            size_bytes: 4096 * (1 + n % 8),
            cost: (n % 3 > 0).then_some(1000.0),
        })
        .collect();
    let given = accesses_from(&directory.path().join("given"), &wanted);
    let out = directory.path().join("out.parquet");
    let mut calls = 0;
    let written = write_accesses(given, &out, Output::Parquet, |read_bytes| {
        calls += 1;
        assert!(read_bytes > 0);
        ControlFlow::Continue(())
    });
    let written = written.unwrap();
    assert!(calls > 10);
    assert!(written.bytes < 5 * count, "{} bytes", written.bytes);
    let back = open(&out, None).unwrap();
    assert_eq!(back.total_bytes(), written.bytes);
    assert_eq!(back.map(Result::unwrap).collect::<Vec<_>>(), wanted);
}

#[test]
fn what_is_ended_or_fails_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let wanted: Vec<Access> = (0..20_000)
        .map(|time| Access {
            time,
            id: 1,
            size_bytes: 1,
            cost: None,
        })
        .collect();
    let out = directory.path().join("out.parquet");
    std::fs::write(&out, "old").unwrap();
    let given = |name: &str| accesses_from(&directory.path().join(name), &wanted);
    let ended = write_accesses(
        given("a"),
        &out,
        Output::Parquet,
        |_| ControlFlow::Break(()),
    );
    assert!(ended.unwrap_err().to_string().contains("ended"));
    // The input is damaged behind its beginning.
    let bad = directory.path().join("b");
    drop(given("b"));
    let mut text = std::fs::read(&bad).unwrap();
    text.extend(b"1,2\n");
    std::fs::write(&bad, text).unwrap();
    let failed = write_accesses(open(&bad, None).unwrap(), &out, Output::Csv, to_end);
    assert_eq!(failed.unwrap_err().path, bad);
    assert_eq!(std::fs::read(&out).unwrap(), b"old");
    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["a", "b", "out.parquet"]);
}

#[test]
fn what_is_no_trace_of_ours_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let fails = |path: &Path| -> String {
        let error: TraceError = open(path, None).unwrap_err();
        assert_eq!(error.path, path);
        error.to_string()
    };
    let empty = fails(directory.path());
    assert!(empty.contains("without spools"), "{empty}");
    let path = directory.path().join("x");
    std::fs::write(&path, "PAR1").unwrap();
    assert!(fails(&path).contains("cut"), "{}", fails(&path));
    std::fs::write(&path, "PAR1 and what is no more of it").unwrap();
    assert!(fails(&path).contains("cut short"));
    // A spool that is packed, and one that was cut at once.
    let plain = spool(directory.path(), 7, &[]);
    let bytes = std::fs::read(&plain).unwrap();
    let packed =
        ruzstd::encoding::compress_to_vec(&bytes[..], ruzstd::encoding::CompressionLevel::Fastest);
    std::fs::write(&path, packed).unwrap();
    assert!(fails(&path).contains("unpack it first"), "{}", fails(&path));
    std::fs::write(&path, &bytes[..100]).unwrap();
    assert!(fails(&path).contains("shorter"), "{}", fails(&path));
    assert!(Spool::open(&plain).is_ok());
}
