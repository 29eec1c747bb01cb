//! Each policy on sequences worked by hand, with the reason for each step that matters.

use crate::support::{held, online, outcomes, written};
use vidmm_replay::{Future, belady, replay};

/// Plays `text` and compares hits and misses, and what is held in the end.
fn works(policy: &str, size_bytes: u64, text: &str, expected: &str, in_the_end: &str) {
    let requests = written(text);
    let mut cache = online(policy).build(size_bytes, requests.objects(), 1);
    let found = outcomes(&requests, size_bytes, cache.as_mut());
    assert_eq!(found, expected.replace(' ', ""), "{policy} on {text}");
    assert_eq!(held(text, cache.as_ref()), in_the_end, "{policy} on {text}");
}

fn misses(policy: &str, size_bytes: u64, text: &str) -> u64 {
    let requests = written(text);
    let mut cache = online(policy).build(size_bytes, requests.objects(), 1);
    replay(&requests, size_bytes, cache.as_mut(), |_| {}).missed
}

/// L. A. Belady, R. A. Nelson, G. S. Shedler, *An anomaly in space-time characteristics of certain
/// programs running in a paging machine*, CACM 12(6), 1969: with more room, more misses.
#[test]
fn fifo_has_beladys_anomaly_and_lru_has_not() {
    let text = "1 2 3 4 1 2 5 1 2 3 4 5";
    assert_eq!(misses("fifo", 3, text), 9);
    assert_eq!(misses("fifo", 4, text), 10);
    assert_eq!(misses("lru", 3, text), 10);
    assert_eq!(misses("lru", 4, text), 8);
}

/// The string that textbooks on operating systems use (A. Silberschatz, P. B. Galvin, G. Gagne,
/// *Operating system concepts*): 15 faults with first in, first out; 12 with least recently used; 9
/// with the optimum of demand paging, which must keep what it fetches.
#[test]
fn the_textbook_string() {
    let text = "7 0 1 2 0 3 0 4 2 3 0 3 2 1 2 0 1 7 0 1";
    assert_eq!(misses("fifo", 3, text), 15);
    assert_eq!(misses("lru", 3, text), 12);
    let requests = written(text);
    let bound = belady(&requests, &Future::of(&requests), 3);
    // Who need not keep: 7 0 1 miss; 2 (next at 8) takes the place of 7 (next at 17); 0 hits; 3 (at
    // 9) that of 1 (at 13); 0 hits; 4 is never wanted again: not kept; 2, 3, 0, 3, 2 hit; 1 (at 16)
    // takes the place of 3, which is not wanted again; 2, 0, 1 hit; 7 misses; 0, 1 hit. Misses: 7 0
    // 1 2 3 4 1 7.
    assert_eq!(bound.least.missed, 8);
    assert!(bound.exact.requests);
}

#[test]
fn fifo_does_not_care_for_use() {
    // D takes the place of A, which was used, but came first
    works("fifo", 3, "A B C A D A", "mmm h m m", "ACD");
}

#[test]
fn lru_cares_for_use() {
    // D takes the place of B
    works("lru", 3, "A B C A D A", "mmm h m h", "ACD");
    // 10 are full; D needs 7: A goes (6 left), B goes (2 left), C and D are 9
    works("lru", 10, "A4 B4 C2 D7 C2 A4", "mmm m h m", "AC");
}

#[test]
fn clock_gives_a_second_chance_and_no_third() {
    // D: the hand passes A, which was used, turns its bit off, and takes B. E: the hand is at C, and
    // takes it. B: the hand is at A again; its bit is off: A goes.
    works("clock", 3, "A B C A D E B", "mmm h m m m", "BDE");
}

#[test]
fn sieve_keeps_survivors_in_place() {
    // Full with A (oldest) to G; A, B and G are used. H: the hand passes A and B and takes C. A and D
    // are used. I: the hand is at D, which was used, passes it and takes E. B is used. J: the hand is
    // at F and takes it, though A, B, D are older: they are behind the hand.
    works(
        "sieve",
        7,
        "A B C D E F G A B G H A D I B J",
        "mmmmmmm hhh m h h m h m",
        "ABDGHIJ",
    );
}

#[test]
fn sieve_starts_over_at_the_oldest() {
    // B and C used, D: the hand takes A, and is at B. E: it passes B and C and takes D, the newest;
    // from there it starts over, so F takes B, whose bit is off, and not E.
    works("sieve", 3, "A B C B C D E F", "mmm hh m m m", "CEF");
}

#[test]
fn slru_protects_what_was_used_twice() {
    // A and B are protected. F takes the place of C, the oldest on probation. D, E and F get
    // protected; that makes 5, of 4 allowed: A goes back on probation, and G takes its place.
    works(
        "slru",
        5,
        "A B C A B D E F D E F G",
        "mmm hh mm m hhh m",
        "BDEFG",
    );
}

