//! The D3DKMT functions of WDDM on vidmm's engine: a software adapter for C programs.
//!
//! Every function takes a pointer to one structure and answers with an NTSTATUS. What each of them
//! does, and what was decided where Windows' documentation is silent, is in `docs/d3dkmt/`, a page
//! per function. The numbers of rules and decisions in comments (2.7, 9.3) are those of these pages.
//!
//! **Owns:** the adapter, its devices and paging queues and their handles; the checks of what comes
//! from C; the translation of the engine's answers into statuses. **Must not know:** how memory is
//! held, discarded or found; that is `vidmm-pool`'s. There is no second implementation of anything
//! here.
//!
//! # Where things are
//!
//! | room | what is in it |
//! |---|---|
//! | `exports` | the functions as C calls them |
//! | `caller` | the memory of the caller: reading arguments and lists, writing answers |
//! | `face` | the one adapter of the process; errors as statuses |
//! | `objects` | handles of adapters, devices, paging queues, sync objects |
//! | `adapter`, `device`, `paging`, `fence` | finding and opening; devices; paging queues; their fences |
//! | `create`, `destroy`, `lock`, `priority` | allocations and resources |
//! | `share` | resources that several processes open |
//! | `offer`, `reclaim`, `lists` | what it is all for, and the lists that it works on |
//! | `shortcut` | the way past most of the above for one allocation |
//! | `memory`, `escape` | figures and the reservation; a tester's knobs |
//! | `notices` | the program's functions that are called when the budget changes, or it should trim |
//!
//! # Locks
//!
//! The face's gate (shared) is passed by every call that makes or ends something, and held to the
//! end of the call; `fork` and the end of a device close it. Then the lock of the registrations, and
//! the lock of free object numbers, which is a leaf. The program's functions are called outside all
//! of them. Offer, reclaim of intact memory, lock but the first and unlock take neither.

mod adapter;
mod caller;
mod create;
mod destroy;
mod device;
mod escape;
mod exports;
mod face;
mod fence;
mod lists;
mod lock;
mod memory;
mod notices;
mod objects;
mod offer;
mod paging;
mod priority;
mod reclaim;
mod share;
mod shortcut;

pub use exports::*;
