//! One shared resource as this process has it open: what it has offered of it, has locked, has
//! been told, and pays for.

use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vidmm_shared::{Map, Opening};
use vidmm_table::{Class, Handle, OfferMode, State};

use crate::error::Error;
use crate::pool::Outcome;

/// As for an allocation of the pool's own.
const LOCKS_MAX: u32 = u16::MAX as u32;

/// An opening with its allocations. Its lock comes after the reclaimer's and the resources'.
#[derive(Debug)]
pub(crate) struct Entry(Mutex<Local>);

#[derive(Debug)]
pub(crate) struct Local {
    /// `None` once it is closed: here, or by the `fork` that made this process.
    opening: Option<Opening>,
    /// The content, of the generation beside it. Never replaced while anything is locked, whatever
    /// the header says.
    map: Option<(u32, Map)>,
    members: Vec<Member>,
    /// The generation that this opener knows of; another one's content is news.
    seen: u32,
    /// The size is charged to the budget.
    charged: bool,
    /// The content is held, so that nobody discards it.
    held: bool,
    /// Reclaims under way.
    pending: u32,
}

/// One allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// The handle; `None` before it has one and after its end.
    pub(crate) handle: Option<Handle>,
    /// The size asked for, in bytes.
    pub(crate) size_bytes: u64,
    /// How it is offered, and the class that counted then; `None` while it is not.
    offered: Option<(OfferMode, Class)>,
    locks: u32,
    /// The content was discarded, and nobody has been told of this allocation.
    lost: bool,
}

impl Member {
    pub(crate) fn new(size_bytes: u64, lost: bool) -> Self {
        Member {
            handle: None,
            size_bytes,
            offered: None,
            locks: 0,
            lost,
        }
    }
}

/// What could be discarded now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The class of the resource: the highest of all openers'.
    pub(crate) class: Class,
    /// What it would free here, in bytes of charge.
    pub(crate) bytes: u64,
    /// Another opener has discarded it already, and this one still pays.
    pub(crate) is_stale: bool,
}

impl Entry {
    /// An opening whose holder has just joined and knows generation `seen`; its size is charged.
    pub(crate) fn new(opening: Opening, seen: u32, map: Map, members: Vec<Member>) -> Self {
        Entry(Mutex::new(Local {
            opening: Some(opening),
            map: Some((seen, map)),
            members,
            seen,
            charged: true,
            held: true,
            pending: 0,
        }))
    }

    pub(crate) fn local(&self) -> MutexGuard<'_, Local> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local {
    /// The opening, unless it was left behind.
    pub(crate) fn opening(&self) -> Result<&Opening, Error> {
        self.opening.as_ref().ok_or(Error::NotInChild)
    }

    pub(crate) fn name(&mut self, member: usize, handle: Handle) {
        if let Some(member) = self.members.get_mut(member) {
            member.handle = Some(handle);
        }
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The handles that still live.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.members.iter().filter_map(|member| member.handle)
    }

    fn member(&mut self, member: usize, handle: Handle) -> Result<&mut Member, Error> {
        self.members
            .get_mut(member)
            .filter(|found| found.handle == Some(handle))
            .ok_or(Error::BadHandle)
    }

    /// Whether all that lives is offered, and nobody is about to change that.
    fn is_offered(&self) -> bool {
        let offered = |member: &Member| member.handle.is_none() || member.offered.is_some();
        self.pending == 0 && self.members.iter().all(offered)
    }

    /// Whether this opener has offered all of it and still pays for it.
    pub(crate) fn is_offered_and_charged(&self) -> bool {
        self.charged && self.is_offered()
    }

    /// The class in which an allocation is offered.
    pub(crate) fn offered_class(&self, member: usize) -> Option<Class> {
        let (_, class) = self.members.get(member)?.offered?;
        Some(class)
    }

    /// The class of what this opener offers: the highest of its allocations'.
    fn class(&self) -> Class {
        let classes = self.members.iter().filter(|m| m.handle.is_some());
        classes
            .filter_map(|member| member.offered.map(|(_, class)| class))
            .max()
            .unwrap_or(Class::Low)
    }

    /// Tells the other openers what this one offers.
    fn publish(&mut self) {
        let class = self.class();
        let offered = self.is_offered();
        let Some(opening) = &self.opening else { return };
        opening.set_class(class as u8);
        if offered && self.held {
            self.held = false;
            opening.release();
        }
    }

