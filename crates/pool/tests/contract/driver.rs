//! Drives the engine itself, with raw handles and raw memory, as the C face does.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use vidmm_contract as contract;
use vidmm_contract::{Answer, Face, FaceFactory, Form, GroupName, Item, New, Refusal};
use vidmm_machine::BudgetSpec;
use vidmm_pool::{
    AgentMode, Answers, BatchError, Error, GroupId, Handle, LinuxKernel, OfferMode, OldestFirst,
    Outcome, Pool, PoolOptions, PressureMode, Request,
};

/// Pools of the engine with these options, but for the budget.
pub(crate) struct Engines {
    pub(crate) name: &'static str,
    pub(crate) options: PoolOptions,
}

impl Engines {
    pub(crate) fn plain() -> Self {
        Engines {
            name: "the engine",
            options: PoolOptions {
                pressure: PressureMode::Off,
                // So that what goes first is known.
                policy: Some(Arc::new(OldestFirst)),
                ..PoolOptions::default()
            },
        }
    }

    /// With everything that helps to find a program's faults.
    pub(crate) fn debugging() -> Self {
        let mut engines = Self::plain();
        engines.name = "the engine, poisoning and protecting";
        engines.options.poison = true;
        engines.options.protect = true;
        engines.options.agent = AgentMode::Host;
        engines
    }
}

impl FaceFactory for Engines {
    fn name(&self) -> &str {
        self.name
    }

    fn face(&mut self, budget_bytes: u64) -> Result<Box<dyn Face>, String> {
        let options = PoolOptions {
            budget: BudgetSpec::Bytes(budget_bytes),
            ..self.options.clone()
        };
        let pool = Pool::new(LinuxKernel, options).map_err(|error| error.to_string())?;
        Ok(Box::new(Engine {
            pool,
            groups: BTreeMap::new(),
        }))
    }
}

struct Engine {
    pool: Arc<Pool>,
    /// Each group with its members in order of creation.
    groups: BTreeMap<u64, (GroupId, Vec<Item>)>,
}

/// The 32 bits of a name.
fn raw(item: Item) -> u32 {
    u32::try_from(item.0).unwrap_or(0)
}

fn handle(item: Item) -> Result<Handle, Refusal> {
    Handle::from_raw(raw(item)).ok_or(Refusal::BadHandle)
}

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

