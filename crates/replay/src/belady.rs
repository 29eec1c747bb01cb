//! What no policy can beat: the fewest misses of anyone who knows all that is to come.
//!
//! # Objects of one size
//!
//! The exact least, by MIN (L. A. Belady, *A study of replacement algorithms for a virtual-storage
//! computer*, IBM Systems Journal 5(2), 1966; proved by Mattson and others, 1970), in the form that
//! may also not keep what was missed, since policies here may do so: of what is in the cache and what
//! was just asked for, the one whose next request is farthest away goes. Without this *bypass* MIN
//! would not be a bound for those who use it. With all sizes one, fewest requests missed and fewest
//! bytes missed are the same; so is least cost where all misses cost the same.
//!
//! # Objects of many sizes, costs of many heights
//!
//! The exact least is then out of reach (deciding it for many sizes is strongly NP-complete: M.
//! Chrobak, G. Woeginger, K. Makino, H. Xu, *Caching is hard, even in the fault model*, 2012), so a
//! bound below it is given: PFOO-L of D. S. Berger, N. Beckmann, M. Harchol-Balter, *Practical bounds
//! on optimal caching with variable object sizes*, SIGMETRICS 2018, in a slightly tighter form, once
//! for each of the three measures.
//!
//! **Why it is a bound.** Call the time between two requests in a row a *slot*. Take an object of `s`
//! bytes requested at `i` and next at `j`. Whoever hits at `j` has held the object in each of the
//! `j - i` slots between, since at `i` at the latest it came in, and afterwards nobody could get it
//! without a miss. So that hit took `s * (j - i)` byte-slots. In a slot, those that lie between two
//! requests of theirs and will be hit hold at most the cache's size, and at most what all that lie
//! between two requests weigh. Summed over all slots this is the *room*: all hits of any policy took
//! at most the room together. (The published bound has cache size times slots for it; ours is that or
//! less.) A hit is worth a fixed amount in each measure: one request, `s` bytes, or the cost that the
//! trace gives for missing at `j`. So what a policy saves is at most the best value that can be packed
//! into the room, and that is at most the best value if also parts of hits may be packed. The latter is
//! found by taking hits in the order of worth per byte-slot until the room is full, the last one in
//! part (G. B. Dantzig, 1957). The order is by `s * (j - i)`, by `j - i`, and by `s * (j - i)` over the
//! cost. What it saves at most, taken from all, is what anyone misses at least.
//!
//! The relaxation gives up that each single slot has limited room, and that a hit is whole or none. It
//! is exact where all that lies between two requests fits in every slot; then nothing is missed but
//! first requests and objects larger than the cache.

use std::collections::BinaryHeap;

use crate::{Future, Misses, Request, Requests};

/// What anyone misses at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// No policy misses fewer requests, fewer bytes, or at less cost. Each of the three is a bound of
    /// its own: no single policy need reach them together. The cost is a sum of many floating-point
    /// numbers: right to about nine digits.
    pub least: Misses,
    /// Where there is a policy that reaches it.
    pub exact: Exact,
}

/// Whether a bound is reached by someone who knows all that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exact {
    /// The number of requests missed.
    pub requests: bool,
    /// The bytes missed.
    pub bytes: bool,
    /// The cost of the misses.
    pub cost: bool,
}

/// A request that can be a hit, if the object is held since the request before.
#[derive(Debug, Clone, Copy)]
struct Hit {
    /// Slots from the request before to this one.
    slots: u32,
    cost: f32,
    size_bytes: u64,
}

impl Hit {
    /// What it takes: byte-slots.
    fn takes(&self) -> u128 {
        u128::from(self.size_bytes) * u128::from(self.slots)
    }

    /// How much the cost saved is per byte-slot.
    fn cost_density(&self) -> f64 {
        f64::from(self.cost) / self.takes() as f64
    }
}

/// The room that hits share, and what there is to hit.
struct Packing {
    hits: Vec<Hit>,
    /// In byte-slots.
    room: u128,
    /// Whether everything fits in every slot.
    all_fits: bool,
}

/// The least that anyone misses with a cache of `size_bytes`.
#[must_use]
pub fn belady(requests: &Requests, future: &Future, size_bytes: u64) -> Bound {
    let mut packing = Packing::of(requests, future, size_bytes);
    let mut least = Misses::all_of(requests);
    let hits = &packing.hits;
    let one_size = hits
        .windows(2)
        .all(|pair| pair[0].size_bytes == pair[1].size_bytes);
    let one_cost = hits
        .windows(2)
        .all(|pair| pair[0].cost.total_cmp(&pair[1].cost).is_eq());
    let size_of_one = hits.first().map_or(1, |hit| hit.size_bytes);
    let cost_of_one = hits.first().map_or(0.0, |hit| hit.cost);

    let counted = packing.all_fits || one_size;
    let exact = Exact {
        requests: counted,
        bytes: counted,
        cost: packing.all_fits || (one_size && one_cost),
    };
    let (saved, saved_bytes) = if packing.all_fits {
        (hits.len() as u64, least.missed_bytes.min(sum_bytes(hits)))
    } else if one_size {
        let saved = most_hits(requests, future, size_bytes, size_of_one);
        (saved, saved.saturating_mul(size_of_one))
    } else {
        (packing.most_requests(), packing.most_bytes())
    };
    least.missed -= saved;
    least.missed_bytes = least.missed_bytes.saturating_sub(saved_bytes);
    let saved_cost = if packing.all_fits {
        packing.hits.iter().map(|hit| f64::from(hit.cost)).sum()
    } else if one_size && one_cost {
        saved as f64 * f64::from(cost_of_one)
    } else {
        packing.most_cost()
    };
    // rounding must not make it less than nothing
    least.missed_cost = (least.missed_cost - saved_cost).max(0.0);
    Bound { least, exact }
}