    /// Whether an offer of this allocation would be refused.
    pub(crate) fn check_offer(&mut self, member: usize, handle: Handle) -> Result<(), Error> {
        self.opening()?;
        match self.member(member, handle)?.locks {
            0 => Ok(()),
            _ => Err(Error::Locked),
        }
    }

    pub(crate) fn offer(
        &mut self,
        member: usize,
        handle: Handle,
        mode: OfferMode,
        class: Class,
    ) -> Result<(), Error> {
        self.check_offer(member, handle)?;
        self.member(member, handle)?.offered = Some((mode, class));
        self.publish();
        Ok(())
    }

    /// The allocation priority has changed, and with it the class of what is offered AUTO.
    pub(crate) fn set_class(&mut self, member: usize, handle: Handle, priority: u32) {
        if let Ok(Member {
            offered: Some((mode, class)),
            ..
        }) = self.member(member, handle)
        {
            *class = mode.class.effective(priority);
            self.publish();
        }
    }

    /// The first half of a reclaim: from here on nobody discards the content, and it is mapped as it
    /// is now. Says how much room the second half needs, in bytes. One of [`Local::finish`] and
    /// [`Local::cancel`] must follow.
    pub(crate) fn begin(&mut self, member: usize, handle: Handle) -> Result<u64, Error> {
        self.member(member, handle)?;
        let opening = self.opening.as_ref().ok_or(Error::NotInChild)?;
        let look = match self.held {
            true => opening.look(),
            false => opening.hold(),
        };
        self.held = true;
        self.pending += 1;
        match self.map_now(look.generation()) {
            Ok(()) if self.charged => Ok(0),
            Ok(()) => Ok(self.charge_bytes()),
            Err(error) => {
                self.cancel();
                Err(error)
            }
        }
    }

    fn map_now(&mut self, generation: u32) -> Result<(), Error> {
        if self.map.as_ref().is_some_and(|(of, _)| *of == generation) {
            return Ok(());
        }
        if self.members.iter().any(|member| member.locks > 0) {
            // Nobody who keeps the rules discards what is locked.
            return Err(vidmm_shared::Error::Damaged.into());
        }
        let map = self.opening()?.map(generation)?;
        self.map = Some((generation, map));
        Ok(())
    }

    /// Takes back [`Local::begin`].
    pub(crate) fn cancel(&mut self) {
        self.pending = self.pending.saturating_sub(1);
        self.publish();
    }

    /// The second half of a reclaim, with the room that the first half asked for. Says what became
    /// of the content, and how much of the room is not needed after all.
    pub(crate) fn finish(
        &mut self,
        member: usize,
        handle: Handle,
        room_bytes: u64,
    ) -> (Outcome, u64) {
        self.pending = self.pending.saturating_sub(1);
        if self.opening.is_none() {
            // Destroyed meanwhile: as if it had been discarded before, too.
            return (Outcome::Discarded, room_bytes);
        }
        let spare_bytes = match self.charged {
            true => room_bytes,
            false => 0,
        };
        self.charged = true;
        self.learn();
        let told = self.member(member, handle).map(|member| {
            member.offered = None;
            std::mem::take(&mut member.lost)
        });
        if told == Ok(true)
            && let Some(opening) = &self.opening
        {
            opening.tell();
        }
        self.publish();
        let outcome = match told {
            Ok(false) => Outcome::Intact,
            _ => Outcome::Discarded,
        };
        (outcome, spare_bytes)
    }

    /// Takes note of the generation that is mapped.
    fn learn(&mut self) {
        let (Some((generation, _)), Some(opening)) = (&self.map, &self.opening) else {
            return;
        };
        if *generation == self.seen {
            return;
        }
        // Whoever discarded it may have died before it did this.
        let _ = opening.return_pages(self.seen);
        self.seen = *generation;
        for member in &mut self.members {
            member.lost = true;
        }
    }

    /// Locks an allocation; says where it is.
    pub(crate) fn lock(&mut self, member: usize, handle: Handle) -> Result<NonNull<u8>, Error> {
        let offset = self.opening()?.offset_of(member).ok_or(Error::BadHandle)?;
        let start = match &self.map {
            Some((_, map)) => map.start(),
            None => return Err(Error::Offered),
        };
        let member = self.member(member, handle)?;
        if member.offered.is_some() {
            return Err(Error::Offered);
        }
        if member.locks >= LOCKS_MAX {
            return Err(Error::TooManyLocks);
        }
        member.locks += 1;
        // Within the mapping: the layout of the one is that of the other.
        Ok(start.map_addr(|start| start.saturating_add(offset)))
    }

