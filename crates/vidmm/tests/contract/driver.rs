//! Drives the Rust API. What its types make impossible to write it cannot express: names that are
//! no more, and unlocking what is not locked.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use vidmm::{
    Allocation, BatchError, Error, Group, OfferMode, OldestFirst, Outcome, Pool, PressureMode,
    ReadGuard,
};
use vidmm_contract as contract;
use vidmm_contract::{Answer, Face, FaceFactory, Form, GroupName, Item, New, Refusal};

/// Pools of the Rust API.
pub(crate) struct RustApi;

impl FaceFactory for RustApi {
    fn name(&self) -> &str {
        "the Rust API"
    }

    fn face(&mut self, budget_bytes: u64) -> Result<Box<dyn Face>, String> {
        // So that what goes first is known.
        let builder = Pool::builder()
            .pressure(PressureMode::Off)
            .policy(Arc::new(OldestFirst));
        let pool = builder.budget_bytes(budget_bytes).build();
        let other = Pool::builder().pressure(PressureMode::Off);
        let other = other.budget_bytes(1 << 20).build();
        Ok(Box::new(RustFace {
            held: BTreeMap::new(),
            owners: BTreeMap::new(),
            lossy: BTreeMap::new(),
            groups: BTreeMap::new(),
            names: 0,
            pool: pool.map_err(|error| error.to_string())?,
            other: other.map_err(|error| error.to_string())?,
        }))
    }
}

struct RustFace {
    /// Guards that outlive the call that made them. Declared first, so dropped first: they refer
    /// to the allocations below.
    held: BTreeMap<Item, Vec<ReadGuard<'static>>>,
    owners: BTreeMap<Item, Owner>,
    /// Whether an item's newest offer allows it to end *not committed*.
    lossy: BTreeMap<Item, bool>,
    groups: BTreeMap<GroupName, Box<Group>>,
    names: u64,
    pool: Pool,
    /// Whose allocations are wrong for `pool`.
    other: Pool,
}

/// Where an allocation is.
enum Owner {
    Alone(Box<Allocation>),
    Member(GroupName, usize),
}

const GONE: Refusal = Refusal::Unsupported("the type system leaves no name of what is no more");

fn refusal(error: Error) -> Refusal {
    match error {
        Error::BadHandle => Refusal::BadHandle,
        Error::Offered => Refusal::Offered,
        Error::Locked => Refusal::Locked,
        Error::NotLocked => Refusal::NotLocked,
        Error::NotCommitted => Refusal::NotCommitted,
        Error::BadCount { .. } => Refusal::BadCount,
        Error::ZeroSize => Refusal::BadSize,
        Error::NoMemory { .. } => Refusal::NoMemory,
        other => Refusal::Other(other.to_string()),
    }
}

fn batch_refusal(batch: BatchError) -> Refusal {
    refusal(batch.error)
}

fn mode_of(offer: contract::Offer) -> OfferMode {
    OfferMode {
        class: match offer.class {
            contract::Class::Low => vidmm::Class::Low,
            contract::Class::Normal => vidmm::Class::Normal,
            contract::Class::High => vidmm::Class::High,
            contract::Class::Auto => vidmm::Class::Auto,
        },
        allow_decommit: offer.allow_decommit,
    }
}

fn answer_of(outcome: Outcome, form: Form) -> Answer {
    match (outcome, form) {
        (Outcome::Intact, _) => Answer::Intact,
        (Outcome::NotCommitted, Form::V2) => Answer::NotCommitted,
        _ => Answer::Discarded,
    }
}

fn told(result: std::io::Result<u64>) -> Result<u64, Refusal> {
    result.map_err(|error| Refusal::Other(error.to_string()))
}

fn length(size_bytes: u64) -> usize {
    usize::try_from(size_bytes).unwrap_or(usize::MAX)
}

impl RustFace {
    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn get(&self, item: Item) -> Result<&Allocation, Refusal> {
        match self.owners.get(&item) {
            Some(Owner::Alone(allocation)) => Ok(allocation),
            Some(Owner::Member(group, index)) => {
                let group = self.groups.get(group).ok_or(GONE)?;
                group.members().get(*index).ok_or(GONE)
            }
            None => Err(GONE),
        }
    }

