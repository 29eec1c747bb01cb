//! ReclaimAllocations and ReclaimAllocations2.

use vidmm_abi::{
    BOOL, D3DDDI_RECLAIM_RESULT_DISCARDED, D3DDDI_RECLAIM_RESULT_NOT_COMMITTED,
    D3DDDI_RECLAIM_RESULT_OK, D3DKMT_HANDLE,
};
use vidmm_pool::{Answers, HandleList, Outcome};

use crate::caller::{Answer, Array, Handles};
use crate::face::{Face, list_refusal};
use crate::lists::{Members, with_members};

/// Where the answers go, and in which words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Results {
    /// Nowhere: the content is not needed (2.4).
    None,
    /// Discarded or not: there is no word for *not committed* in version 1.
    Discarded(Array<BOOL>),
    /// Version 2.
    Full(Array<BOOL>),
}

impl Results {
    fn answers(self) -> Answers {
        match self {
            Results::None => Answers::Unwanted,
            Results::Discarded(_) => Answers::Discarded,
            Results::Full(_) => Answers::NotCommitted,
        }
    }

    /// The answer of each is that it is intact.
    fn write_all_intact(self) {
        match self {
            Results::None => {}
            Results::Discarded(results) | Results::Full(results) => results.clear(),
        }
    }

    fn write(self, index: usize, outcome: Outcome) {
        match self {
            Results::None => {}
            Results::Discarded(results) => results.set(index, discarded(outcome)),
            Results::Full(results) => results.set(index, full(outcome)),
        }
    }
}

/// An answer in the words of version 1.
#[inline]
fn discarded(outcome: Outcome) -> BOOL {
    BOOL::from(outcome != Outcome::Intact)
}

/// An answer in the words of version 2.
#[inline]
fn full(outcome: Outcome) -> BOOL {
    match outcome {
        Outcome::Intact => D3DDDI_RECLAIM_RESULT_OK.0,
        Outcome::Discarded => D3DDDI_RECLAIM_RESULT_DISCARDED.0,
        Outcome::NotCommitted => D3DDDI_RECLAIM_RESULT_NOT_COMMITTED.0,
    }
}

/// Reclaims allocations, and says whether any had lost its content, so that memory was supplied.
pub(crate) fn allocations(
    face: &Face,
    device: D3DKMT_HANDLE,
    handles: Array<D3DKMT_HANDLE>,
    results: Results,
) -> Answer<bool> {
    let list = Handles::of(device, handles)?;
    let answer = |index, outcome| results.write(index, outcome);
    let lost = face
        .pool
        .reclaim_list(&list, results.answers(), answer)
        .map_err(list_refusal)?;
    if !lost {
        results.write_all_intact();
    }
    Ok(lost)
}

/// Reclaims resources; the answer of each is the worst of its members (9.11).
pub(crate) fn resources(
    face: &Face,
    device: D3DKMT_HANDLE,
    resources: Array<D3DKMT_HANDLE>,
    results: Results,
) -> Answer<bool> {
    let mut lost = false;
    with_members(face, device, resources, |members: Members<'_>| {
        let mut worst = Worst {
            ends: members.ends,
            resource: 0,
            outcome: Outcome::Intact,
            results,
        };
        if members.count() > 0 {
            let answer = |index, outcome| worst.take(index, outcome);
            lost = face
                .pool
                .reclaim_list(&members, results.answers(), answer)
                .map_err(list_refusal)?;
        }
        worst.finish();
        Ok(())
    })?;
    Ok(lost)
}

/// Turns the answers of members, which come in order, into those of their resources.
struct Worst<'m> {
    ends: &'m [u32],
    /// The resource whose members are being answered for.
    resource: usize,
    /// The worst of its members so far.
    outcome: Outcome,
    results: Results,
}

impl Worst<'_> {
    fn take(&mut self, member: usize, outcome: Outcome) {
        // The resource of this member, past others that it does not belong to and that may have none.
        while self
            .ends
            .get(self.resource)
            .is_some_and(|&end| member >= end as usize)
        {
            self.next();
        }
        self.outcome = self.outcome.max(outcome);
    }

    fn next(&mut self) {
        self.results.write(self.resource, self.outcome);
        self.resource += 1;
        self.outcome = Outcome::Intact;
    }

    fn finish(&mut self) {
        while self.resource < self.ends.len() {
            self.next();
        }
    }
}

/// The fence value that the caller of version 2 may wait for: reached already (9.19). Memory that
/// was supplied is paging work of the queue, done by now.
#[inline]
pub(crate) fn fence_value(face: &Face, queue: D3DKMT_HANDLE, supplied: bool, before: u64) -> u64 {
    match supplied {
        true => advanced(face, queue).unwrap_or(before),
        false => before,
    }
}

#[cold]
fn advanced(face: &Face, queue: D3DKMT_HANDLE) -> Option<u64> {
    let _pass = face.gate.enter();
    face.objects.advance(queue)
}