    pub(crate) fn unlock(&mut self, member: usize, handle: Handle) -> Result<(), Error> {
        let member = self.member(member, handle)?;
        member.locks = member.locks.checked_sub(1).ok_or(Error::NotLocked)?;
        Ok(())
    }

    pub(crate) fn locks(&mut self, member: usize, handle: Handle) -> Result<u32, Error> {
        Ok(self.member(member, handle)?.locks)
    }

    pub(crate) fn state(&mut self, member: usize, handle: Handle) -> Result<State, Error> {
        let is_charged = self.charged;
        Ok(match self.member(member, handle)?.offered {
            None => State::Committed,
            Some(_) if is_charged => State::Offered,
            Some(_) => State::Discarded,
        })
    }

    /// What the kernel has behind an allocation, whichever opener wrote it, in bytes.
    pub(crate) fn backed_bytes(&self, member: usize) -> std::io::Result<u64> {
        let (Some((generation, _)), Some(opening)) = (&self.map, &self.opening) else {
            return Ok(0);
        };
        match (self.members.get(member), opening.offset_of(member)) {
            (Some(found), Some(offset)) => {
                opening.backed_bytes(*generation, offset as u64, found.size_bytes)
            }
            _ => Ok(0),
        }
    }

    /// Ends an allocation, locked or not; with the last one the resource is closed. Says how much
    /// room that gives back, in bytes, and whether it was the last.
    pub(crate) fn end(&mut self, member: usize, handle: Handle) -> Result<(u64, bool), Error> {
        let ended = self.member(member, handle)?;
        ended.handle = None;
        ended.offered = None;
        ended.locks = 0;
        if self.members.iter().any(|member| member.handle.is_some()) {
            self.publish();
            return Ok((0, false));
        }
        Ok((self.close(), true))
    }

    /// Closes the file; says how much room that gives back, in bytes. Also in a child made by
    /// `fork`, where it gives up the child's copy and leaves the parent's alone.
    pub(crate) fn close(&mut self) -> u64 {
        let bytes = match self.charged {
            true => self.charge_bytes(),
            false => 0,
        };
        self.charged = false;
        self.map = None;
        self.opening = None;
        bytes
    }

    fn charge_bytes(&self) -> u64 {
        self.opening.as_ref().map_or(0, Opening::charge_bytes)
    }

    /// What is charged for it now, in bytes.
    pub(crate) fn charged_bytes(&self) -> u64 {
        match self.charged {
            true => self.charge_bytes(),
            false => 0,
        }
    }

    /// Whether it could be discarded now, as far as this opener and all others are concerned.
    pub(crate) fn candidate(&mut self) -> Option<Candidate> {
        if !self.charged || self.held || !self.is_offered() {
            return None;
        }
        let bytes = self.charge_bytes();
        let own = self.class();
        let seen = self.seen;
        let opening = self.opening.as_mut()?;
        if opening.look().generation() != seen {
            return Some(Candidate {
                class: Class::Low,
                bytes,
                is_stale: true,
            });
        }
        if !opening.has(seen.checked_add(1)?) || !opening.is_free() {
            return None;
        }
        let class = match opening.class(own as u8, Class::High as u8) {
            0 => Class::Low,
            1 => Class::Normal,
            _ => Class::High,
        };
        Some(Candidate {
            class,
            bytes,
            is_stale: false,
        })
    }

    /// Discards what [`Local::candidate`] found, or takes note that others have. Says how much
    /// room that gives back, in bytes; `None` if another opener was quicker.
    pub(crate) fn discard(&mut self, found: Candidate) -> Option<u64> {
        let opening = self.opening.as_mut()?;
        if !found.is_stale && !opening.discard(self.seen) {
            return None;
        }
        // It is offered, so nothing is locked.
        self.map = None;
        self.charged = false;
        // Pages that the kernel will not take stay charged, for good: nobody accounts for them.
        let returned = opening.return_pages(self.seen);
        Some(if returned { found.bytes } else { 0 })
    }
}