    fn get_mut(&mut self, item: Item) -> Result<&mut Allocation, Refusal> {
        if self
            .held
            .get(&item)
            .is_some_and(|guards| !guards.is_empty())
        {
            return Err(Refusal::Unsupported("it is borrowed by a guard"));
        }
        match self.owners.get_mut(&item) {
            Some(Owner::Alone(allocation)) => Ok(allocation),
            Some(Owner::Member(group, index)) => {
                let group = self.groups.get_mut(group).ok_or(GONE)?;
                group.member_mut(*index).ok_or(GONE)
            }
            None => Err(GONE),
        }
    }

    fn list(&self, items: &[Item]) -> Result<Vec<&Allocation>, Refusal> {
        items.iter().map(|&item| self.get(item)).collect()
    }

    fn members(&self, group: GroupName) -> Vec<Item> {
        let mut members: Vec<(usize, Item)> = self
            .owners
            .iter()
            .filter_map(|(&item, owner)| match owner {
                Owner::Member(of, index) if *of == group => Some((*index, item)),
                _ => None,
            })
            .collect();
        members.sort_unstable();
        members.into_iter().map(|(_, item)| item).collect()
    }

    fn group(&self, group: GroupName) -> Result<&Group, Refusal> {
        self.groups.get(&group).map(Box::as_ref).ok_or(GONE)
    }

    /// The list calls of this API are those of the second version. They differ from the first only
    /// where something may end *not committed*.
    fn check_form(&self, items: &[Item], form: Form) -> Result<(), Refusal> {
        let lossy = |item| self.lossy.get(item).copied().unwrap_or(false);
        if form == Form::V2 || !items.iter().any(lossy) {
            return Ok(());
        }
        Err(Refusal::Unsupported(
            "lists of shared allocations always take all answers",
        ))
    }

    fn guard_members_from_moving(&self, group: GroupName) -> Result<(), Refusal> {
        let held = |item: &Item| self.held.get(item).is_some_and(|guards| !guards.is_empty());
        match self.members(group).iter().any(held) {
            true => Err(Refusal::Unsupported("a guard borrows the group")),
            false => Ok(()),
        }
    }
}

impl Face for RustFace {
    fn create(&mut self, new: &New) -> Result<Item, Refusal> {
        let len = length(new.size_bytes);
        let owner = match new.group {
            Some(name) => {
                self.guard_members_from_moving(name)?;
                let mut options = self.pool.options();
                if new.allow_not_zeroed {
                    options = options.allow_not_zeroed();
                }
                let group = self.groups.get_mut(&name).ok_or(GONE)?;
                Owner::Member(name, group.add(options, len).map_err(refusal)?)
            }
            None => {
                let mut options = self.pool.options();
                if new.allow_not_zeroed {
                    options = options.allow_not_zeroed();
                }
                let allocation = options.allocate_shared(len).map_err(refusal)?;
                Owner::Alone(Box::new(allocation))
            }
        };
        let item = Item(self.name());
        self.owners.insert(item, owner);
        Ok(item)
    }

    fn destroy(&mut self, item: Item) -> Result<(), Refusal> {
        // Guards borrow it: they cannot be there.
        self.get_mut(item)?;
        match self.owners.get(&item) {
            Some(Owner::Alone(_)) => {
                self.owners.remove(&item);
                Ok(())
            }
            Some(Owner::Member(..)) => Err(Refusal::Unsupported("members end with their group")),
            None => Err(GONE),
        }
    }

    fn wrong_item(&mut self) -> Result<Item, Refusal> {
        let wrong = self.other.options().allocate_shared(1).map_err(refusal)?;
        let item = Item(self.name());
        self.owners.insert(item, Owner::Alone(Box::new(wrong)));
        Ok(item)
    }

    fn create_group(&mut self) -> Result<GroupName, Refusal> {
        let group = Group::new(&self.pool).map_err(refusal)?;
        let name = GroupName(self.name());
        self.groups.insert(name, Box::new(group));
        Ok(name)
    }

    fn destroy_group(&mut self, group: GroupName) -> Result<(), Refusal> {
        self.guard_members_from_moving(group)?;
        for member in self.members(group) {
            self.owners.remove(&member);
        }
        self.groups.remove(&group).map(drop).ok_or(GONE)
    }

