//! The ranked list of victims: made by a scan of the table, used up by later needs, checked again
//! at each claim. It decides nothing: a claim does.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use vidmm_arena::Extent;
use vidmm_policy::{Candidate, OldestFirst, Policy, Ranks};
use vidmm_table::{Class, ResourceId, Slot, SlotIndex, SlotRef, State, Table, Word};

use crate::ranks::past_of;
use crate::shared::Look;

/// What is claimed as one: a single allocation, or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Single(SlotIndex),
    /// By its place.
    Group(u32),
    /// Shared with other processes; by its number.
    Shared(u32),
}

/// Class and rank as one number; the lower goes first. Made the same way by the scan and, later,
/// by whoever is about to claim: if the two differ, the victim has changed its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn new(class: Class, rank: u32) -> Self {
        Key((class as u64) << 32 | u64::from(rank))
    }

    pub(crate) fn class(self) -> Class {
        match self.0 >> 32 {
            0 => Class::Low,
            1 => Class::Normal,
            _ => Class::High,
        }
    }

    /// The rank within the class.
    pub(crate) fn rank(self) -> u32 {
        // The lower half, by construction.
        #[allow(clippy::cast_possible_truncation)]
        let rank = self.0 as u32;
        rank
    }
}

/// The group bit of an entry's `who`; slot indices and the places of groups have 21 bits.
const GROUP_BIT: u32 = 1 << 31;
/// That of a shared resource; as many cannot be open as would make its number longer.
const SHARED_BIT: u32 = 1 << 30;

#[derive(Debug, Clone, Copy)]
struct Entry {
    rank: u32,
    who: u32,
    /// Charged bytes in units of 4 KiB, the smallest page there is.
    charge_units: u32,
}

impl Entry {
    fn order(&self) -> (u32, u32) {
        (self.rank, self.who)
    }

    fn victim(&self) -> Victim {
        if self.who & GROUP_BIT != 0 {
            Victim::Group(self.who & !GROUP_BIT)
        } else if self.who & SHARED_BIT != 0 {
            Victim::Shared(self.who & !SHARED_BIT)
        } else {
            Victim::Single(SlotIndex::from_raw(self.who))
        }
    }
}

const UNIT_BYTES: u64 = 4096;

/// Seen by a scan, also when it is not in the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// All that is offered, in bytes of charge.
    pub(crate) offered_bytes: u64,
    /// How many victims there are.
    pub(crate) victims: usize,
}

/// The list: victims of one class. Its memory is kept from scan to scan.
#[derive(Debug)]
pub(crate) struct Victims {
    class: Class,
    entries: Vec<Entry>,
    /// What the entries that are left sum up to.
    sum_units: u64,
    /// While scanning: the rank above which none is wanted.
    worst_rank: u32,
    wanted_units: u64,
    next: usize,
    /// The entries before this one are in their final order; the rest all come after them.
    sorted: usize,
    now_ticks: u32,
    /// What ranked the entries, and ranks them again when their turn comes.
    ranks: Ranks,
    /// Something is offered here that other processes share.
    has_shared: bool,
    /// Each group with offered members, by its place: its key, its bytes. Order never shows.
    groups: HashMap<u32, (Key, u64), BuildHasherDefault<DefaultHasher>>,
}

/// Ticks from `stamp_ticks` to `now_ticks`; 0 for what was offered after "now" was read.
pub(crate) fn age(now_ticks: u32, stamp_ticks: u32) -> u32 {
    let age = now_ticks.wrapping_sub(stamp_ticks);
    if age > u32::MAX / 2 { 0 } else { age }
}

/// Ranks a slot that was seen offered as `word`.
#[inline(always)]
pub(crate) fn key_of(
    word: Word,
    slot: &Slot,
    ranks: &Ranks,
    now_ticks: u32,
    charge_bytes: u64,
) -> Key {
    let class = word.mode().class.effective(slot.priority());
    key_in(class, slot, ranks, now_ticks, charge_bytes)
}

/// What a policy may know of a slot.
#[inline(always)]
pub(crate) fn candidate(slot: &Slot, now_ticks: u32, charge_bytes: u64) -> Candidate {
    let history = slot.history();
    Candidate {
        age_ticks: age(now_ticks, history.stamp_ticks),
        past: past_of(&history),
        charge_bytes,
    }
}

