//! What is written for Perfetto, read by a decoder of its own that knows the definitions only.
#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use common::spool;
use vidmm_tracefile::{
    Class, Event, Events, Format, Kind, Output, Recorded, merge, open, spools_in, write_accesses,
    write_events,
};

/// A field's value.
#[derive(Debug, Clone, Copy)]
enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// The fields of a message, in their order.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        let mut shift = 0;
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value)
            }
            wire => panic!("wire type {wire}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

struct Message<'b>(Vec<(u64, Value<'b>)>);

impl<'b> Message<'b> {
    fn of(bytes: &'b [u8]) -> Self {
        Message(fields(bytes))
    }

    fn all(&self, field: u64) -> impl Iterator<Item = Message<'b>> {
        let of_field = self.0.iter().filter(move |(number, _)| *number == field);
        of_field.map(|(_, value)| match value {
            Value::Bytes(bytes) => Message::of(bytes),
            Value::Number(_) => panic!("{value:?} is no message"),
        })
    }

    fn one(&self, field: u64) -> Option<Message<'b>> {
        self.all(field).next()
    }

    fn number(&self, field: u64) -> Option<u64> {
        let found = self.0.iter().find(|(number, _)| *number == field)?;
        match found.1 {
            Value::Number(number) => Some(number),
            Value::Bytes(_) => panic!("{found:?} is no number"),
        }
    }

    fn text(&self, field: u64) -> Option<&'b str> {
        let found = self.0.iter().find(|(number, _)| *number == field)?;
        match found.1 {
            Value::Bytes(bytes) => Some(std::str::from_utf8(bytes).unwrap()),
            Value::Number(_) => panic!("{found:?} is no text"),
        }
    }
}

fn event(time_ns: u64, kind: Kind, allocation: u32, cost_ns: f32) -> Event {
    Event {
        time_ns,
        kind,
        class: Class::High,
        allocation,
        size_bytes: 1000 * u64::from(allocation),
        cost_ns,
    }
}

fn made(directory: &std::path::Path) {
    use Kind::{Create, Destroy, Discard, Offer, Rebuild, ReclaimDiscarded};
    let first = vec![
        event(10, Create, 1, 0.0),
        event(20, Rebuild, 1, 700.4),
        event(30, Offer, 1, 700.4),
        event(70, ReclaimDiscarded, 1, 700.4),
        event(80, Offer, 1, 700.4),
        event(90, Destroy, 1, 700.4),
    ];
    let second = vec![
        event(40, Create, 2, 0.0),
        event(50, Offer, 2, 0.0),
        event(60, Discard, 1, 700.4),
    ];
    spool(directory, 11, &[(1, first), (2, second)]);
    spool(directory, 12, &[(1, vec![event(35, Create, 3, 0.0)])]);
}

