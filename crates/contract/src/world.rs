//! What cases say instead of calling a face directly: calls that must succeed, refusals that are
//! expected, contents, and discards as the kernel sees them.

use std::collections::BTreeMap;

use crate::face::{Answer, Class, Face, FaceFactory, Form, GroupName, Item, New, Offer, Refusal};
use crate::pattern::Pattern;

/// The unit that cases allocate in, in bytes: whole pages wherever this runs.
pub(crate) const UNIT: u64 = 64 << 10;

/// A case was not run to its end, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped(pub String);

/// What cases return.
pub(crate) type Done = Result<(), Skipped>;

/// One face under test, and what must be true of what it holds.
pub(crate) struct World {
    pub(crate) face: Box<dyn Face>,
    items: BTreeMap<Item, Known>,
    created: u64,
    seeds: u64,
}

/// What the test knows of an allocation.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Its place in the order of creation.
    number: u64,
    size_bytes: u64,
    content: Pattern,
}

/// The call was made, or the face cannot express it.
#[track_caller]
pub(crate) fn done<T>(result: Result<T, Refusal>) -> Result<T, Skipped> {
    match result {
        Ok(value) => Ok(value),
        Err(Refusal::Unsupported(why)) => Err(Skipped(why.to_owned())),
        Err(refusal) => panic!("refused: {refusal:?}"),
    }
}

/// The call was refused for this reason, or the face cannot express it.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, Refusal>, expected: &Refusal) -> Done {
    match result {
        Ok(_) => panic!("granted, where {expected:?} was due"),
        Err(Refusal::Unsupported(why)) => Err(Skipped(why.to_owned())),
        Err(refusal) => {
            assert!(
                refusal.agrees_with(expected),
                "{refusal:?} instead of {expected:?}"
            );
            Ok(())
        }
    }
}

impl World {
    /// A fresh pool with room for `units`.
    pub(crate) fn new(factory: &mut dyn FaceFactory, units: u64) -> Result<Self, Skipped> {
        Ok(World {
            face: factory.face(units * UNIT).map_err(Skipped)?,
            items: BTreeMap::new(),
            created: 0,
            seeds: 0,
        })
    }

    /// Creates an allocation and writes a content of its own.
    #[track_caller]
    pub(crate) fn item(&mut self, units: u64) -> Result<Item, Skipped> {
        self.item_of(units * UNIT, None)
    }

    #[track_caller]
    pub(crate) fn items(&mut self, count: usize) -> Result<Vec<Item>, Skipped> {
        (0..count).map(|_| self.item(1)).collect()
    }

    /// As [`World::item`], of any size, in a group or not.
    #[track_caller]
    pub(crate) fn item_of(
        &mut self,
        size_bytes: u64,
        group: Option<GroupName>,
    ) -> Result<Item, Skipped> {
        let item = self.untouched(size_bytes, group)?;
        self.write(item)?;
        Ok(item)
    }

    /// Creates an allocation and leaves it alone.
    #[track_caller]
    pub(crate) fn untouched(
        &mut self,
        size_bytes: u64,
        group: Option<GroupName>,
    ) -> Result<Item, Skipped> {
        let new = New {
            size_bytes,
            allow_not_zeroed: false,
            group,
        };
        let item = done(self.face.create(&new))?;
        self.created += 1;
        let known = Known {
            number: self.created,
            size_bytes,
            content: Pattern(0),
        };
        self.items.insert(item, known);
        Ok(item)
    }

    /// A group of members of one unit each.
    #[track_caller]
    pub(crate) fn group(&mut self, members: usize) -> Result<(GroupName, Vec<Item>), Skipped> {
        let group = done(self.face.create_group())?;
        let members: Result<Vec<Item>, Skipped> = (0..members)
            .map(|_| self.item_of(UNIT, Some(group)))
            .collect();
        Ok((group, members?))
    }

    #[track_caller]
    fn known(&self, item: Item) -> Known {
        *self.items.get(&item).expect("an item of this world")
    }

    fn size_of(&self, items: &[Item]) -> u64 {
        items.iter().map(|&item| self.known(item).size_bytes).sum()
    }

