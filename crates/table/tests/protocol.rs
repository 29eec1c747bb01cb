//! The protocol on real threads and real atomics: every transition from every state, the life of
//! handles, and the same random work as under shuttle. Also for Miri, which sees data races and
//! stale reads that an x86-64 never shows:
//!
//! `cargo +nightly miri test -p vidmm-table --test protocol`
#![cfg(not(any(vidmm_loom, vidmm_shuttle)))]
// Helpers are tests too.
#![allow(clippy::unwrap_used)]

mod stress;

use std::collections::HashMap;
use stress::{Size, members};
use vidmm_table::{
    Class, Detached, Error, ExtentWord, FirstLock, Handle, INTERVAL_TICKS_MAX, Lock,
    MAX_ALLOCATIONS, New, OfferMode, Offered, Reclaim, State, Table, Word,
};

/// Other slots that are freed before a freed one is used again.
const REST: u64 = 16_384;
/// Handles that one slot has, one after the other.
const GENERATIONS: u64 = 1 << 11;
/// Locks that one allocation can have.
const LOCKS_MAX: u32 = 65_535;

fn new(extent: u64) -> New {
    New {
        size_bytes: 1 << 16,
        align_log2: 12,
        extent: ExtentWord(extent),
        zero_owed: true,
        priority: 5,
        rebuild_cost_ns: 2.5,
        resource: 3,
        device: 4,
        now_ticks: 6,
    }
}

const DECOMMIT: OfferMode = OfferMode {
    class: Class::High,
    allow_decommit: true,
};

/// A new allocation of `table`, brought to the state of this name. Its extent is 1.
fn in_state(table: &Table, name: &str) -> Handle {
    let handle = table.create(&new(1)).unwrap();
    let slot = table.get(handle).unwrap();
    let touch = |locks| {
        slot.first_lock(|_| {}).unwrap();
        for _ in 1..locks {
            slot.lock().unwrap();
        }
    };
    let unlocked = || {
        touch(1);
        slot.unlock().unwrap();
    };
    let claim = |mode| {
        unlocked();
        slot.offer(mode).unwrap();
        slot.claim(slot.load().unwrap()).unwrap();
    };
    match name {
        // A handle that was never given out, of a slot next to a used one.
        "unused" => {
            return Handle::from_raw(handle.raw() + 1).unwrap();
        }
        "destroyed" => drop(table.destroy(handle).unwrap()),
        "next" => {
            // What the slot's next allocation will be called.
            table.destroy(handle).unwrap();
            return Handle::from_raw(handle.raw() + (1 << 21)).unwrap();
        }
        "fresh" => {}
        "committed" => unlocked(),
        "locked" => touch(1),
        "full" => touch(LOCKS_MAX),
        "offered-fresh" => drop(slot.offer(DECOMMIT).unwrap()),
        "offered" => {
            unlocked();
            slot.offer(Class::Low.into()).unwrap();
        }
        "discarded" => claim(Class::Low.into()),
        "discarded-dc" => claim(DECOMMIT),
        "dead" => {
            claim(DECOMMIT);
            assert_eq!(slot.kill(), Ok(true));
        }
        name => panic!("no state {name}"),
    }
    handle
}

/// What one operation answers in one state.
fn answer(operation: &str, table: &Table, handle: Handle) -> String {
    fn text<T: std::fmt::Debug>(answer: Result<T, Error>, ok: impl Fn(T) -> String) -> String {
        answer.map_or_else(|error| format!("!{error:?}"), ok)
    }
    let slot = table.get(handle).unwrap();
    match operation {
        "offer" => text(slot.offer(Class::Normal.into()), |offered| match offered {
            Offered::Now => "now".into(),
            Offered::AlreadyDiscarded => "already".into(),
        }),
        "reclaim" => text(slot.reclaim(), |reclaim| match reclaim {
            Reclaim::Intact(_) => "intact".into(),
            Reclaim::Discarded(_) => "gone".into(),
            Reclaim::Dead => "dead".into(),
        }),
        "claim" => slot.claim(slot.slot().word()).map_or("no".into(), |taken| {
            format!(
                "took{}{}",
                taken.extent.0,
                if taken.fresh { "f" } else { "" }
            )
        }),
        "undo" => slot.undo_reclaim(slot.slot().word()).to_string(),
        "lock" => text(slot.lock(), |lock| match lock {
            Lock::Locked(extent) => format!("at{}", extent.0),
            Lock::Fresh => "fresh".into(),
        }),
        "first_lock" => {
            let mut worked = "";
            let locked = slot.first_lock(|first| {
                let owed = FirstLock {
                    extent: ExtentWord(1),
                    zero_owed: true,
                    content_lost: false,
                };
                assert_eq!(first, owed);
                worked = "w";
            });
            text(locked, |extent| format!("at{}{worked}", extent.0))
        }
        "unlock" => text(slot.unlock(), |left| format!("left{left}")),
        "install" => text(slot.install(ExtentWord(2)), |installed| {
            format!("{installed:?}").to_lowercase()
        }),
        "kill" => text(slot.kill(), |killed| killed.to_string()),
        "destroy" => text(table.destroy(handle), |taken| match taken {
            Some(Detached { extent, fresh }) => {
                format!("took{}{}", extent.0, if fresh { "f" } else { "" })
            }
            None => "nothing".into(),
        }),
        "others" => {
            let answers = [
                slot.load().map(drop),
                slot.history().map(drop),
                slot.set_rebuild_cost_ns(2.5),
                slot.set_priority(5),
                slot.set_resource(3),
            ];
            assert!(
                answers.iter().all(|answer| *answer == answers[0]),
                "{answers:?}"
            );
            text(answers[0], |()| "ok".into())
        }
        operation => panic!("no operation {operation}"),
    }
}

