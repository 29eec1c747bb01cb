//! Making room: claims victims by rank, hands their memory to whoever needs it or back to the
//! kernel. All claims of a pool happen in here, under one lock.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use vidmm_arena::{Extent, Kernel, Returned, Shape};
use vidmm_machine::Reason;
use vidmm_table::{Detached, Handle, SlotIndex, SlotRef, State, Word};

use crate::demand::Demand;
use crate::error::Error;
use crate::gate::Inside;
use crate::joined::{Allowance, Lack};
use crate::pool::Pool;
use crate::room::signed;
use crate::stats::Counters;
use crate::victims::{Key, Seen, Victim, Victims};

/// What the lock of the reclaimer guards.
#[derive(Debug, Default)]
pub(crate) struct Reclaimer {
    victims: Victims,
}

impl Reclaimer {
    pub(crate) fn bytes(&self) -> u64 {
        self.victims.bytes()
    }
}

/// Memory is given back in steps of about this size, so that a caller who needs a little does not
/// wait behind one who gives back a lot.
const STEP_BYTES: u64 = 64 << 20;

/// After so many scans in a row that led to no claim, a list is used although lower offers came
/// meanwhile, and its victims are claimed although their ranks have changed.
const RESCANS_MAX: u32 = 4;

/// After so many, whatever is offered is taken back faster than it can be claimed.
const BARREN_MAX: u32 = 64;

impl<K: Kernel> Pool<K> {
    pub(crate) fn reclaimer(&self) -> MutexGuard<'_, Reclaimer> {
        self.reclaimer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of this shape, charged: warm, or fresh, or taken from victims as far as `allowance`
    /// goes.
    pub(crate) fn acquire(
        &self,
        inside: &Inside<'_>,
        shape: Shape,
        allowance: Allowance,
    ) -> Result<Extent, Lack> {
        match self.acquire_free(shape) {
            Ok(Some(extent)) => Ok(extent),
            Ok(None) | Err(_) => {
                self.acquire_by_claims(inside, &mut self.reclaimer(), shape, allowance)
            }
        }
    }

    /// Memory that nobody has to lose anything for.
    fn acquire_free(&self, shape: Shape) -> Result<Option<Extent>, Error> {
        // In debt, warm memory belongs to the debt.
        let left = self.room.left_bytes();
        if left >= 0
            && let Some(extent) = self.arena.take_warm(shape)
        {
            return Ok(Some(extent));
        }
        let charge = shape.charge_bytes();
        if !self.room.take(charge) {
            return Ok(None);
        }
        let step = u64::try_from(left).unwrap_or(0);
        let taken = self.arena.take_clean(shape, step).or_else(|_| {
            // Address space, or the kernel's commit limit: what is warm may be in the way.
            self.return_warm(u64::MAX);
            self.arena.take_clean(shape, charge)
        });
        match taken {
            Ok(extent) => Ok(Some(extent)),
            Err(_) => {
                self.room.give(charge);
                Err(Error::Kernel {
                    wanted_bytes: charge,
                })
            }
        }
    }

    /// As [`Pool::acquire`], by a caller that holds the reclaimer: each round either serves it or
    /// finds that what is free, warm and offered is not enough - before anything is claimed.
    pub(crate) fn acquire_by_claims(
        &self,
        inside: &Inside<'_>,
        reclaimer: &mut Reclaimer,
        shape: Shape,
        allowance: Allowance,
    ) -> Result<Extent, Lack> {
        let charge = shape.charge_bytes();
        let own_need = Demand::from(Reason::Budget);
        loop {
            match self.acquire_free(shape) {
                Ok(Some(extent)) => return Ok(extent),
                Ok(None) => {}
                // The budget has room, but address space or the kernel's promises have run out:
                // what is offered has them. Not all of it may lie where it helps.
                Err(error) => {
                    let claimed =
                        self.claim_bytes(inside, reclaimer, charge, &own_need, Short::Accept)?;
                    if claimed.bytes == 0 {
                        return Err(error.into());
                    }
                    continue;
                }
            }
            let deficit = self.deficit_bytes(charge);
            let warm = self.arena.stats().warm_bytes;
            if deficit > warm {
                let claims = deficit - warm;
                self.licensed(allowance, claims)?;
                self.claim_bytes(inside, reclaimer, claims, &own_need, Short::Refuse)
                    .map_err(|error| self.lack(claims, error))?;
                if self.room.left_bytes() >= 0
                    && let Some(extent) = self.arena.take_warm(shape)
                {
                    return Ok(extent);
                }
            }
            let returned = self.return_warm(deficit);
            if returned.returned_bytes == 0 && returned.refused_bytes > 0 {
                return Err(Lack::Never(Error::Kernel {
                    wanted_bytes: charge,
                }));
            }
        }
    }