    /// Gives a committed item a content that it never had.
    #[track_caller]
    pub(crate) fn write(&mut self, item: Item) -> Done {
        self.seeds += 1;
        let content = Pattern(self.seeds);
        let mut bytes = vec![0; self.len_of(item)];
        content.fill(&mut bytes);
        done(self.face.write(item, &bytes))?;
        if let Some(known) = self.items.get_mut(&item) {
            known.content = content;
        }
        Ok(())
    }

    #[track_caller]
    fn len_of(&self, item: Item) -> usize {
        usize::try_from(self.known(item).size_bytes).expect("a size that fits")
    }

    #[track_caller]
    pub(crate) fn read(&mut self, item: Item) -> Result<Vec<u8>, Skipped> {
        // Not zero, so that a face that reads nothing is found out.
        let mut bytes = vec![0xA5; self.len_of(item)];
        done(self.face.read(item, &mut bytes))?;
        Ok(bytes)
    }

    /// Committed, and byte for byte what was written last.
    #[track_caller]
    pub(crate) fn holds_its_content(&mut self, items: &[Item]) -> Done {
        for &item in items {
            let bytes = self.read(item)?;
            assert!(
                self.known(item).content.is_in(&bytes),
                "{item:?} lost its content"
            );
        }
        Ok(())
    }

    #[track_caller]
    pub(crate) fn reads_zero(&mut self, item: Item) -> Done {
        let bytes = self.read(item)?;
        assert!(bytes.iter().all(|&byte| byte == 0), "not zeroed");
        Ok(())
    }

    #[track_caller]
    pub(crate) fn offer(&mut self, items: &[Item], offer: impl Into<Offer>) -> Done {
        done(self.face.offer(items, offer.into()))
    }

    /// Offers with *allow decommit*.
    #[track_caller]
    pub(crate) fn offer_decommit(&mut self, items: &[Item], class: Class) -> Done {
        self.offer(items, with_decommit(class))
    }

    #[track_caller]
    pub(crate) fn reclaim_as(
        &mut self,
        items: &[Item],
        form: Form,
    ) -> Result<Vec<Answer>, Skipped> {
        let mut answers = vec![Answer::Untouched; items.len()];
        done(self.face.reclaim(items, form, &mut answers))?;
        assert!(
            answers
                .iter()
                .all(|&answer| (answer != Answer::Untouched) == form.has_answers()),
            "{form:?}: {answers:?}"
        );
        Ok(answers)
    }

    #[track_caller]
    pub(crate) fn reclaim(&mut self, items: &[Item]) -> Result<Vec<Answer>, Skipped> {
        self.reclaim_as(items, Form::V1)
    }

    #[track_caller]
    pub(crate) fn reclaim_group(
        &mut self,
        group: GroupName,
        form: Form,
    ) -> Result<Answer, Skipped> {
        let mut answers = [Answer::Untouched];
        done(self.face.reclaim_groups(&[group], form, &mut answers))?;
        Ok(answers[0])
    }

    /// All of them come back with their content.
    #[track_caller]
    pub(crate) fn comes_back_intact(&mut self, items: &[Item]) -> Done {
        let answers = self.reclaim(items)?;
        assert_eq!(answers, vec![Answer::Intact; items.len()]);
        self.holds_its_content(items)
    }

    /// The call is refused for lack of memory, and has written no answer.
    #[track_caller]
    pub(crate) fn falls_short(&mut self, items: &[Item], form: Form) -> Done {
        let mut answers = vec![Answer::Untouched; items.len()];
        refused(
            self.face.reclaim(items, form, &mut answers),
            &Refusal::NoMemory,
        )?;
        assert!(
            answers.iter().all(|&answer| answer == Answer::Untouched),
            "a refused call wrote {answers:?}"
        );
        Ok(())
    }

    #[track_caller]
    pub(crate) fn resident(&mut self) -> Result<u64, Skipped> {
        done(self.face.resident_bytes())
    }

    #[track_caller]
    fn resident_each(&mut self) -> Result<BTreeMap<Item, u64>, Skipped> {
        let items: Vec<Item> = self.items.keys().copied().collect();
        items
            .into_iter()
            .map(|item| Ok((item, done(self.face.resident_bytes_of(item))?)))
            .collect()
    }