fn describe(word: Word) -> String {
    let fresh = if word.is_fresh() { "+fresh" } else { "" };
    let locks = match word.locks() {
        0 => String::new(),
        locks => format!("+{locks}"),
    };
    format!("{:?}{fresh}{locks}", word.state()).to_lowercase()
}

/// One row a state, one column an operation. A cell is the answer (`!` is an error), then `>` and
/// the new state if the state word changed at all: a cell without `>` changed nothing.
const TRANSITIONS: &str = "
state         | offer             | reclaim             | claim             | undo  | lock           | first_lock        | unlock             | install                | kill            | destroy             | others
unused        | !BadHandle        | !BadHandle          | no                | false | !BadHandle     | !BadHandle        | !BadHandle         | !BadHandle             | !BadHandle      | !BadHandle          | !BadHandle
destroyed     | !BadHandle        | !BadHandle          | no                | false | !BadHandle     | !BadHandle        | !BadHandle         | !BadHandle             | !BadHandle      | !BadHandle          | !BadHandle
next          | !BadHandle        | !BadHandle          | no                | false | !BadHandle     | !BadHandle        | !BadHandle         | !BadHandle             | !BadHandle      | !BadHandle          | !BadHandle
fresh         | now>offered+fresh | intact>committed+fresh | no             | false | fresh          | at1w>committed+1  | !NotLocked         | alreadycommitted       | false           | took1f>empty        | ok
committed     | now>offered       | intact>committed    | no                | false | at1>committed+1 | at1>committed+1  | !NotLocked         | alreadycommitted       | false           | took1>empty         | ok
locked        | !Locked           | intact>committed+1  | no                | false | at1>committed+2 | at1>committed+2  | left0>committed    | alreadycommitted       | false           | !Locked             | ok
full          | !Locked           | intact>committed+65535 | no             | false | !TooManyLocks  | !TooManyLocks     | left65534>committed+65534 | alreadycommitted | false           | !Locked             | ok
offered-fresh | now>offered+fresh | intact>committed+fresh | took1f>discarded | false | !Offered      | !Offered          | !NotLocked         | offeredagain           | false           | took1f>empty        | ok
offered       | now>offered       | intact>committed    | took1>discarded   | false | !Offered       | !Offered          | !NotLocked         | offeredagain           | false           | took1>empty         | ok
discarded     | already           | gone                | no                | false | !Offered       | !Offered          | !NotLocked         | here>committed+fresh   | false           | nothing>empty       | ok
discarded-dc  | already           | gone                | no                | false | !Offered       | !Offered          | !NotLocked         | here>committed+fresh   | true>dead       | nothing>empty       | ok
dead          | !NotCommitted     | dead                | no                | false | !NotCommitted  | !NotCommitted     | !NotLocked         | !NotCommitted          | false           | nothing>empty       | ok
";

#[test]
fn every_operation_in_every_state() {
    // One for all: a table is dear under Miri.
    let table = Table::new();
    let mut lines = TRANSITIONS.trim().lines().map(|line| {
        let cells = line.split('|').map(str::trim);
        cells.collect::<Vec<_>>()
    });
    let operations = lines.next().unwrap();
    for row in lines {
        // 65,535 locks take Miri a minute for each column.
        if cfg!(miri) && row[0] == "full" {
            continue;
        }
        for (&operation, &expected) in operations.iter().zip(&row).skip(1) {
            let handle = in_state(&table, row[0]);
            let slot = table.get(handle).unwrap().slot();
            let before = (slot.word(), slot.extent(), slot.history(), slot.resource());
            let mut found = answer(operation, &table, handle);
            let after = (slot.word(), slot.extent(), slot.history(), slot.resource());
            if before.0 == after.0 {
                assert_eq!(before, after, "{} in state {}", operation, row[0]);
            } else {
                found = format!("{found}>{}", describe(after.0));
            }
            assert_eq!(found, expected, "{} in state {}", operation, row[0]);
        }
    }
}