#[test]
fn every_event_is_there_once_in_order_on_its_thread_with_all_that_is_known() {
    let directory = tempfile::tempdir().unwrap();
    made(directory.path());
    let (spools, _) = spools_in(directory.path()).unwrap();
    let wanted: Vec<Recorded> = merge(&spools).map(Result::unwrap).collect();
    let out = directory.path().join("x.pftrace");
    assert_eq!(Output::of_path(&out), Some(Output::Perfetto));
    let events = Events::of_spools(directory.path(), spools);
    let written = write_events(
        events,
        &out,
        Output::Perfetto,
        |_| ControlFlow::Continue(()),
    );
    assert_eq!(written.unwrap().rows, wanted.len() as u64);

    let bytes = std::fs::read(&out).unwrap();
    let trace = Message::of(&bytes);
    let packets: Vec<Message<'_>> = trace.all(1).collect();
    assert_eq!(packets.len(), trace.0.len(), "there are packets only");
    assert!(packets.iter().all(|packet| packet.number(10) == Some(1)));

    // The clock: monotonic, and what that is in real time.
    let clocks = packets[0].one(6).unwrap();
    assert_eq!(clocks.number(2), Some(3));
    let clock: BTreeMap<_, _> = clocks
        .all(1)
        .map(|clock| (clock.number(1).unwrap(), clock.number(2).unwrap()))
        .collect();
    assert_eq!(clock[&1] - clock[&3], 1_700_000_000_000_000_000);

    // Names come once, with the flag that begins a sequence.
    assert_eq!(packets[1].number(13), Some(1));
    let interned = packets[1].one(12).unwrap();
    let names = |field| -> HashMap<u64, &str> {
        let entries = interned.all(field);
        entries
            .map(|entry| (entry.number(1).unwrap(), entry.text(2).unwrap()))
            .collect()
    };
    let (event_names, note_names) = (names(2), names(3));

    let mut tracks: HashMap<u64, Message<'_>> = HashMap::new();
    let mut seen = Vec::new();
    let mut offered = Vec::new();
    let mut discarded = Vec::new();
    for packet in &packets[2..] {
        if let Some(descriptor) = packet.one(60) {
            let before = tracks.insert(descriptor.number(1).unwrap(), descriptor);
            assert!(before.is_none(), "a track is described twice");
            continue;
        }
        assert_eq!((packet.number(58), packet.number(13)), (Some(3), Some(2)));
        let time_ns = packet.number(8).unwrap();
        let event = packet.one(11).unwrap();
        let track = &tracks[&event.number(11).unwrap()];
        if event.number(9) == Some(4) {
            assert_eq!(track.one(8).unwrap().number(3), Some(3), "bytes");
            let process = &tracks[&track.number(5).unwrap()];
            let pid = process.one(3).unwrap().number(1).unwrap();
            let row = (pid, time_ns, event.number(30).unwrap());
            match track.text(2) {
                Some("offered") => offered.push(row),
                Some("discarded") => discarded.push(row),
                other => panic!("{other:?}"),
            }
            continue;
        }
        assert_eq!(event.number(9), Some(3));
        let mut notes: BTreeMap<&str, String> = BTreeMap::new();
        for note in event.all(4) {
            let value = match (note.number(3), note.text(6)) {
                (Some(number), None) => number.to_string(),
                (None, Some(text)) => text.to_owned(),
                other => panic!("{other:?}"),
            };
            notes.insert(note_names[&note.number(1).unwrap()], value);
        }
        let thread = track.one(4).unwrap();
        let process = tracks[&track.number(5).unwrap()].one(3).unwrap();
        assert_eq!(thread.number(1), process.number(1));
        let pid = u32::try_from(process.number(1).unwrap()).unwrap();
        assert_eq!(process.text(6).unwrap(), format!("program {pid}"));
        assert_eq!(
            thread.text(5).unwrap(),
            format!("thread {}", thread.number(2).unwrap())
        );
        seen.push((
            time_ns,
            pid,
            thread.number(2).unwrap(),
            event_names[&event.number(10).unwrap()],
            notes,
        ));
    }
    let wanted: Vec<_> = wanted
        .iter()
        .map(|row| {
            let mut notes = BTreeMap::from([
                ("allocation", row.id.to_string()),
                ("handle", row.event.allocation.to_string()),
                ("size_bytes", row.event.size_bytes.to_string()),
                ("class", "high".to_owned()),
            ]);
            if row.event.cost_ns > 0.0 {
                notes.insert("cost_ns", "700".to_owned());
            }
            (
                row.event.time_ns,
                row.pid,
                u64::from(row.thread),
                row.event.kind.name(),
                notes,
            )
        })
        .collect();
    assert_eq!(seen, wanted);
    let offered_wanted = [
        (11, 30, 1000),
        (11, 50, 3000),
        (11, 60, 2000),
        (11, 80, 3000),
        (11, 90, 2000),
    ];
    assert_eq!(offered, offered_wanted);
    assert_eq!(discarded, [(11, 60, 1000)]);
    // Two processes, two counters each, three threads.
    let uuids: HashSet<&u64> = tracks.keys().collect();
    assert_eq!(uuids.len(), 2 * 3 + 3);
    assert!(!tracks.contains_key(&0));
}

#[test]
fn accesses_are_no_events() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("x.csv");
    std::fs::write(&text, "1,2,3\n").unwrap();
    let accesses = open(&text, Some(Format::Csv)).unwrap();
    let out = directory.path().join("out.pftrace");
    let failed = write_accesses(accesses, &out, Output::Perfetto, |_| {
        ControlFlow::Continue(())
    });
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("accesses only"), "{message}");
    assert!(!out.exists());
}