    /// Ends an allocation.
    #[track_caller]
    pub(crate) fn destroy(&mut self, item: Item) -> Done {
        done(self.face.destroy(item))?;
        self.items.remove(&item);
        Ok(())
    }

    /// Has `units` taken, and says whose memory went, in order of creation: the kernel must have got all of it, and not
    /// a page of anybody else's. The pool holds no unused memory when this is called.
    #[track_caller]
    pub(crate) fn lost_to(&mut self, units: u64) -> Result<Vec<Item>, Skipped> {
        let bytes = units.saturating_mul(UNIT);
        self.lost_by(|face| face.trim(bytes))
    }

    /// As [`World::lost_to`], by whatever call takes memory away.
    #[track_caller]
    pub(crate) fn lost_by(
        &mut self,
        take: impl FnOnce(&mut dyn Face) -> Result<(), Refusal>,
    ) -> Result<Vec<Item>, Skipped> {
        let before = self.resident()?;
        let each = self.resident_each()?;
        done(take(self.face.as_mut()))?;
        let lost = self.lost_since(&each)?;
        let lost_bytes = self.size_of(&lost);
        let fell = before.saturating_sub(self.resident()?);
        if fell < lost_bytes {
            // A victim larger than the need: the rest of it is unused memory, and goes before
            // anything else has to.
            done(self.face.trim(lost_bytes - fell))?;
            assert_eq!(self.lost_since(&each)?, lost, "more went than had to");
        }
        assert_eq!(
            before.saturating_sub(self.resident()?),
            lost_bytes,
            "what the kernel got back is not what {lost:?} had"
        );
        Ok(lost)
    }

    /// What had memory then and has none now; nothing may have lost a part.
    #[track_caller]
    fn lost_since(&mut self, before: &BTreeMap<Item, u64>) -> Result<Vec<Item>, Skipped> {
        let now = self.resident_each()?;
        let mut lost = Vec::new();
        for (&item, &bytes) in before {
            let left = now[&item];
            if left == 0 && bytes != 0 {
                lost.push(item);
            } else {
                assert_eq!(left, bytes, "{item:?} lost a part");
            }
        }
        lost.sort_unstable_by_key(|&item| self.known(item).number);
        Ok(lost)
    }

    /// Takes one unit after the other and checks whose memory goes each time.
    #[track_caller]
    pub(crate) fn lost_in_order(&mut self, order: &[Item]) -> Done {
        for (place, &item) in order.iter().enumerate() {
            assert_eq!(self.lost_to(1)?, [item], "victim {place} of {order:?}");
        }
        Ok(())
    }

    /// Lets ages differ: the clock of ages ticks when an allocation is created. Needs a unit of
    /// room, so that nothing has to go for it.
    #[track_caller]
    pub(crate) fn time_passes(&mut self) -> Done {
        let before = self.resident()?;
        let new = New {
            size_bytes: UNIT,
            allow_not_zeroed: true,
            group: None,
        };
        let item = done(self.face.create(&new))?;
        done(self.face.destroy(item))?;
        assert_eq!(self.resident()?, before, "the case left no room for this");
        Ok(())
    }

    /// Offers them one after the other, so that each is older than the next.
    #[track_caller]
    pub(crate) fn offer_in_turn(&mut self, items: &[Item], class: Class) -> Done {
        for &item in items {
            self.offer(&[item], class)?;
            self.time_passes()?;
        }
        Ok(())
    }

    #[track_caller]
    pub(crate) fn set_budget(&mut self, units: u64) -> Done {
        done(self.face.set_budget(units * UNIT))
    }

    /// There is no room for one unit more, whatever is offered.
    #[track_caller]
    pub(crate) fn is_full(&mut self) -> Done {
        let new = New {
            size_bytes: UNIT,
            allow_not_zeroed: false,
            group: None,
        };
        refused(self.face.create(&new), &Refusal::NoMemory)
    }
}

/// An offer that may end *not committed*.
pub(crate) fn with_decommit(class: Class) -> Offer {
    Offer {
        allow_decommit: true,
        ..Offer::from(class)
    }
}