    /// Whether so much may be taken of what is offered here.
    fn licensed(&self, allowance: Allowance, claims_bytes: u64) -> Result<(), Lack> {
        match self.may_take_own(allowance, claims_bytes) {
            true => Ok(()),
            false => Err(self.lack(claims_bytes, self.no_memory(claims_bytes))),
        }
    }

    /// What is missing, to whoever could get it elsewhere.
    fn lack(&self, bytes: u64, error: Error) -> Lack {
        match self.link.is_alone() {
            true => Lack::Never(error),
            false => Lack::Credit { bytes, error },
        }
    }

    /// Makes room for `bytes`, of whatever is warm and offered, without taking it.
    pub(crate) fn make_room(
        &self,
        inside: &Inside<'_>,
        reclaimer: &mut Reclaimer,
        bytes: u64,
        allowance: Allowance,
    ) -> Result<(), Lack> {
        let deficit = self.deficit_bytes(bytes);
        let warm = self.arena.stats().warm_bytes;
        if deficit > warm {
            let claims = deficit - warm;
            self.licensed(allowance, claims)?;
            let need = Demand::from(Reason::Budget);
            self.claim_bytes(inside, reclaimer, claims, &need, Short::Refuse)
                .map_err(|error| self.lack(claims, error))?;
        }
        let returned = self.return_warm(deficit);
        match returned.returned_bytes == 0 && returned.refused_bytes > 0 {
            true => Err(Lack::Never(Error::Kernel {
                wanted_bytes: bytes,
            })),
            false => Ok(()),
        }
    }