#[test]
fn slru_does_not_protect_what_is_larger_than_the_segment() {
    // 8 of 10 may be protected. B9 is used, and stays on probation: the newest there, so C1 pushes A1
    // out. A1 comes back and pushes B9 out, though C1 is not used and B9 was.
    works("slru", 10, "A1 B9 B9 C1 A1", "mm h m m", "AC");
}

#[test]
fn two_q_asks_for_a_use_after_the_first_queue() {
    // Kin is 1, Kout is 2. A B C D fill A1in. E and F push out A and B; A1out is B A. A comes back,
    // into Am; C goes for it, A1out is C B. D hits and stays where it is, so G pushes it out: A1out
    // is D C, and B is forgotten. B thus comes into A1in again; E goes, A1out is E D. A hits in Am.
    // D and E come back into Am; F and G go, A1out is G F. Now A1in is B alone, its share: F comes
    // back into Am, and A, the oldest in Am, goes and leaves no name. So A comes into A1in, for D.
    works(
        "2q",
        4,
        "A B C D E F A D G B A D E F A",
        "mmmm mm m h m m h mm m m",
        "ABEF",
    );
}

#[test]
fn s3_fifo_moves_on_what_was_used_more_than_once() {
    // Small's share is 1, main's 9. K: A was used twice more and is moved on, B goes and leaves its
    // name. B comes back into main, for C. D was used once: L pushes it out. D comes back into main,
    // for E.
    works(
        "s3-fifo",
        10,
        "A A A B C D E F G H I J K B D L D",
        "mhh mmmmmmmmm m m h m m",
        "ABDFGHIJKL",
    );
}

#[test]
fn s3_fifo_takes_from_main_when_small_is_short() {
    // Small's share is half an object, main's are 4. F pushes A out; A, B, C, D come back into main
    // and push B, C, D, E out. A is used. E comes back and pushes F out: main is A to E, small empty.
    // G: main gives; A comes in anew, B goes and leaves no name. So B comes into small, for G.
    works(
        "s3-fifo",
        5,
        "A B C D E F A B C D A E G B",
        "mmmmm m mmmm h m m m",
        "ABCDE",
    );
}

#[test]
fn s3_fifo_takes_from_small_when_main_is_empty() {
    // A6 holds less than small's share of 10; B95 needs more than is free, and main has nothing.
    works("s3-fifo", 100, "A6 B95 A6", "mm m", "A");
}

/// Any of four may go for a fifth, each as often as the others.
#[test]
fn random_spares_none_and_prefers_none() {
    let text = "A B C D E";
    let requests = written(text);
    let mut gone = [0_u32; 4];
    for seed in 0..4_000 {
        let mut cache = online("random").build(4, 5, seed);
        assert_eq!(outcomes(&requests, 4, cache.as_mut()), "mmmmm");
        let left = held(text, cache.as_ref());
        assert_eq!(left.len(), 4, "{left}");
        for (count, letter) in gone.iter_mut().zip("ABCD".chars()) {
            *count += u32::from(!left.contains(letter));
        }
    }
    // ten standard deviations of a fair count are 274
    assert!(
        gone.iter().all(|count| count.abs_diff(1_000) < 274),
        "{gone:?}"
    );
}

/// The bound where sizes differ. Slots are counted from 0; A is wanted in 0 to 3, B in 1 and 2, C in
/// 4 and 5 (A4 B2 . B2 A4 . ): room for 4 is 4 + 4 + 4 + 4 in the first four slots, though 6 are
/// wanted in the middle two, then nothing.
#[test]
fn the_bound_where_sizes_differ() {
    let text = "A4 B2 C1 B2 A4";
    let requests = written(text);
    let bound = belady(&requests, &Future::of(&requests), 4);
    // Room: slot 0 holds A (4); slots 1 and 2 hold 4 of A and B (6); slot 3 holds A (4); slot 4
    // nothing: 16. B's hit takes 2 * 2 = 4, A's 4 * 4 = 16.
    // Requests: B first, then 12/16 of A: less than one more. 5 requests, at least 4 missed.
    assert_eq!(bound.least.missed, 4);
    // Bytes: B has 2 slots, A 4: B first, 2 bytes, then 12 / 4 = 3 bytes of A. 13 - 5 are missed.
    assert_eq!(bound.least.missed_bytes, 8);
    assert!(!bound.exact.requests && !bound.exact.bytes);
    // Both fit in 6: nothing is missed but first requests, and that can be done.
    let bound = belady(&requests, &Future::of(&requests), 6);
    assert_eq!((bound.least.missed, bound.least.missed_bytes), (3, 7));
    assert!(bound.exact.requests && bound.exact.bytes && bound.exact.cost);
}
