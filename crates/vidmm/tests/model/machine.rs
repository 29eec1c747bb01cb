//! Runs a program on a pool and on the model side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use vidmm::{
    AgentMode, Allocation, Error, Group, OfferMode, OldestFirst, Outcome, Pool, PressureMode, State,
};
use vidmm_contract::Pattern;

use crate::oracle::{Content, Due, Is, Known, Oracle};
use crate::programs::{Call, Pick};

/// Where an allocation is.
enum Place {
    Alone(Allocation),
    Member(u64, usize),
}

pub(crate) struct Machine {
    pool: Pool,
    /// Another pool's, so wrong everywhere.
    wrong: Allocation,
    /// In the order of the model's items.
    places: Vec<Place>,
    groups: BTreeMap<u64, Group>,
    oracle: Oracle,
    names: u64,
}

fn pool(budget_bytes: u64, oldest_first: bool) -> Pool {
    // The host runs the agent, and does not: so nothing happens between two calls.
    let builder = Pool::builder()
        .pressure(PressureMode::Off)
        .agent(AgentMode::Host)
        .budget_bytes(budget_bytes);
    let builder = match oldest_first {
        true => builder.policy(Arc::new(OldestFirst)),
        false => builder,
    };
    builder.build().unwrap()
}

/// What an allocation of this size is charged: pages, and for the sizes that programs have, the
/// same number in huge pages.
fn charge_of(size: usize) -> u64 {
    (size as u64).next_multiple_of(4096)
}

impl Machine {
    /// With the policy of which the order is known, or with the one that learns.
    pub(crate) fn new(budget_bytes: u64, oldest_first: bool) -> Self {
        let wrong = pool(1 << 20, oldest_first);
        Machine {
            wrong: wrong.options().allocate_shared(1).unwrap(),
            pool: pool(budget_bytes, oldest_first),
            places: Vec::new(),
            groups: BTreeMap::new(),
            oracle: Oracle {
                budget_bytes,
                oldest_first,
                items: Vec::new(),
            },
            names: 0,
        }
    }

    /// Makes all calls; every one of them is checked.
    pub(crate) fn run(&mut self, program: &[Call]) {
        for (number, call) in program.iter().enumerate() {
            self.call(call);
            self.check_books();
            if number % 16 == 15 {
                self.check_resident();
            }
        }
        self.check_resident();
        for index in 0..self.places.len() {
            self.read(index);
        }
    }

    fn call(&mut self, call: &Call) {
        let no_items = self.places.is_empty();
        match call {
            Call::Create { size, not_zeroed } => self.create(*size, *not_zeroed),
            Call::Budget(bytes) => self.set_budget(*bytes),
            Call::Trim(bytes) => self.trim(*bytes),
            Call::Group(sizes) => self.new_group(sizes),
            Call::GroupOffer(..) | Call::GroupReclaim(_) | Call::GroupEnd(_) => {
                self.group_call(call);
            }
            _ if no_items => {}
            Call::Write(pick) => self.write(self.index(*pick)),
            Call::Read(pick) => self.read(self.index(*pick)),
            Call::Offer { list, mode } => {
                let list = self.indices(list);
                self.offer(&list, *mode, None);
            }
            Call::OfferLocked { list, locked, mode } => {
                let list = self.indices(list);
                self.offer(&list, *mode, Some(list[locked % list.len()]));
            }
            Call::OfferWrong { list, wrong, mode } => self.offer_wrong(list, *wrong, *mode),
            Call::Reclaim(pick) => self.reclaim(self.index(*pick)),
            Call::ReclaimList(list) => {
                let list = self.indices(list);
                self.reclaim_list(&list);
            }
            Call::ReclaimWrong { list, wrong } => self.reclaim_wrong(list, *wrong),
            Call::Destroy(pick) => self.destroy(self.index(*pick)),
            Call::Priority(pick, priority) => {
                let index = self.index(*pick);
                self.allocation(index).set_priority(*priority);
                self.oracle.items[index].priority = *priority;
                self.note_lost(&[], 0);
            }
        }
    }

    fn index(&self, pick: Pick) -> usize {
        pick % self.places.len()
    }

    fn indices(&self, picks: &[Pick]) -> Vec<usize> {
        picks.iter().map(|&pick| self.index(pick)).collect()
    }

    fn allocation(&self, index: usize) -> &Allocation {
        match &self.places[index] {
            Place::Alone(allocation) => allocation,
            Place::Member(group, number) => &self.groups[group].members()[*number],
        }
    }