    /// Whether `charge_bytes` could be supplied in all, before anything is claimed for a part of it.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(crate) fn check_possible(
        &self,
        reclaimer: &mut Reclaimer,
        charge_bytes: u64,
        allowance: Allowance,
    ) -> Result<(), Lack> {
        if charge_bytes == 0 {
            // Nothing is needed, so a debt does not matter.
            return Ok(());
        }
        let deficit = self.deficit_bytes(charge_bytes);
        let claims = deficit.saturating_sub(self.arena.stats().warm_bytes);
        if claims == 0 {
            return Ok(());
        }
        self.licensed(allowance, claims)?;
        if self.scan(reclaimer, claims, None).offered_bytes < claims {
            reclaimer.victims.clear();
            return Err(self.lack(claims, self.no_memory(charge_bytes)));
        }
        Ok(())
    }

    /// How much more room `charge_bytes` needs than there is.
    fn deficit_bytes(&self, charge_bytes: u64) -> u64 {
        let deficit = signed(charge_bytes).saturating_sub(self.room.left_bytes());
        u64::try_from(deficit).unwrap_or(0)
    }

    pub(crate) fn no_memory(&self, wanted_bytes: u64) -> Error {
        Error::NoMemory {
            wanted_bytes,
            budget_bytes: self.budget_bytes(),
        }
    }

    /// Gives warm pages back to the kernel and the room they took back to the pool.
    pub(crate) fn return_warm(&self, bytes: u64) -> Returned {
        let returned = self.arena.return_warm(bytes);
        self.room.give(returned.returned_bytes);
        returned
    }

    /// In debt, warm memory belongs to the debt. Says how much was given back for it.
    fn pay_debt_with_warm(&self) -> u64 {
        match self.deficit_bytes(0) {
            0 => 0,
            debt => self.return_warm(debt).returned_bytes,
        }
    }

    /// Memory that has lost its owner: back to where it can be used again.
    pub(crate) fn release(&self, detached: Detached) {
        let extent = Extent::from_word(detached.extent.0);
        if extent.is_foreign() {
            return;
        }
        self.forget_protection(extent);
        if detached.fresh && !extent.is_warm() {
            // Nobody has touched it since the kernel supplied it.
            let charge = self.arena.charge_bytes(extent);
            self.arena.put_clean(extent);
            self.room.give(charge);
        } else {
            self.arena.put_warm(extent);
            self.pay_debt_with_warm();
        }
    }

    /// Claims victims until `wanted_bytes` of charge are free or warm, or nothing is left.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if `short` refuses and all that is offered would not do; then nothing
    /// was claimed - unless an owner took something back during the call.
    fn claim_bytes(
        &self,
        _inside: &Inside<'_>,
        reclaimer: &mut Reclaimer,
        wanted_bytes: u64,
        demand: &Demand,
        short: Short,
    ) -> Result<Claimed, Error> {
        let mut claimed = Claimed::default();
        // Scans since something was claimed.
        let mut barren = 0;
        let by_rank = demand.ranks_as_of_ticks().is_some();
        if by_rank {
            // A list made earlier, or by others in between, has other ranks.
            reclaimer.victims.clear();
        }
        if short == Short::Refuse && !self.still_covers(&reclaimer.victims, wanted_bytes) {
            // What is left of a list would be lost for nothing if that is all there is.
            reclaimer.victims.clear();
        }
        while claimed.bytes < wanted_bytes {
            // What is offered after this call began need not go first, and whose rank changed since
            // may go: a stream of offers, or a policy of moods, must not keep it from ending.
            let strict = barren < RESCANS_MAX;
            if let Some((key, victim)) = self.next_victim(reclaimer, strict) {
                if !demand.allows(key) {
                    // All that follows ranks higher, or is of a higher class, which does not go
                    // before this.
                    break;
                }
                reclaimer.victims.advance();
                let won = self.claim(&reclaimer.victims, key, victim, demand, strict);
                if won.bytes > 0 {
                    barren = 0;
                }
                claimed.add(won);
                continue;
            }
            let wanted = wanted_bytes - claimed.bytes;
            let seen = self.scan(reclaimer, wanted, demand.ranks_as_of_ticks());
            barren += 1;
            let hopeless = seen.offered_bytes < wanted || barren > BARREN_MAX;
            if short == Short::Refuse && hopeless {
                reclaimer.victims.clear();
                self.pay_debt_with_warm();
                return Err(self.no_memory(wanted_bytes));
            }
            if seen.victims == 0 || barren > BARREN_MAX {
                break;
            }
        }
        if barren >= RESCANS_MAX || reclaimer.victims.has_groups() || by_rank {
            reclaimer.victims.clear();
        }
        Ok(claimed)
    }

    /// The next of the list, unless an offer in a lower class has made the list stale.
    fn next_victim(&self, reclaimer: &mut Reclaimer, strict: bool) -> Option<(Key, Victim)> {
        if self.discards_forbidden.load(Ordering::Relaxed) {
            reclaimer.victims.clear();
            return None;
        }
        let (key, victim) = reclaimer.victims.peek()?;
        if !strict || self.signals.still_lowest(key.class()) {
            return Some((key, victim));
        }
        reclaimer.victims.clear();
        None
    }

    /// Makes a list of at least `wanted_bytes`, and of at least a tenth of the credit, by the ranks
    /// of now or of an earlier time.
    fn scan(&self, reclaimer: &mut Reclaimer, wanted_bytes: u64, as_of: Option<u32>) -> Seen {
        if self.discards_forbidden.load(Ordering::Relaxed) {
            reclaimer.victims.clear();
            return Seen::default();
        }
        self.signals.watch_for();
        let list_bytes = wanted_bytes.max(self.room.credit_bytes() / 10);
        let (now_ticks, ranks) = match as_of {
            Some(as_of) => (as_of, self.told_ranks(as_of)),
            None => {
                // A tick of its own: what is offered from now on, or offered anew, is younger than
                // all that this list ranks, and so cannot be taken for what it ranked.
                let now_ticks = self.signals.tick();
                (now_ticks, self.ranks(now_ticks))
            }
        };
        let seen = reclaimer.victims.scan(
            &self.table,
            &ranks,
            now_ticks,
            list_bytes,
            |extent| self.arena.charge_bytes(extent),
            &self.look_at_shared(),
        );
        Counters::add(&self.counters.scans, 1);
        match reclaimer.victims.peek() {
            Some((key, _)) => self.signals.narrow_to(key.class()),
            None => self.signals.forget(),
        }
        seen
    }

    /// Claims one victim if it is still what the list says; if not `strict`, if its class is.
    fn claim(
        &self,
        victims: &Victims,
        key: Key,
        victim: Victim,
        demand: &Demand,
        strict: bool,
    ) -> Claimed {
        let is_due = |now: Key| now == key || !strict && now.class() <= key.class();
        match victim {
            Victim::Single(index) => self
                .single_if_due(victims, index, is_due)
                .and_then(|(slot, word)| Some((slot.handle(index)?, slot.claim(word)?)))
                .map_or_else(Claimed::default, |(allocation, detached)| {
                    self.discard(allocation, detached, key, demand)
                }),
            Victim::Group(group) => self.claim_group(victims, key, group, demand, is_due),
            Victim::Shared(number) => {
                let bytes = self.claim_shared(victims, number, demand, is_due);
                Claimed {
                    bytes,
                    room_bytes: bytes,
                }
            }
        }
    }

    /// A victim that is no group, if it can be claimed and its key is due.
    fn single_if_due(
        &self,
        victims: &Victims,
        index: SlotIndex,
        is_due: impl Fn(Key) -> bool,
    ) -> Option<(SlotRef<'_>, Word)> {
        let slot = self.table.at(index)?;
        let word = slot.slot().word();
        let bytes = self.charge_of(&slot);
        let due = word.state() == State::Offered
            && slot.slot().resource() == 0
            && !Extent::from_word(slot.slot().extent().0).is_foreign()
            && is_due(victims.key_now(word, slot.slot(), bytes));
        due.then_some((slot, word))
    }

    /// Whether what is left of a list made earlier is enough, by what its victims are now: owners may
    /// have taken some of them back since. (Groups do not stay in a list.)
    fn still_covers(&self, victims: &Victims, wanted_bytes: u64) -> bool {
        let mut sum_bytes: u64 = 0;
        victims.left().any(|(key, victim, bytes)| {
            let is_there = match victim {
                Victim::Single(index) => self
                    .single_if_due(victims, index, |now| now == key)
                    .is_some(),
                Victim::Group(_) | Victim::Shared(_) => true,
            };
            sum_bytes += if is_there { bytes } else { 0 };
            sum_bytes >= wanted_bytes
        })
    }

    fn charge_of(&self, slot: &SlotRef<'_>) -> u64 {
        self.arena
            .charge_bytes(Extent::from_word(slot.slot().extent().0))
    }

    /// Claims the offered members of a group in order of creation; stops at the first that a
    /// reclaim was quicker for.
    fn claim_group(
        &self,
        victims: &Victims,
        key: Key,
        group: u32,
        demand: &Demand,
        is_due: impl Fn(Key) -> bool,
    ) -> Claimed {
        // Held to the end: nobody joins or leaves meanwhile.
        let resources = self.table.resources();
        let mut members = Vec::new();
        if let Some(group) = resources.at(group) {
            let _ = resources.each_member(group, |member| members.push(member));
        }
        let offered = || {
            members.iter().filter_map(|&member| {
                let (slot, word) = self.look_at_offered(member)?;
                Some((member, slot, word))
            })
        };
        let key_now = offered()
            .map(|(_, slot, word)| victims.key_now(word, slot.slot(), self.charge_of(&slot)))
            .max();
        let mut claimed = Claimed::default();
        if !key_now.is_some_and(is_due) {
            return claimed;
        }
        for (member, slot, word) in offered() {
            match slot.claim(word) {
                Some(detached) => claimed.add(self.discard(member, detached, key, demand)),
                None => break,
            }
        }
        claimed
    }

    /// An allocation that could be claimed now: offered, on memory of ours.
    fn look_at_offered(&self, handle: Handle) -> Option<(SlotRef<'_>, Word)> {
        let slot = self.table.get(handle).ok()?;
        let word = slot.load().ok()?;
        let ours = !Extent::from_word(slot.slot().extent().0).is_foreign();
        (word.state() == State::Offered && ours).then_some((slot, word))
    }

    /// Takes over the memory of a victim that was just claimed.
    fn discard(
        &self,
        allocation: Handle,
        detached: Detached,
        key: Key,
        demand: &Demand,
    ) -> Claimed {
        let extent = Extent::from_word(detached.extent.0);
        let bytes = self.arena.charge_bytes(extent);
        self.counters.discarded(key.class(), demand.reason, bytes);
        self.memory.note(allocation, bytes, key, demand);
        self.record_discard(allocation, key.class(), bytes);
        self.forget_protection(extent);
        if detached.fresh && !extent.is_warm() {
            self.arena.put_clean(extent);
            self.room.give(bytes);
            Claimed {
                bytes,
                room_bytes: bytes,
            }
        } else {
            self.arena.put_warm(extent);
            Claimed {
                bytes,
                room_bytes: 0,
            }
        }
    }

    /// Gives `bytes` back to the kernel - warm memory first, then victims - or as much as there
    /// is, and says how much it was.
    pub(crate) fn give_back(&self, inside: &Inside<'_>, bytes: u64, demand: &Demand) -> u64 {
        let mut given = 0;
        while given < bytes {
            let step = (bytes - given).min(STEP_BYTES);
            match self.give_back_step(inside, &mut self.reclaimer(), step, demand) {
                0 => break,
                freed => given += freed,
            }
        }
        // A victim that had nothing behind it may have served the need, beside one whose memory
        // is warm now.
        given + self.pay_debt_with_warm()
    }

    fn give_back_step(
        &self,
        inside: &Inside<'_>,
        reclaimer: &mut Reclaimer,
        step_bytes: u64,
        demand: &Demand,
    ) -> u64 {
        let warm = self.arena.stats().warm_bytes;
        let mut freed = 0;
        if step_bytes > warm {
            let claim = step_bytes - warm;
            // Accepting what there is, it cannot be refused.
            freed = self
                .claim_bytes(inside, reclaimer, claim, demand, Short::Accept)
                .map_or(0, |claimed| claimed.room_bytes);
        }
        freed
            + self
                .return_warm(step_bytes.saturating_sub(freed))
                .returned_bytes
    }

    /// For tests of programs: discards those of `handles` that are offered, whatever their class,
    /// and gives their memory back to the kernel. Says how many bytes of charge that was; none
    /// while discards are forbidden ([`Pool::forbid_discards`]).
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn evict(&self, handles: impl IntoIterator<Item = Handle>) -> Result<u64, Error> {
        let _inside = self.enter()?;
        let reclaimer = self.reclaimer();
        if self.discards_forbidden.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let mut claimed = Claimed::default();
        for handle in handles {
            let Some((slot, word)) = self.look_at_offered(handle) else {
                let bytes = self.evict_shared(handle);
                claimed.add(Claimed {
                    bytes,
                    room_bytes: bytes,
                });
                continue;
            };
            let class = word.mode().class.effective(slot.slot().priority());
            if let Some(detached) = slot.claim(word) {
                // Whatever its rank.
                let key = Key::new(class, u32::MAX);
                claimed.add(self.discard(handle, detached, key, &Reason::Trim.into()));
            }
        }
        drop(reclaimer);
        self.return_warm(claimed.bytes - claimed.room_bytes);
        Ok(claimed.bytes)
    }

    /// Shrinks a debt by all that can go.
    pub(crate) fn settle_debt(&self, inside: &Inside<'_>, demand: &Demand) {
        loop {
            let mut reclaimer = self.reclaimer();
            // Looked at under the lock: others may be paying the same debt - the agent, for one -
            // and what they have claimed must not be claimed again.
            let step = self.deficit_bytes(0).min(STEP_BYTES);
            if step == 0 || self.give_back_step(inside, &mut reclaimer, step, demand) == 0 {
                break;
            }
        }
        self.pay_debt_with_warm();
    }
}

/// What a round of claims came to.
#[derive(Debug, Clone, Copy, Default)]
struct Claimed {
    /// Bytes of charge taken from victims.
    bytes: u64,
    /// Of these, what had nothing behind it and is room already; the rest is warm.
    room_bytes: u64,
}

impl Claimed {
    fn add(&mut self, more: Claimed) {
        self.bytes += more.bytes;
        self.room_bytes += more.room_bytes;
    }
}

/// What to do when all that is offered is less than what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Short {
    /// Claim nothing.
    Refuse,
    /// Claim it all.
    Accept,
}
