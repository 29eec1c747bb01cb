//! Drives the C ABI, through a C program for each face.

use std::ops::Range;

use vidmm_contract::{
    Answer, Class, Face, FaceFactory, Form, GroupName, Item, New, Offer, Refusal,
};

use crate::kernel;
use crate::manager::Manager;
use crate::places::{Places, overlap};
use crate::program::{self, Call, Program, Request, Variables};

/// Faces of the C ABI under some environment.
pub(crate) struct CAbi {
    name: &'static str,
    variables: Variables,
    /// Each face's budget is that of a manager of its own.
    joined: bool,
}

impl CAbi {
    /// Under these variables, besides those that give a face its budget and keep the machine's
    /// pressure out.
    pub(crate) fn with(name: &'static str, variables: &[(&str, &str)]) -> Self {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        CAbi {
            name,
            variables: variables.iter().map(own).collect(),
            joined: false,
        }
    }

    pub(crate) fn plain() -> Self {
        Self::with("the C ABI", &[])
    }

    /// Joined to a manager, which has the budget.
    pub(crate) fn joined() -> Self {
        CAbi {
            joined: true,
            ..Self::with("the C ABI, joined", &[])
        }
    }

    /// With everything that helps to find a program's faults.
    pub(crate) fn debugging() -> Self {
        Self::with(
            "the C ABI, poisoning and protecting",
            &[("VIDMM_POISON", "1"), ("VIDMM_DEBUG", "protect")],
        )
    }
}

impl FaceFactory for CAbi {
    fn name(&self) -> &str {
        self.name
    }

    fn face(&mut self, budget_bytes: u64) -> Result<Box<dyn Face>, String> {
        let mut variables = self.variables.clone();
        let manager = self.joined.then(|| Manager::start(budget_bytes));
        match &manager {
            None => {
                variables.push(("VIDMM_BUDGET".to_owned(), budget_bytes.to_string()));
                variables.push(("VIDMM_MODE".to_owned(), "embedded".to_owned()));
            }
            Some(manager) => {
                let socket = manager.socket().display().to_string();
                variables.push(("VIDMM_SOCKET".to_owned(), socket));
                variables.push(("VIDMM_MODE".to_owned(), "shared".to_owned()));
            }
        }
        variables.push(("VIDMM_PRESSURE".to_owned(), "off".to_owned()));
        // So that what goes first is known.
        variables.push(("VIDMM_POLICY".to_owned(), "oldest-first".to_owned()));
        let mut program = Program::start(&variables)?;
        let arenas = open(&mut program).map_err(|error| error.to_string())?;
        Ok(Box::new(CFace {
            program,
            arenas,
            places: Places::default(),
            budget_bytes: match manager {
                None => budget_bytes,
                Some(_) => UNLIMITED,
            },
            manager,
        }))
    }
}

/// Opens the face of a program, and finds where its memory can be: in the address space that is
/// reserved then and was not before.
fn open(program: &mut Program) -> std::io::Result<Vec<Range<u64>>> {
    let others = kernel::reservations(program.id())?;
    let opened = program.ask(Call::Open.into());
    assert!(opened.is_success(), "{opened:?}");
    let mut arenas = kernel::reservations(program.id())?;
    arenas.retain(|arena| !others.iter().any(|other| overlap(arena, other)));
    assert!(!arenas.is_empty(), "no address space was reserved");
    Ok(arenas)
}

/// What a place of a result array holds before the call.
const UNTOUCHED: u32 = 0xA5A5_A5A5;

/// The statuses of refusals that have a meaning of their own.
const INVALID_PARAMETER: u32 = 0xC000_000D;
const NO_MEMORY: u32 = 0xC000_0017;

/// What may become of offered memory (an option of [`Call::SetFault`]).
#[derive(Debug, Clone, Copy)]
enum Fault {
    None = 0,
    NeverDiscard = 1,
}

struct CFace {
    program: Program,
    /// Where its memory can be.
    arenas: Vec<Range<u64>>,
    places: Places,
    /// The budget in force, as far as it is the program's own business.
    budget_bytes: u64,
    /// Whose business it is otherwise.
    manager: Option<Manager>,
}

/// What a program allows itself that leaves its budget to a manager.
const UNLIMITED: u64 = u64::MAX;

/// The 32 bits of a name.
fn raw(name: u64) -> u32 {
    u32::try_from(name).expect("a name that this face gave out")
}

fn handles(items: &[Item]) -> Vec<u32> {
    items.iter().map(|item| raw(item.0)).collect()
}

fn resources(groups: &[GroupName]) -> Vec<u32> {
    groups.iter().map(|group| raw(group.0)).collect()
}