#[test]
fn a_word_seen_before_anything_happened_claims_nothing() {
    let table = Table::new();
    let handle = in_state(&table, "offered");
    let slot = table.get(handle).unwrap();
    let seen = slot.load().unwrap();
    // The same offer again: only the sequence tells.
    slot.offer(Class::Low.into()).unwrap();
    assert_eq!(slot.claim(seen), None);
    // There and back.
    let seen = slot.load().unwrap();
    assert_eq!(slot.reclaim(), Ok(Reclaim::Intact(seen)));
    assert!(slot.undo_reclaim(seen));
    assert_eq!(slot.load().unwrap().mode(), seen.mode());
    assert_eq!(slot.claim(seen), None);
    // Destroyed.
    let seen = slot.load().unwrap();
    table.destroy(handle).unwrap();
    assert_eq!(slot.claim(seen), None);
}

#[test]
fn an_undo_is_of_exactly_this_calls_reclaims() {
    let table = Table::new();
    let handle = in_state(&table, "offered-fresh");
    let slot = table.get(handle).unwrap();
    let Ok(Reclaim::Intact(before)) = slot.reclaim() else {
        panic!("it was offered");
    };
    slot.reclaim().unwrap();
    assert!(!slot.undo_reclaim(before), "two reclaims, one undone");
    assert!(slot.undo_reclaims(before, 2));
    assert!(!slot.undo_reclaims(before, 2), "undone twice");
    let word = slot.load().unwrap();
    assert_eq!((word.state(), word.mode()), (State::Offered, DECOMMIT));
    assert!(word.is_fresh());
    // An offer by somebody else in between is theirs.
    let Ok(Reclaim::Intact(before)) = slot.reclaim() else {
        panic!("it was offered");
    };
    slot.offer(Class::Low.into()).unwrap();
    assert!(!slot.undo_reclaim(before));
    assert_eq!(slot.load().unwrap().mode(), Class::Low.into());
}

#[test]
fn the_first_lock_is_told_what_is_owed_and_only_once() {
    let table = Table::new();
    let handle = in_state(&table, "offered-fresh");
    let slot = table.get(handle).unwrap();
    let mut told = Vec::new();
    let mut lock = || {
        let mut work = |first: FirstLock| told.push((first.zero_owed, first.content_lost));
        slot.first_lock(&mut work).unwrap();
        slot.unlock().unwrap();
    };
    slot.reclaim().unwrap();
    lock();
    lock();
    // A new extent after a discard owes nothing: its content is unspecified - until it is locked,
    // whatever happens before.
    slot.offer(Class::Low.into()).unwrap();
    slot.claim(slot.load().unwrap()).unwrap();
    slot.install(ExtentWord(2)).unwrap();
    slot.offer(Class::Low.into()).unwrap();
    slot.reclaim().unwrap();
    lock();
    lock();
    assert_eq!(told, [(true, false), (false, true)]);
    assert_eq!(
        slot.slot().align_log2(),
        12,
        "the alignment is not in the way"
    );
}

#[test]
fn a_forgotten_table_is_empty_and_of_use() {
    let table = Table::new();
    let old: Vec<_> = (1..=9)
        .map(|extent| table.create(&new(extent)).unwrap())
        .collect();
    table.get(old[0]).unwrap().first_lock(|_| {}).unwrap();
    table.get(old[1]).unwrap().offer(DECOMMIT).unwrap();
    table.destroy(old[2]).unwrap();
    table.forget_all();
    assert_eq!(table.memory_use().allocations, 0);
    for &handle in &old {
        assert_eq!(table.get(handle).unwrap().load(), Err(Error::BadHandle));
    }
    let next = table.create(&new(1)).unwrap();
    assert!(!old.contains(&next));
    assert_eq!(table.memory_use().allocations, 1);
    assert!(table.destroy(next).unwrap().is_some());
}