    fn write(&mut self, item: Item, bytes: &[u8]) -> Result<(), Refusal> {
        let mut guard = self.get_mut(item)?.lock_mut().map_err(refusal)?;
        let place = guard.get_mut(..bytes.len()).ok_or(Refusal::BadSize)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, item: Item, bytes: &mut [u8]) -> Result<(), Refusal> {
        let guard = self.get(item)?.lock().map_err(refusal)?;
        bytes.copy_from_slice(guard.get(..bytes.len()).ok_or(Refusal::BadSize)?);
        Ok(())
    }

    fn hold(&mut self, item: Item) -> Result<(), Refusal> {
        let guard = self.get(item)?.lock().map_err(refusal)?;
        // SAFETY: the allocation is in a box, or in a group's list that does not grow meanwhile
        // (`guard_members_from_moving`), so it stays where it is; nothing here takes it by
        // exclusive reference or drops it while a guard is held (`get_mut`), and guards are
        // dropped before the allocations.
        let guard = unsafe { std::mem::transmute::<ReadGuard<'_>, ReadGuard<'static>>(guard) };
        self.held.entry(item).or_default().push(guard);
        Ok(())
    }

    fn let_go(&mut self, item: Item) -> Result<(), Refusal> {
        match self.held.get_mut(&item).and_then(Vec::pop) {
            Some(guard) => {
                drop(guard);
                Ok(())
            }
            None => Err(Refusal::Unsupported("there is no guard to drop")),
        }
    }

    fn offer(&mut self, items: &[Item], offer: contract::Offer) -> Result<(), Refusal> {
        let list = self.list(items)?;
        match list.as_slice() {
            [single] => {
                single.offer(mode_of(offer)).map_err(refusal)?;
            }
            list => self
                .pool
                .offer_list(list, mode_of(offer))
                .map_err(batch_refusal)?,
        }
        for &item in items {
            self.lossy.insert(item, offer.allow_decommit);
        }
        Ok(())
    }

    fn offer_groups(
        &mut self,
        groups: &[GroupName],
        offer: contract::Offer,
    ) -> Result<(), Refusal> {
        let [group] = groups else {
            return Err(Refusal::Unsupported("groups are offered one by one"));
        };
        let offered = self.group(*group)?.offer(mode_of(offer));
        offered.map_err(batch_refusal)?;
        for member in self.members(*group) {
            self.lossy.insert(member, offer.allow_decommit);
        }
        Ok(())
    }

    fn reclaim(
        &mut self,
        items: &[Item],
        form: Form,
        answers: &mut [Answer],
    ) -> Result<(), Refusal> {
        let list = self.list(items)?;
        let mut outcomes = vec![Outcome::Intact; items.len()];
        match (list.as_slice(), form) {
            // The call on one is that of the first version.
            ([single], Form::V1 | Form::V1Null | Form::V2Null) => {
                outcomes[0] = single.reclaim().map_err(refusal)?;
            }
            (list, _) => {
                self.check_form(items, form)?;
                let reclaimed = self.pool.reclaim_list(list, &mut outcomes);
                reclaimed.map_err(batch_refusal)?;
            }
        }
        if form.has_answers() {
            for (answer, outcome) in answers.iter_mut().zip(outcomes) {
                *answer = answer_of(outcome, form);
            }
        }
        Ok(())
    }

    fn reclaim_groups(
        &mut self,
        groups: &[GroupName],
        form: Form,
        answers: &mut [Answer],
    ) -> Result<(), Refusal> {
        let [group] = groups else {
            return Err(Refusal::Unsupported("groups are reclaimed one by one"));
        };
        self.check_form(&self.members(*group), form)?;
        let outcome = self.group(*group)?.reclaim().map_err(batch_refusal)?;
        if form.has_answers() {
            answers[0] = answer_of(outcome, form);
        }
        Ok(())
    }

    fn set_priority(&mut self, item: Item, priority: u32) -> Result<(), Refusal> {
        self.get(item)?.set_priority(priority);
        Ok(())
    }

    fn set_budget(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.pool.set_budget_bytes(bytes).map_err(refusal)
    }

    fn trim(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.pool.trim(bytes).map_err(refusal)?;
        Ok(())
    }

    fn resident_bytes(&mut self) -> Result<u64, Refusal> {
        told(self.pool.resident().map(|resident| resident.total_bytes()))
    }

    fn resident_bytes_of(&mut self, item: Item) -> Result<u64, Refusal> {
        told(self.get(item)?.resident_bytes())
    }
}