impl Packing {
    fn of(requests: &Requests, future: &Future, size_bytes: u64) -> Self {
        let mut hits = Vec::new();
        let mut room = 0;
        let mut all_fits = true;
        // what lies between two requests of its own, in this slot
        let mut wanted: u128 = 0;
        let mut wanted_of = vec![false; requests.objects()];
        for (place, request) in requests.iter().enumerate() {
            if request.size_bytes > size_bytes {
                fill_slot(wanted, size_bytes, &mut room);
                continue;
            }
            let next = future.next_after(place);
            let is_wanted = next.is_some();
            let was_wanted = std::mem::replace(&mut wanted_of[request.object.index()], is_wanted);
            if is_wanted && !was_wanted {
                wanted += u128::from(request.size_bytes);
            } else if was_wanted && !is_wanted {
                wanted -= u128::from(request.size_bytes);
            }
            all_fits &= wanted <= u128::from(size_bytes);
            fill_slot(wanted, size_bytes, &mut room);
            if let Some(hit) = next.and_then(|next| Hit::at(requests, place, next)) {
                hits.push(hit);
            }
        }
        Packing {
            hits,
            room,
            all_fits,
        }
    }

    fn most_requests(&mut self) -> u64 {
        self.hits.sort_unstable_by_key(Hit::takes);
        let mut room = self.room;
        let mut saved = 0;
        for hit in &self.hits {
            let Some(rest) = room.checked_sub(hit.takes()) else {
                // the part of a hit that still fits is less than one, and misses are whole
                break;
            };
            room = rest;
            saved += 1;
        }
        saved
    }

    fn most_bytes(&mut self) -> u64 {
        self.hits.sort_unstable_by_key(|hit| hit.slots);
        let mut room = self.room;
        let mut saved: u128 = 0;
        for hit in &self.hits {
            if let Some(rest) = room.checked_sub(hit.takes()) {
                room = rest;
                saved += u128::from(hit.size_bytes);
            } else {
                saved += room / u128::from(hit.slots.max(1));
                break;
            }
        }
        u64::try_from(saved).unwrap_or(u64::MAX)
    }

    fn most_cost(&mut self) -> f64 {
        self.hits
            .sort_unstable_by(|a, b| b.cost_density().total_cmp(&a.cost_density()));
        let mut room = self.room;
        let mut saved = 0.0;
        for hit in self.hits.iter().filter(|hit| hit.cost > 0.0) {
            if let Some(rest) = room.checked_sub(hit.takes()) {
                room = rest;
                saved += f64::from(hit.cost);
            } else {
                saved += hit.cost_density() * room as f64;
                break;
            }
        }
        saved
    }
}

fn sum_bytes(hits: &[Hit]) -> u64 {
    let add = |sum: u64, hit: &Hit| sum.saturating_add(hit.size_bytes);
    hits.iter().fold(0, add)
}

/// Adds what a slot can hold of what is wanted.
fn fill_slot(wanted: u128, size_bytes: u64, room: &mut u128) {
    *room += wanted.min(u128::from(size_bytes));
}

impl Hit {
    fn at(requests: &Requests, place: usize, next: usize) -> Option<Hit> {
        let Request {
            size_bytes, cost, ..
        } = requests.get(next)?;
        Some(Hit {
            slots: u32::try_from(next.checked_sub(place)?).ok()?,
            cost,
            size_bytes,
        })
    }
}

/// MIN with bypass, for objects that all have one size: how many requests are hits.
fn most_hits(requests: &Requests, future: &Future, size_bytes: u64, size_of_one: u64) -> u64 {
    let slots = size_bytes / size_of_one;
    // The cache is the set of places of the next requests of what it holds, farthest first. Those
    // behind us were hits and are never on top while there is one ahead.
    let mut held = BinaryHeap::new();
    let mut will_hit = vec![false; requests.len()];
    let mut used: u64 = 0;
    let mut hits = 0;
    for (place, request) in requests.iter().enumerate() {
        if request.size_bytes > size_bytes {
            continue;
        }
        if will_hit[place] {
            hits += 1;
            used -= 1;
        }
        let Some(next) = future.next_after(place) else {
            continue;
        };
        if used < slots {
            used += 1;
        } else {
            match held.peek() {
                Some(&farthest) if farthest > next => {
                    held.pop();
                    will_hit[farthest] = false;
                }
                // it is the farthest itself: not kept
                _ => continue,
            }
        }
        held.push(next);
        will_hit[next] = true;
    }
    hits
}