    fn list(&self, indices: &[usize]) -> Vec<&Allocation> {
        indices
            .iter()
            .map(|&index| self.allocation(index))
            .collect()
    }

    fn allocation_mut(&mut self, index: usize) -> &mut Allocation {
        match &mut self.places[index] {
            Place::Alone(allocation) => allocation,
            Place::Member(group, number) => {
                let group = self.groups.get_mut(group).unwrap();
                group.member_mut(*number).unwrap()
            }
        }
    }

    /// Takes over into the model what the call before has cost.
    fn note_lost(&mut self, safe: &[usize], needed_bytes: i128) {
        let lost: Vec<usize> = (0..self.places.len())
            .filter(|&index| {
                let is_lost = self.allocation(index).state() == State::Discarded;
                is_lost && self.oracle.items[index].is != Is::Discarded
            })
            .collect();
        self.oracle.lost(&lost, safe, needed_bytes);
    }

    /// The engine's books against the model's.
    fn check_books(&self) {
        for (index, known) in self.oracle.items.iter().enumerate() {
            let state = match known.is {
                Is::Committed => State::Committed,
                Is::Offered => State::Offered,
                Is::Discarded => State::Discarded,
                Is::Dead => State::Dead,
            };
            assert_eq!(self.allocation(index).state(), state, "item {index}");
        }
        let stats = self.pool.stats_now();
        let oracle = &self.oracle;
        assert_eq!(stats.budget_bytes, oracle.budget_bytes);
        assert_eq!(stats.committed.bytes, oracle.bytes_that_are(Is::Committed));
        assert_eq!(stats.offered_bytes(), oracle.bytes_that_are(Is::Offered));
        assert_eq!(
            i128::from(stats.room_bytes) + i128::from(stats.warm_bytes),
            oracle.free_bytes(),
            "committed + offered + unused + room is the budget: {stats:?}"
        );
        assert!(
            stats.room_bytes >= 0 || stats.warm_bytes == 0,
            "unused memory is kept in debt: {stats:?}"
        );
        assert_eq!(stats.refused_bytes, 0);
    }

    /// The kernel's books: never more than is charged, and that is the budget or a debt.
    fn check_resident(&self) {
        let stats = self.pool.stats_now();
        let resident = self.pool.resident().unwrap().total_bytes();
        assert!(
            resident <= self.oracle.charged_bytes() + stats.warm_bytes,
            "{resident} resident: {stats:?}"
        );
    }

    fn known_new(&self, size: usize, content: Content, group: Option<u64>) -> Known {
        Known {
            is: Is::Committed,
            content,
            charge_bytes: charge_of(size),
            class: vidmm::Class::Normal,
            may_die: false,
            stamp: 0,
            priority: vidmm::PRIORITY_NORMAL,
            group,
        }
    }