#[test]
fn a_slot_remembers_through_a_discard() {
    let table = Table::new();
    let handle = in_state(&table, "offered");
    let slot = table.get(handle).unwrap();
    slot.note_offer(10);
    slot.claim(slot.load().unwrap()).unwrap();
    slot.install(ExtentWord(2)).unwrap();
    slot.note_reclaim(17);
    let history = slot.history().unwrap();
    assert_eq!((history.stamp_ticks, history.last_interval_ticks), (10, 7));
    assert_eq!((history.reclaims, history.priority), (1, 5));
    assert_eq!(history.previous_interval_ticks, 0);
    slot.note_reclaim(13);
    slot.note_offer(20);
    slot.note_reclaim(19);
    let history = slot.history().unwrap();
    assert_eq!(history.last_interval_ticks, INTERVAL_TICKS_MAX, "-1");
    assert_eq!(history.previous_interval_ticks, 3);
    table.destroy(handle).unwrap();
    assert_eq!(slot.history(), Err(Error::BadHandle));
}

/// The documented life of a handle: its slot rests while `REST` others are freed, and has
/// `GENERATIONS` names.
#[test]
fn a_freed_slot_rests() {
    if cfg!(miri) {
        println!("SKIPPED: 16,384 creates take Miri minutes");
        return;
    }
    let table = Table::new();
    let pairs = 3 * REST;
    let mut freed = HashMap::new();
    for pair in 0..pairs {
        let handle = table.create(&new(1)).unwrap();
        let index = handle.raw() & ((1 << 21) - 1);
        if let Some(before) = freed.insert(index, pair) {
            assert!(
                pair - before > REST,
                "slot {index} rested {}",
                pair - before
            );
        }
        table.destroy(handle).unwrap();
    }
    assert!((freed.len() as u64) < pairs, "no slot was ever used again");
    assert!(table.memory_use().bytes < 8 << 20, "bounded by the rest");
}

/// 2^25 creates: too many for a build that is not optimised.
#[test]
fn a_handle_comes_back_after_all_its_generations() {
    if cfg!(debug_assertions) || cfg!(miri) {
        println!("SKIPPED: 2^25 creates need an optimised build (--release)");
        return;
    }
    let table = Table::new();
    let first = table.create(&new(1)).unwrap();
    table.destroy(first).unwrap();
    let mut creates = 0_u64;
    loop {
        let handle = table.create(&new(1)).unwrap();
        creates += 1;
        if handle == first {
            break;
        }
        assert_eq!(table.get(first).unwrap().load(), Err(Error::BadHandle));
        assert!(creates <= 2 * REST * GENERATIONS, "the counting is wrong");
        table.destroy(handle).unwrap();
    }
    assert!(
        creates >= REST * GENERATIONS,
        "back after {creates} creates"
    );
}

#[test]
fn a_full_table_says_so_and_goes_on() {
    if cfg!(debug_assertions) || cfg!(miri) {
        println!("SKIPPED: two million allocations need an optimised build (--release)");
        return;
    }
    let table = Table::new();
    let handles: Vec<_> = (1..=u64::from(MAX_ALLOCATIONS))
        .map(|extent| table.create(&new(extent)).unwrap())
        .collect();
    assert_eq!(table.create(&new(0)), Err(Error::TableFull));
    assert_eq!(table.memory_use().allocations, MAX_ALLOCATIONS);
    let mut live = 0;
    table.scan(|_, slot| live += u32::from(slot.word().state() == State::Committed));
    assert_eq!(live, MAX_ALLOCATIONS);
    for (&handle, extent) in handles.iter().zip(1..) {
        let taken = table.destroy(handle).unwrap().unwrap();
        assert_eq!(taken.extent, ExtentWord(extent));
    }
    assert_eq!(table.memory_use().allocations, 0);
    table.create(&new(1)).unwrap();
}

#[test]
fn a_handle_of_nothing_is_refused() {
    assert_eq!(Handle::from_raw(0), None);
    let table = Table::new();
    for raw in [1, 1 << 21, u32::MAX, 4096, (1 << 21) - 1] {
        let slot = table.get(Handle::from_raw(raw).unwrap());
        assert_eq!(slot.map(|_| ()), Err(Error::BadHandle), "{raw:#x}");
    }
}

#[test]
fn anything_at_once() {
    let operations = match () {
        () if cfg!(miri) => 600,
        () if cfg!(debug_assertions) => 60_000,
        () => 400_000,
    };
    let size = Size {
        threads: if cfg!(miri) { 3 } else { 4 },
        shared: 6,
        private: 3,
        extents: 12,
        operations,
        seed: 1,
    };
    let tally = stress::run(size);
    println!("{tally:?}");
    if !cfg!(miri) {
        tally.assert_much_happened();
    }
}

#[test]
fn resources_at_once() {
    let size = members::Size {
        threads: if cfg!(miri) { 3 } else { 4 },
        operations: if cfg!(miri) { 300 } else { 20_000 },
        resources: 2,
        allocations: 12,
        seed: 1,
    };
    let tally = members::run(size);
    println!("{tally:?}");
    if !cfg!(miri) {
        tally.assert_much_happened();
    }
}
