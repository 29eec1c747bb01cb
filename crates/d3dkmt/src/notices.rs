//! Functions of the program's that are called when the budget has changed, or when the process
//! should trim: who has registered which.
//!
//! The engine calls them, on its agent's thread and inside no gate. So nothing here waits for one
//! of them while it is inside.

use std::sync::Mutex;

use vidmm_abi::{D3DKMT_HANDLE, STATUS_NO_MEMORY, VOID};
use vidmm_pool::{AgentMode, Notice, SubscriptionId};

use crate::caller::{Answer, INVALID};
use crate::face::{Face, locked};
use crate::objects;

/// So many registrations can live at once.
pub(crate) const REGISTRATIONS_MAX: usize = 4096;

/// The upper bits of every handle of a registration: no address has them, and no other handle so
/// many. The others are a number that is not used again.
const TAG: u64 = 0x5644 << NUMBER_BITS;
const NUMBER_BITS: u32 = 48;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Budget,
    Trim,
}

/// What is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) kind: Kind,
    /// Its end ends the registration.
    pub(crate) device: D3DKMT_HANDLE,
    /// Where the program's function is.
    pub(crate) callback_address: usize,
}

#[derive(Debug)]
struct Registration {
    handle: u64,
    what: Registered,
    subscription: SubscriptionId,
}

/// The registrations of the face. Whatever makes or ends one is inside the face's gate, so a child
/// made by `fork` has those that its parent had.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// How many were ever made.
    made: u64,
    /// In the order of their handles.
    registrations: Vec<Registration>,
}

impl Books {
    fn add(&mut self, what: Registered, subscription: SubscriptionId) -> u64 {
        self.made += 1;
        let handle = TAG | self.made;
        self.registrations.push(Registration {
            handle,
            what,
            subscription,
        });
        handle
    }

    fn place_of(&self, handle: u64) -> Answer<usize> {
        let found = self
            .registrations
            .binary_search_by_key(&handle, |r| r.handle);
        found.map_err(|_| INVALID)
    }
}

/// Has `tell` called with every notice from now on, perhaps before this returns. The answer is the
/// handle.
pub(crate) fn register(
    face: &Face,
    what: Registered,
    tell: impl Fn(Notice) + Send + Sync + 'static,
) -> Answer<*mut VOID> {
    if face.pool.agent_mode() == AgentMode::Host {
        // Nobody would ever call.
        return Err(INVALID);
    }
    let _pass = face.gate.enter();
    face.objects.require(objects::Kind::Device, what.device)?;
    let mut books = locked(&face.notices.books);
    let is_full = books.registrations.len() >= REGISTRATIONS_MAX || books.made >> NUMBER_BITS != 0;
    if is_full || books.registrations.try_reserve(1).is_err() {
        return Err(STATUS_NO_MEMORY);
    }
    let subscription = face.pool.subscribe(tell).map_err(|_| STATUS_NO_MEMORY)?;
    let handle = books.add(what, subscription);
    Ok(std::ptr::without_provenance_mut(
        usize::try_from(handle).map_err(|_| INVALID)?,
    ))
}

/// Ends a registration of this kind, if it is one of this function (0: of any). Its function does
/// not run when this returns, unless it is the one that calls.
pub(crate) fn unregister(
    face: &Face,
    kind: Kind,
    handle: *mut VOID,
    callback_address: usize,
) -> Answer {
    let subscription = {
        let _pass = face.gate.enter();
        let mut books = locked(&face.notices.books);
        let place = books.place_of(handle.addr() as u64)?;
        let what = books.registrations[place].what;
        let is_meant = callback_address == 0 || callback_address == what.callback_address;
        if what.kind != kind || !is_meant {
            return Err(INVALID);
        }
        let subscription = books.registrations.remove(place).subscription;
        face.pool.end_subscription(subscription);
        subscription
    };
    face.pool.wait_for_callback(subscription);
    Ok(())
}

/// Ends the registrations of a device that is gone. Inside the gate; [`wait_for`] is for what
/// comes back, outside.
pub(crate) fn end_all_of(face: &Face, device: D3DKMT_HANDLE) -> Vec<SubscriptionId> {
    let mut ended = Vec::new();
    locked(&face.notices.books)
        .registrations
        .retain(|registration| {
            let stays = registration.what.device != device;
            if !stays {
                face.pool.end_subscription(registration.subscription);
                ended.push(registration.subscription);
            }
            stays
        });
    ended
}

/// Waits until none of their functions runs any more, but for the one that calls.
pub(crate) fn wait_for(face: &Face, ended: Vec<SubscriptionId>) {
    for subscription in ended {
        face.pool.wait_for_callback(subscription);
    }
}