    /// An allocation was asked for; how that ended, against how it had to.
    fn created(&mut self, size: usize, created: Result<Place, Error>, known: Known) {
        let due = self.oracle.due_for_new(charge_of(size));
        match created {
            Ok(place) => {
                assert_eq!(due, Due::Done);
                let needed = i128::from(charge_of(size)) - self.oracle.free_bytes();
                self.note_lost(&[], needed);
                self.places.push(place);
                self.oracle.items.push(known);
                let made = self.allocation(self.places.len() - 1);
                assert_eq!(made.charge_bytes(), charge_of(size));
                assert_eq!(made.len_bytes(), size as u64);
            }
            Err(Error::NoMemory { .. }) => {
                assert_eq!(due, Due::NoMemory);
                // None had to go; some may, where a list of victims counted on others.
                let needed = i128::from(charge_of(size)) - self.oracle.free_bytes();
                self.note_lost(&[], needed);
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn create(&mut self, size: usize, not_zeroed: bool) {
        let (options, content) = match not_zeroed {
            true => (self.pool.options().allow_not_zeroed(), Content::Any),
            false => (self.pool.options(), Content::Zeros),
        };
        let created = options.allocate_shared(size).map(Place::Alone);
        let known = self.known_new(size, content, None);
        self.created(size, created, known);
    }

    fn new_group(&mut self, sizes: &[usize]) {
        self.names += 1;
        let name = self.names;
        let group = Group::new(&self.pool).unwrap();
        self.groups.insert(name, group);
        for &size in sizes {
            let group = self.groups.get_mut(&name).unwrap();
            let added = group.add(self.pool.options(), size);
            let place = added.map(|number| Place::Member(name, number));
            let known = self.known_new(size, Content::Zeros, Some(name));
            self.created(size, place, known);
        }
    }

    fn write(&mut self, index: usize) {
        self.names += 1;
        let content = Pattern(self.names);
        let is = self.oracle.items[index].is;
        let refusal = match self.allocation_mut(index).lock_mut() {
            Ok(mut bytes) => {
                content.fill(&mut bytes);
                None
            }
            Err(error) => Some(error),
        };
        assert_eq!(refusal, due_refusal_of_lock(is));
        if refusal.is_none() {
            self.oracle.items[index].content = Content::Written(content);
        }
    }

    fn read(&mut self, index: usize) {
        let known = &self.oracle.items[index];
        match self.allocation(index).lock() {
            Ok(bytes) => {
                assert_eq!(known.is, Is::Committed);
                let is_right = match known.content {
                    Content::Zeros => bytes.iter().all(|&byte| byte == 0),
                    Content::Written(pattern) => pattern.is_in(&bytes),
                    Content::Any => true,
                };
                assert!(is_right, "item {index} holds something else: {known:?}");
            }
            Err(error) => assert_eq!(Some(error), due_refusal_of_lock(known.is)),
        }
    }

    fn offer(&mut self, list: &[usize], mode: OfferMode, locked: Option<usize>) {
        let guard = locked.and_then(|index| self.allocation(index).lock().ok());
        let locked = locked.filter(|_| guard.is_some());
        let wrong =
            list.iter()
                .enumerate()
                .find_map(|(at, &index)| match self.oracle.items[index].is {
                    Is::Dead => Some((at, Error::NotCommitted)),
                    Is::Committed if locked == Some(index) => Some((at, Error::Locked)),
                    _ => None,
                });
        let offered = self.pool.offer_list(&self.list(list), mode);
        drop(guard);
        let refusal = offered
            .err()
            .map(|error| (error.index.unwrap(), error.error));
        assert_eq!(refusal, wrong);
        self.note_lost(&[], 0);
        if refusal.is_none() {
            self.offered(list, mode);
        }
    }

    fn offered(&mut self, list: &[usize], mode: OfferMode) {
        for &index in list {
            let stamp = self.allocation(index).history().stamp_ticks;
            let known = &mut self.oracle.items[index];
            // Also of what is discarded already.
            known.may_die = mode.allow_decommit;
            if matches!(known.is, Is::Committed | Is::Offered) {
                known.is = Is::Offered;
                known.class = mode.class;
                known.stamp = stamp;
            }
        }
    }

    fn offer_wrong(&mut self, picks: &[Pick], wrong: Pick, mode: OfferMode) {
        let indices = self.indices(picks);
        let at = wrong % (indices.len() + 1);
        let is_dead = |&index: &usize| self.oracle.items[index].is == Is::Dead;
        if indices[..at].iter().any(is_dead) {
            return;
        }
        let mut list = self.list(&indices);
        list.insert(at, &self.wrong);
        let refusal = self.pool.offer_list(&list, mode).unwrap_err();
        assert_eq!((refusal.index, refusal.error), (Some(at), Error::BadHandle));
        self.note_lost(&[], 0);
    }

    fn reclaim(&mut self, index: usize) {
        let due = self.oracle.due_answers(&[index], false);
        let answer = self
            .allocation(index)
            .reclaim()
            .map(|outcome| vec![outcome]);
        self.reclaimed(&[index], due.as_deref(), answer);
    }

    fn reclaim_list(&mut self, list: &[usize]) {
        let due = self.oracle.due_answers(list, true);
        let mut outcomes = vec![Outcome::Intact; list.len()];
        let answer = self.pool.reclaim_list(&self.list(list), &mut outcomes);
        let answer = answer.map(|()| outcomes).map_err(|refusal| refusal.error);
        self.reclaimed(list, due.as_deref(), answer);
    }

    fn reclaimed(
        &mut self,
        list: &[usize],
        due: Option<&[Outcome]>,
        answer: Result<Vec<Outcome>, Error>,
    ) {
        match answer {
            Ok(answers) => {
                assert_eq!(Some(answers.as_slice()), due);
                let free = self.oracle.free_bytes();
                let mut before = self.oracle.charged_bytes();
                self.oracle.answered(list, &answers);
                before = self.oracle.charged_bytes() - before;
                self.note_lost(list, i128::from(before) - free);
            }
            Err(Error::NoMemory { .. }) => {
                assert_eq!(due, None);
                self.note_lost(list, 0);
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn reclaim_wrong(&mut self, picks: &[Pick], wrong: Pick) {
        let indices = self.indices(picks);
        let at = wrong % (indices.len() + 1);
        let mut list = self.list(&indices);
        list.insert(at, &self.wrong);
        let mut outcomes = vec![Outcome::NotCommitted; list.len()];
        let refusal = self.pool.reclaim_list(&list, &mut outcomes).unwrap_err();
        assert_eq!((refusal.index, refusal.error), (Some(at), Error::BadHandle));
        assert!(outcomes.iter().all(|&o| o == Outcome::NotCommitted));
        self.note_lost(&[], 0);
    }

    fn destroy(&mut self, index: usize) {
        if matches!(self.places[index], Place::Alone(_)) {
            self.places.swap_remove(index);
            self.oracle.items.swap_remove(index);
            self.note_lost(&[], 0);
        }
    }

    fn trim(&mut self, bytes: u64) {
        let before = self.pool.stats_now();
        let given = self.pool.trim(bytes).unwrap();
        let after = self.pool.stats_now();
        let there = before.warm_bytes + before.offered_bytes();
        assert!(
            given >= bytes.min(there) && given <= there,
            "{given} of {there}"
        );
        assert_eq!(
            after.room_bytes - before.room_bytes,
            i64::try_from(given).unwrap()
        );
        self.note_lost(&[], i128::from(bytes) - i128::from(before.warm_bytes));
    }

    fn set_budget(&mut self, bytes: u64) {
        self.pool.set_budget_bytes(bytes).unwrap();
        self.oracle.budget_bytes = bytes;
        self.note_lost(&[], -self.oracle.free_bytes());
        let stats = self.pool.stats_now();
        let all_went = stats.offered_bytes() + stats.warm_bytes == 0;
        assert!(stats.room_bytes >= 0 || all_went, "{stats:?}");
    }

    fn group_call(&mut self, call: &Call) {
        let (Call::GroupOffer(pick, _) | Call::GroupReclaim(pick) | Call::GroupEnd(pick)) = call
        else {
            return;
        };
        if self.groups.is_empty() {
            return;
        }
        let name = *self.groups.keys().nth(pick % self.groups.len()).unwrap();
        let items = self.oracle.items.iter().enumerate();
        let mut members: Vec<usize> = items
            .filter(|(_, known)| known.group == Some(name))
            .map(|(index, _)| index)
            .collect();
        members.sort_unstable_by_key(|&index| match self.places[index] {
            Place::Member(_, number) => number,
            Place::Alone(_) => usize::MAX,
        });
        match call {
            Call::GroupOffer(_, mode) => self.group_offer(name, &members, *mode),
            Call::GroupReclaim(_) => self.group_reclaim(name, &members),
            _ => self.group_end(name),
        }
    }

    fn group_offer(&mut self, name: u64, members: &[usize], mode: OfferMode) {
        let is_dead = |&index: &usize| self.oracle.items[index].is == Is::Dead;
        let wrong = members.iter().position(is_dead);
        let offered = self.groups[&name].offer(mode);
        assert_eq!(offered.err().and_then(|error| error.index), wrong);
        self.note_lost(&[], 0);
        if wrong.is_none() {
            self.offered(members, mode);
        }
    }

    fn group_reclaim(&mut self, name: u64, members: &[usize]) {
        let due = self.oracle.due_answers(members, true);
        let worst = |answers: &[Outcome]| answers.iter().max().copied();
        match self.groups[&name].reclaim() {
            Ok(outcome) => {
                let due = due.expect("a shortage");
                assert_eq!(outcome, worst(&due).unwrap_or(Outcome::Intact));
                self.reclaimed(members, Some(&due), Ok(due.clone()));
            }
            Err(refusal) => self.reclaimed(members, due.as_deref(), Err(refusal.error)),
        }
    }

    fn group_end(&mut self, name: u64) {
        self.groups.remove(&name);
        for index in (0..self.places.len()).rev() {
            if self.oracle.items[index].group == Some(name) {
                self.places.swap_remove(index);
                self.oracle.items.swap_remove(index);
            }
        }
        self.note_lost(&[], 0);
    }
}

fn due_refusal_of_lock(is: Is) -> Option<Error> {
    match is {
        Is::Committed => None,
        Is::Offered | Is::Discarded => Some(Error::Offered),
        Is::Dead => Some(Error::NotCommitted),
    }
}
