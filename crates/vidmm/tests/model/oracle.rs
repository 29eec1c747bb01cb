//! The naive model: what each allocation is and holds, and what may be held in all. It says of
//! every call how it has to end, and of every discard whether it had to be.

use vidmm::{Class, Outcome};
use vidmm_contract::Pattern;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Committed,
    Offered,
    Discarded,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Zeros,
    Written(Pattern),
    /// Whatever.
    Any,
}

/// One allocation.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) is: Is,
    pub(crate) content: Content,
    pub(crate) charge_bytes: u64,
    /// Of the newest offer that found it.
    pub(crate) class: Class,
    pub(crate) may_die: bool,
    /// The tick of the newest offer.
    pub(crate) stamp: u32,
    pub(crate) priority: u32,
    pub(crate) group: Option<u64>,
}

impl Known {
    fn has_memory(&self) -> bool {
        matches!(self.is, Is::Committed | Is::Offered)
    }

    fn effective(&self) -> Class {
        self.class.effective(self.priority)
    }
}

/// What goes as one.
#[derive(Debug, Clone)]
struct Victim {
    class: Class,
    /// When it was offered, if that decides within the class.
    stamp: Option<u32>,
    bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) budget_bytes: u64,
    /// Whether that is the rule within a class.
    pub(crate) oldest_first: bool,
    pub(crate) items: Vec<Known>,
}

/// How a call has to end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Done,
    NoMemory,
}

impl Oracle {
    pub(crate) fn charged_bytes(&self) -> u64 {
        let held = self.items.iter().filter(|known| known.has_memory());
        held.map(|known| known.charge_bytes).sum()
    }

    pub(crate) fn bytes_that_are(&self, is: Is) -> u64 {
        let those = self.items.iter().filter(|known| known.is == is);
        those.map(|known| known.charge_bytes).sum()
    }

    /// Free and unused bytes; negative in debt.
    pub(crate) fn free_bytes(&self) -> i128 {
        i128::from(self.budget_bytes) - i128::from(self.charged_bytes())
    }

    /// What could be had if everything offered went, but for the items of `own`.
    fn obtainable_bytes(&self, own: &[usize]) -> i128 {
        let others = self.items.iter().enumerate();
        let others =
            others.filter(|(index, known)| known.is == Is::Offered && !own.contains(index));
        self.free_bytes()
            + others
                .map(|(_, known)| i128::from(known.charge_bytes))
                .sum::<i128>()
    }

    pub(crate) fn due_for_new(&self, charge_bytes: u64) -> Due {
        let fits = charge_bytes <= self.budget_bytes
            && i128::from(charge_bytes) <= self.obtainable_bytes(&[]);
        if fits { Due::Done } else { Due::NoMemory }
    }

    /// What a reclaim of this list has to answer, item for item; `None` when it has to fail.
    /// With `all_answers` it may say *not committed*.
    pub(crate) fn due_answers(&self, list: &[usize], all_answers: bool) -> Option<Vec<Outcome>> {
        let mut left = self.obtainable_bytes(list);
        let mut lost: Vec<usize> = list
            .iter()
            .copied()
            .filter(|&index| self.items[index].is == Is::Discarded)
            .collect();
        let mut seen = Vec::new();
        lost.retain(|index| {
            !seen.contains(index) && {
                seen.push(*index);
                true
            }
        });
        let (may_die, firm): (Vec<usize>, Vec<usize>) = lost
            .into_iter()
            .partition(|&index| all_answers && self.items[index].may_die);
        if !firm.is_empty() {
            left -= self.sum(&firm);
            if left < 0 {
                return None;
            }
        }
        let mut dying = Vec::new();
        for index in may_die {
            let charge = i128::from(self.items[index].charge_bytes);
            if charge <= left {
                left -= charge;
            } else {
                dying.push(index);
            }
        }
        let answer = |&index: &usize| match self.items[index].is {
            Is::Committed | Is::Offered => Outcome::Intact,
            Is::Dead => Outcome::NotCommitted,
            Is::Discarded if dying.contains(&index) => Outcome::NotCommitted,
            Is::Discarded => Outcome::Discarded,
        };
        Some(list.iter().map(answer).collect())
    }

    fn sum(&self, list: &[usize]) -> i128 {
        list.iter()
            .map(|&index| i128::from(self.items[index].charge_bytes))
            .sum()
    }

    /// The answers were given: what that makes of the items.
    pub(crate) fn answered(&mut self, list: &[usize], answers: &[Outcome]) {
        for (&index, answer) in list.iter().zip(answers) {
            let known = &mut self.items[index];
            match answer {
                Outcome::NotCommitted => known.is = Is::Dead,
                Outcome::Intact => known.is = Is::Committed,
                Outcome::Discarded => {
                    known.is = Is::Committed;
                    known.content = Content::Any;
                }
            }
        }
    }

    /// These were lost during a call that needed `needed_bytes` more than was free. `safe` are the
    /// items that the call itself names.
    pub(crate) fn lost(&mut self, lost: &[usize], safe: &[usize], needed_bytes: i128) {
        let before = self.victims(|index| !safe.contains(&index));
        let gone = self.victims(|index| lost.contains(&index));
        for &index in lost {
            assert_eq!(
                self.items[index].is,
                Is::Offered,
                "item {index} was not offered"
            );
            assert!(!safe.contains(&index), "item {index} is the call's own");
            self.items[index].is = Is::Discarded;
        }
        let left = self.victims(|index| !safe.contains(&index));
        // In whole: no group went in part.
        assert_eq!(
            before.len(),
            gone.len() + left.len(),
            "a group went in part"
        );
        let bytes: i128 = gone.iter().map(|victim| i128::from(victim.bytes)).sum();
        let largest = gone.iter().map(|victim| i128::from(victim.bytes)).max();
        assert!(
            bytes - largest.unwrap_or(0) < needed_bytes.max(1),
            "{gone:?} went where {needed_bytes} bytes were needed"
        );
        for gone in &gone {
            for left in &left {
                assert!(gone.class <= left.class, "{gone:?} went before {left:?}");
                if let (Some(gone_at), Some(left_at)) = (gone.stamp, left.stamp)
                    && self.oldest_first
                {
                    let in_order = gone.class < left.class || gone_at <= left_at;
                    assert!(in_order, "{gone:?} went before {left:?}");
                }
            }
        }
    }

    /// What is offered among some of the items, as victims.
    fn victims(&self, of: impl Fn(usize) -> bool) -> Vec<Victim> {
        let mut victims: Vec<(Option<u64>, Victim)> = Vec::new();
        for (index, known) in self.items.iter().enumerate() {
            if known.is != Is::Offered || !of(index) {
                continue;
            }
            let one = Victim {
                class: known.effective(),
                // An AUTO one may have come from another class, with its age.
                stamp: (known.class != Class::Auto && known.group.is_none()).then_some(known.stamp),
                bytes: known.charge_bytes,
            };
            let same = victims
                .iter_mut()
                .find(|(group, _)| group.is_some() && *group == known.group);
            match same {
                Some((_, victim)) => {
                    victim.class = victim.class.max(one.class);
                    victim.bytes += one.bytes;
                }
                None => victims.push((known.group, one)),
            }
        }
        victims.into_iter().map(|(_, victim)| victim).collect()
    }
}
