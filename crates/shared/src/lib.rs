//! Memory that several processes offer together: a file of memory each, with its state in its own
//! header, so that whoever has it open can discard it and nobody has to be asked.
//!
//! An [`Opening`] is one process's share of such a file. It *holds* the content or, while the
//! process has offered it, does not. Content that nobody holds may be discarded by any of them.
//!
//! **Owns:** the layout of the file, the state word and its transitions ([`word`]), who is alive
//! among the openers, the mappings. **Must not know:** budgets, pools, handles, which classes there
//! are, when anything is discarded.
//!
//! # The file
//!
//! ```text
//!   +--------+------+--------------+--------------+--------------+--
//!   | header | data | generation 0 | generation 1 | generation 2 |  ... far beyond what is used
//!   +--------+------+--------------+--------------+--------------+--
//! ```
//!
//! Each generation of the content has a range of its own, which a discard leaves for good: the pages
//! of the old range go back to the kernel afterwards, and a process that does so late, or dies and
//! leaves it to the next, hits nothing that anybody uses. The file is sparse and so long that
//! generations practically never run out; if they do, the content is never discarded again.
//! Its size is sealed, so that no opener can make others' accesses fault.
//!
//! # The protocol
//!
//! The state word has a bit for each opener, set while it holds the content, and the number of the
//! generation.
//!
//! * *Hold*: set the bit, then look. No rule-abiding process advances the generation while a bit is
//!   set, so what is seen afterwards stays. If the generation is not the one this opener knew, the
//!   content was discarded.
//! * *Release*: clear the bit.
//! * *Discard*: swap a word without bits for one with the next generation. The winner returns the
//!   pages of the old one.
//!
//! Hold and release cannot fail and never repeat, whatever others do to the word.
//!
//! # Death
//!
//! An opener has a lock on one far byte of the file, held through an open file description of its
//! own (`F_OFD_SETLK`), which the kernel drops when the process is gone. Whoever wants to discard
//! and finds a bit whose lock is free takes the lock, clears the bit and drops the lock.
//!
//! # Trust
//!
//! Openers trust each other for the content. Nothing else: what is read from the file is another
//! process's word, copied once and checked; a wild state word spoils the content and nothing
//! beside it.

mod sync;
pub mod word;

#[cfg(not(vidmm_loom))]
mod about;
#[cfg(not(vidmm_loom))]
mod error;
#[cfg(not(vidmm_loom))]
mod file;
#[cfg(not(vidmm_loom))]
mod locks;
#[cfg(not(vidmm_loom))]
mod map;
#[cfg(not(vidmm_loom))]
mod opening;

#[cfg(not(vidmm_loom))]
pub use about::{About, DATA_BYTES_MAX, MEMBERS_MAX, Member};
#[cfg(not(vidmm_loom))]
pub use error::Error;
#[cfg(not(vidmm_loom))]
pub use map::Map;
#[cfg(not(vidmm_loom))]
pub use opening::Opening;
#[cfg(not(vidmm_loom))]
pub use word::Look;