fn granted(answer: &program::Answer) -> Result<(), Refusal> {
    match answer.status.cast_unsigned() {
        0 => Ok(()),
        INVALID_PARAMETER => Err(Refusal::Invalid),
        NO_MEMORY => Err(Refusal::NoMemory),
        other => Err(Refusal::Other(format!("status {other:#010X}"))),
    }
}

fn told(result: std::io::Result<u64>) -> Result<u64, Refusal> {
    result.map_err(|error| Refusal::Other(error.to_string()))
}

fn offer_option(offer: Offer) -> u32 {
    let priority = match offer.class {
        Class::Low => 1,
        Class::Normal => 2,
        Class::High => 3,
        Class::Auto => 4,
    };
    priority | u32::from(offer.immediately) << 8 | u32::from(offer.allow_decommit) << 9
}

fn reclaim_option(form: Form) -> u32 {
    let version = match form {
        Form::V1Null | Form::V1 => 1,
        Form::V2Null | Form::V2 => 2,
    };
    version | u32::from(form.has_answers()) << 8
}

/// What a result means; version 1 has a BOOL.
fn answer_of(result: u32, form: Form) -> Answer {
    match (result, form) {
        (UNTOUCHED, _) => Answer::Untouched,
        (0, _) => Answer::Intact,
        (1, _) => Answer::Discarded,
        (2, Form::V2) => Answer::NotCommitted,
        (other, _) => panic!("{other} is no result of {form:?}"),
    }
}

impl CFace {
    fn call(&mut self, request: impl Into<Request>) -> Result<u64, Refusal> {
        let answer = self.program.ask(request.into());
        granted(&answer)?;
        Ok(answer.value)
    }

    fn call_on(&mut self, call: Call, item: Item) -> Result<u64, Refusal> {
        self.call(Request {
            handle: raw(item.0),
            ..call.into()
        })
    }

    /// What was locked was seen at this address.
    fn seen(&mut self, item: Item, locked: &program::Answer) -> Result<(), Refusal> {
        granted(locked)?;
        self.places.seen(item, locked.value);
        Ok(())
    }

    fn fits(&self, item: Item, len: usize) -> Result<(), Refusal> {
        match self.places.size_bytes(item) {
            Some(size_bytes) if size_bytes < len as u64 => Err(Refusal::BadSize),
            _ => Ok(()),
        }
    }

    /// Sees where something committed is now that was seen elsewhere. What cannot be locked is
    /// dead.
    fn look_again(&mut self, item: Item) {
        if self.places.place(item).is_none() {
            return;
        }
        self.places.lost(item);
        if self.hold(item).is_ok() {
            let unlocked = self.let_go(item);
            assert_eq!(unlocked, Ok(()), "{item:?} was locked");
        }
    }

    /// Takes a result array over, as far as the form has one.
    fn take_answers(answer: &program::Answer, form: Form, answers: &mut [Answer]) {
        if form.has_answers() {
            assert_eq!(answer.results.len(), answers.len());
            for (place, &result) in answers.iter_mut().zip(&answer.results) {
                *place = answer_of(result, form);
            }
        }
    }

    fn set_fault(&mut self, fault: Fault) -> Result<(), Refusal> {
        let request = Request {
            option: fault as u32,
            ..Call::SetFault.into()
        };
        self.call(request).map(drop)
    }

    /// Has the library heed a budget that is not the face's own.
    fn heed_budget(&mut self, bytes: u64) -> Result<(), Refusal> {
        let request = Request {
            value: bytes,
            ..Call::SetBudget.into()
        };
        self.call(request).map(drop)
    }
}

impl Face for CFace {
    fn create(&mut self, new: &New) -> Result<Item, Refusal> {
        let handle = self.call(Request {
            handle: new.group.map_or(0, |group| raw(group.0)),
            option: u32::from(new.allow_not_zeroed),
            value: new.size_bytes,
            ..Call::Create.into()
        })?;
        let item = Item(handle);
        self.places.created(item, new.size_bytes, new.group);
        Ok(item)
    }

    fn destroy(&mut self, item: Item) -> Result<(), Refusal> {
        self.call_on(Call::Destroy, item)?;
        self.places.destroyed(item);
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
        self.call(Call::CreateResource).map(GroupName)
    }

    fn destroy_group(&mut self, group: GroupName) -> Result<(), Refusal> {
        self.call(Request {
            handle: raw(group.0),
            ..Call::DestroyResource.into()
        })?;
        for member in self.places.members(group) {
            let again = self.destroy(member);
            assert_eq!(
                again,
                Err(Refusal::Invalid),
                "{member:?} outlived its group"
            );
            self.places.destroyed(member);
        }
        Ok(())
    }

    fn write(&mut self, item: Item, bytes: &[u8]) -> Result<(), Refusal> {
        self.fits(item, bytes.len())?;
        let locked = self.program.write(raw(item.0), bytes);
        self.seen(item, &locked)
    }