/// Ranks a slot in a class.
#[inline(always)]
fn key_in(class: Class, slot: &Slot, ranks: &Ranks, now_ticks: u32, charge_bytes: u64) -> Key {
    let rank = ranks.rank(&candidate(slot, now_ticks, charge_bytes));
    Key::new(class, rank.0)
}

/// A list is cut while it is made only from so many entries on.
const ENTRIES_CUT: usize = 4096;

/// At least so many entries are put into order at a time.
const BLOCK: usize = 1024;

impl Default for Victims {
    fn default() -> Self {
        Victims {
            class: Class::Low,
            entries: Vec::new(),
            sum_units: 0,
            worst_rank: u32::MAX,
            wanted_units: 0,
            next: 0,
            sorted: 0,
            now_ticks: 0,
            ranks: Ranks::from(Arc::new(OldestFirst) as Arc<dyn Policy>),
            has_shared: false,
            groups: HashMap::default(),
        }
    }
}

impl Victims {
    /// Forgets the list: the next need scans.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.sum_units = 0;
        self.worst_rank = u32::MAX;
        self.next = 0;
        self.sorted = 0;
    }

    /// Bytes of bookkeeping.
    pub(crate) fn bytes(&self) -> u64 {
        (self.entries.capacity() * size_of::<Entry>()) as u64
    }

    /// Whether the list came out of a scan that found groups or shared resources. Their class can
    /// sink without an offer here, when a member is reclaimed alone or by another process's doing, so
    /// such a list serves one need only.
    pub(crate) fn has_groups(&self) -> bool {
        !self.groups.is_empty() || self.has_shared
    }

    /// Looks at every slot and keeps the first victims of the lowest class: at least
    /// `wanted_bytes` of it, or all of that class.
    pub(crate) fn scan(
        &mut self,
        table: &Table,
        ranks: &Ranks,
        now_ticks: u32,
        wanted_bytes: u64,
        charge_bytes: impl Fn(Extent) -> u64,
        shared: &Look<'_>,
    ) -> Seen {
        self.clear();
        self.groups.clear();
        self.now_ticks = now_ticks;
        self.ranks = ranks.clone();
        let mut seen = Seen::default();
        // Above any that a victim can have.
        self.class = Class::Auto;
        self.wanted_units = wanted_bytes.div_ceil(UNIT_BYTES).max(1);
        table.scan(|index, slot| {
            let word = slot.word();
            if word.state() != State::Offered {
                return;
            }
            let extent = Extent::from_word(slot.extent().0);
            if extent.is_foreign() {
                // Pinned: its memory is not ours to give.
                return;
            }
            let bytes = charge_bytes(extent);
            let key = key_of(word, slot, ranks, now_ticks, bytes);
            seen.offered_bytes += bytes;
            if let Some(group) = ResourceId::from_raw(slot.resource()) {
                // One victim in the highest class of its offered members, and as dear as the
                // dearest of them.
                let (highest, sum) = self.groups.entry(group.place()).or_insert((key, 0));
                *highest = (*highest).max(key);
                *sum += bytes;
                return;
            }
            seen.victims += 1;
            self.push(key, index.raw(), bytes);
        });
        seen.victims += self.groups.len();
        let groups = std::mem::take(&mut self.groups);
        for (&group, &(key, bytes)) in &groups {
            self.push(key, group | GROUP_BIT, bytes);
        }
        self.groups = groups;
        self.has_shared = shared.any_offered;
        for victim in &shared.victims {
            seen.victims += 1;
            seen.offered_bytes += victim.bytes;
            let key = self.key_of_shared(victim.class, &victim.slots, victim.bytes);
            self.push(key, victim.number | SHARED_BIT, victim.bytes);
        }
        self.keep_first();
        seen
    }

    /// Adds an entry unless something of a lower class is there; drops what is there if it is of a
    /// higher one.
    #[inline]
    fn push(&mut self, key: Key, who: u32, bytes: u64) {
        let class = key.class();
        if class > self.class {
            return;
        }
        if class < self.class {
            self.clear();
            self.class = class;
        }
        let rank = key.rank();
        if rank > self.worst_rank {
            return;
        }
        let charge_units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        self.entries.push(Entry {
            rank,
            who,
            charge_units,
        });
        self.sum_units += u64::from(charge_units);
        // Cut now and then, so that the list stays as small as what is wanted of it.
        if self.sum_units > 2 * self.wanted_units && self.entries.len() >= ENTRIES_CUT {
            self.keep_first();
        }
    }

    /// Cuts the list to the first that sum up to what is wanted, or a little more, in any order.
    fn keep_first(&mut self) {
        let sum =
            |entries: &[Entry]| -> u64 { entries.iter().map(|e| u64::from(e.charge_units)).sum() };
        let len = self.entries.len();
        let (wanted, all) = (
            u128::from(self.wanted_units),
            u128::from(self.sum_units.max(1)),
        );
        // So many entries of average size; sizes differ, so it may take more.
        let mut share = wanted * len as u128 * 9 / 8 / all + 32;
        while share < len as u128 {
            let count = usize::try_from(share).unwrap_or(len);
            let (_, nth, _) = self.entries.select_nth_unstable_by_key(count, Entry::order);
            let worst_rank = nth.rank;
            let first = sum(&self.entries[..count]);
            if first >= self.wanted_units {
                self.entries.truncate(count);
                self.sum_units = first;
                self.worst_rank = worst_rank;
                return;
            }
            share *= 2;
        }
    }

    /// Puts the next entries into order: an eighth of what is left, so that a small need does not
    /// pay for a long list.
    fn sort_block(&mut self) {
        let rest = &mut self.entries[self.next..];
        let block = rest.len().min(BLOCK.max(rest.len() / 8));
        if block < rest.len() {
            rest.select_nth_unstable_by_key(block, Entry::order);
        }
        rest[..block].sort_unstable_by_key(Entry::order);
        self.sorted = self.next + block;
    }

    /// The class of the victims that are left, and what is next; `None` when the list is used up.
    pub(crate) fn peek(&mut self) -> Option<(Key, Victim)> {
        if self.next >= self.sorted {
            self.sort_block();
        }
        let entry = self.entries.get(self.next)?;
        Some((Key::new(self.class, entry.rank), entry.victim()))
    }

    /// The victims that are left, in any order, with the bytes of charge that each had.
    pub(crate) fn left(&self) -> impl Iterator<Item = (Key, Victim, u64)> {
        let left = self.entries.get(self.next..).unwrap_or_default();
        left.iter().map(|entry| {
            let bytes = u64::from(entry.charge_units) * UNIT_BYTES;
            (Key::new(self.class, entry.rank), entry.victim(), bytes)
        })
    }

    /// Goes on to the next victim.
    pub(crate) fn advance(&mut self) {
        if let Some(entry) = self.entries.get(self.next) {
            self.sum_units -= u64::from(entry.charge_units);
        }
        self.next += 1;
    }

    /// The key that a slot seen offered as `word` would get in this list now.
    pub(crate) fn key_now(&self, word: Word, slot: &Slot, charge_bytes: u64) -> Key {
        let ranks = &self.ranks;
        key_of(word, slot, ranks, self.now_ticks, charge_bytes)
    }

    /// The key that a shared resource of this class would get in this list now.
    pub(crate) fn key_of_shared(
        &self,
        class: Class,
        slots: &[SlotRef<'_>],
        charge_bytes: u64,
    ) -> Key {
        let ranks = &self.ranks;
        key_of_resource(class, slots, ranks, self.now_ticks, charge_bytes)
    }
}

/// A shared resource is as dear as the dearest of its allocations.
pub(crate) fn key_of_resource(
    class: Class,
    slots: &[SlotRef<'_>],
    ranks: &Ranks,
    now_ticks: u32,
    charge_bytes: u64,
) -> Key {
    let keys = slots
        .iter()
        .map(|slot| key_in(class, slot.slot(), ranks, now_ticks, charge_bytes));
    keys.max().unwrap_or(Key::new(class, 0))
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}/{}", self.class(), self.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_during_a_scan_is_young_not_ancient() {
        assert_eq!(age(10, 7), 3);
        assert_eq!(age(10, 11), 0);
        assert_eq!(age(2, u32::MAX), 3, "the clock wraps");
    }
}