fn mode_of(offer: contract::Offer) -> OfferMode {
    OfferMode {
        class: match offer.class {
            contract::Class::Low => vidmm_pool::Class::Low,
            contract::Class::Normal => vidmm_pool::Class::Normal,
            contract::Class::High => vidmm_pool::Class::High,
            contract::Class::Auto => vidmm_pool::Class::Auto,
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

impl Engine {
    /// Locks, hands the memory to `work`, unlocks.
    fn while_locked(
        &mut self,
        item: Item,
        len: usize,
        work: impl FnOnce(*mut u8),
    ) -> Result<(), Refusal> {
        let handle = handle(item)?;
        let mapping = self.pool.lock(handle).map_err(refusal)?;
        if len <= mapping.len_bytes {
            work(mapping.start.as_ptr());
        }
        self.pool.unlock(handle).map_err(refusal)?;
        match len <= mapping.len_bytes {
            true => Ok(()),
            false => Err(Refusal::BadSize),
        }
    }

    fn members(&self, group: GroupName) -> Result<&[Item], Refusal> {
        let (_, members) = self.groups.get(&group.0).ok_or(Refusal::BadHandle)?;
        Ok(members)
    }

    fn outcomes(&self, items: &[Item], form: Form) -> Result<Vec<Outcome>, Refusal> {
        let list: Vec<u32> = items.iter().copied().map(raw).collect();
        let mut outcomes = vec![Outcome::Intact; list.len()];
        let answers = match form {
            Form::V2 => Answers::NotCommitted,
            Form::V1Null | Form::V1 | Form::V2Null => Answers::Discarded,
        };
        self.pool
            .reclaim_list(list.as_slice(), answers, |index, outcome| {
                outcomes[index] = outcome;
            })
            .map_err(|BatchError { error, .. }| refusal(error))?;
        Ok(outcomes)
    }
}

impl Face for Engine {
    fn create(&mut self, new: &New) -> Result<Item, Refusal> {
        let group = match new.group {
            Some(name) => Some(self.groups.get(&name.0).ok_or(Refusal::BadHandle)?.0),
            None => None,
        };
        let created = self.pool.create(&Request {
            allow_not_zeroed: new.allow_not_zeroed,
            group,
            ..Request::of_size(new.size_bytes)
        });
        let item = Item(u64::from(created.map_err(refusal)?.raw()));
        if let Some((_, members)) = new.group.and_then(|name| self.groups.get_mut(&name.0)) {
            members.push(item);
        }
        Ok(item)
    }

    fn destroy(&mut self, item: Item) -> Result<(), Refusal> {
        self.pool.destroy(handle(item)?).map_err(refusal)?;
        for (_, members) in self.groups.values_mut() {
            members.retain(|&member| member != item);
        }
        Ok(())
    }

    fn wrong_item(&mut self) -> Result<Item, Refusal> {
        let item = self.create(&New {
            size_bytes: 1,
            allow_not_zeroed: true,
            group: None,
        })?;
        self.destroy(item)?;
        Ok(item)
    }

    fn create_group(&mut self) -> Result<GroupName, Refusal> {
        let group = self.pool.create_group().map_err(refusal)?;
        let name = self.groups.keys().last().map_or(1, |last| last + 1);
        self.groups.insert(name, (group, Vec::new()));
        Ok(GroupName(name))
    }

    fn destroy_group(&mut self, group: GroupName) -> Result<(), Refusal> {
        let (id, members) = self.groups.remove(&group.0).ok_or(Refusal::BadHandle)?;
        for member in members {
            self.pool.destroy(handle(member)?).map_err(refusal)?;
        }
        self.pool.destroy_group(id).map_err(refusal)
    }

    fn write(&mut self, item: Item, bytes: &[u8]) -> Result<(), Refusal> {
        self.while_locked(item, bytes.len(), |start| {
            // SAFETY: locked, and at least as long; nobody else uses this allocation.
            unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        })
    }

    fn read(&mut self, item: Item, bytes: &mut [u8]) -> Result<(), Refusal> {
        self.while_locked(item, bytes.len(), |start| {
            // SAFETY: as above.
            unsafe { start.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        })
    }

    fn hold(&mut self, item: Item) -> Result<(), Refusal> {
        self.pool.lock(handle(item)?).map_err(refusal)?;
        Ok(())
    }

    fn let_go(&mut self, item: Item) -> Result<(), Refusal> {
        self.pool.unlock(handle(item)?).map_err(refusal)
    }

    fn offer(&mut self, items: &[Item], offer: contract::Offer) -> Result<(), Refusal> {
        let list: Vec<u32> = items.iter().copied().map(raw).collect();
        self.pool
            .offer_list(list.as_slice(), mode_of(offer))
            .map_err(|BatchError { error, .. }| refusal(error))
    }

    fn offer_groups(
        &mut self,
        groups: &[GroupName],
        offer: contract::Offer,
    ) -> Result<(), Refusal> {
        let mut items = Vec::new();
        for &group in groups {
            items.extend(self.members(group)?);
        }
        match items.is_empty() {
            true => Ok(()),
            false => self.offer(&items, offer),
        }
    }

    fn reclaim(
        &mut self,
        items: &[Item],
        form: Form,
        answers: &mut [Answer],
    ) -> Result<(), Refusal> {
        let outcomes = self.outcomes(items, form)?;
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
        let mut items = Vec::new();
        let mut ends = Vec::new();
        for &group in groups {
            items.extend(self.members(group)?);
            ends.push(items.len());
        }
        let outcomes = match items.is_empty() {
            true => Vec::new(),
            false => self.outcomes(&items, form)?,
        };
        let mut begin = 0;
        for (answer, end) in answers.iter_mut().zip(ends) {
            let worst = outcomes[begin..end].iter().max();
            if form.has_answers() {
                *answer = answer_of(worst.copied().unwrap_or(Outcome::Intact), form);
            }
            begin = end;
        }
        Ok(())
    }

    fn set_priority(&mut self, item: Item, priority: u32) -> Result<(), Refusal> {
        self.pool
            .set_priority(handle(item)?, priority)
            .map_err(refusal)
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
        told(self.pool.resident_of(handle(item)?))
    }
}