    fn read(&mut self, item: Item, bytes: &mut [u8]) -> Result<(), Refusal> {
        self.fits(item, bytes.len())?;
        let locked = self.program.read(raw(item.0), bytes);
        self.seen(item, &locked)
    }

    fn hold(&mut self, item: Item) -> Result<(), Refusal> {
        let start = self.call_on(Call::Lock, item)?;
        self.places.seen(item, start);
        Ok(())
    }

    fn let_go(&mut self, item: Item) -> Result<(), Refusal> {
        self.call_on(Call::Unlock, item).map(drop)
    }

    fn offer(&mut self, items: &[Item], offer: Offer) -> Result<(), Refusal> {
        let request = Request {
            option: offer_option(offer),
            ..Call::Offer.into()
        };
        granted(&self.program.ask_of_list(request, &handles(items)))
    }

    fn offer_groups(&mut self, groups: &[GroupName], offer: Offer) -> Result<(), Refusal> {
        let request = Request {
            option: offer_option(offer),
            ..Call::OfferResources.into()
        };
        granted(&self.program.ask_of_list(request, &resources(groups)))
    }

    fn reclaim(
        &mut self,
        items: &[Item],
        form: Form,
        answers: &mut [Answer],
    ) -> Result<(), Refusal> {
        let request = Request {
            option: reclaim_option(form),
            ..Call::Reclaim.into()
        };
        let answer = self.program.ask_of_list(request, &handles(items));
        Self::take_answers(&answer, form, answers);
        granted(&answer)?;
        for (&item, told) in items.iter().zip(answers) {
            match form.has_answers() {
                true if told.is_lost() => self.places.lost(item),
                true => {}
                false => self.look_again(item),
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
        let request = Request {
            option: reclaim_option(form),
            ..Call::ReclaimResources.into()
        };
        let answer = self.program.ask_of_list(request, &resources(groups));
        Self::take_answers(&answer, form, answers);
        granted(&answer)?;
        for (&group, told) in groups.iter().zip(answers) {
            // Not all of its members need have lost theirs.
            if told.is_lost() || !form.has_answers() {
                for member in self.places.members(group) {
                    self.look_again(member);
                }
            }
        }
        Ok(())
    }

    fn set_priority(&mut self, item: Item, priority: u32) -> Result<(), Refusal> {
        let request = Request {
            handle: raw(item.0),
            option: priority,
            ..Call::SetPriority.into()
        };
        self.call(request).map(drop)
    }

    fn set_budget(&mut self, bytes: u64) -> Result<(), Refusal> {
        if let Some(manager) = &self.manager {
            // No manager's budget is nothing; less than a page is as good.
            manager.set_budget(bytes.max(1));
            return Ok(());
        }
        self.heed_budget(bytes)?;
        self.budget_bytes = bytes;
        Ok(())
    }

    /// There is no call for it; a budget that is lower for a while does it. The knobs make the
    /// library forget the victims it has listed, so cases about lists made earlier say less of this
    /// face than of the engine.
    fn trim(&mut self, bytes: u64) -> Result<(), Refusal> {
        let before = self.resident_bytes()?;
        // A budget of nothing, while nothing may be discarded, has all unused memory go; and
        // everything that is left is beyond it.
        self.set_fault(Fault::NeverDiscard)?;
        self.heed_budget(0)?;
        let held_bytes = self.call(Call::GetBudget)?;
        let gone_bytes = before.saturating_sub(self.resident_bytes()?);
        let missing_bytes = bytes.saturating_sub(gone_bytes);
        if missing_bytes > 0 {
            // Set first while nothing may be discarded: the library may look at its budget by
            // itself at any time, and 0 would cost everything.
            let lower_bytes = held_bytes.saturating_sub(missing_bytes);
            self.heed_budget(lower_bytes)?;
            self.set_fault(Fault::None)?;
            self.heed_budget(lower_bytes)?;
        }
        // What is left of a victim is unused memory at a place that was an item's: it goes, too.
        // The budget in force may be below what is held, which is no business of a trim.
        self.set_fault(Fault::NeverDiscard)?;
        self.heed_budget(0)?;
        self.heed_budget(self.budget_bytes)?;
        self.set_fault(Fault::None)
    }

    fn resident_bytes(&mut self) -> Result<u64, Refusal> {
        told(kernel::resident_bytes(self.program.id(), &self.arenas))
    }

    fn resident_bytes_of(&mut self, item: Item) -> Result<u64, Refusal> {
        let Some(place) = self.places.place(item) else {
            return Ok(0);
        };
        let (pid, page_bytes) = (self.program.id(), self.program.page_bytes());
        told(kernel::resident_bytes_at(pid, place, page_bytes))
    }
}
