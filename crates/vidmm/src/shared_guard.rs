//! The bytes of a locked shared allocation. Other processes may write them at any time, and so may
//! other threads with a guard of their own, so nobody gets a slice of them: they are copied, in
//! whole words, as atomics.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use vidmm_pool::{Error, Handle, Mapping};

use crate::pool::Pool;

const WORD: usize = size_of::<u64>();

/// So often is part of a word written beside others who write to it.
const TRIES: u32 = 1000;

/// The bytes of a shared allocation that is locked. Unlocked when dropped.
///
/// What is copied while somebody else writes is a mixture of old and new. A child made by `fork`
/// can drop it and nothing else.
#[derive(Debug)]
pub struct SharedGuard<'a> {
    pool: &'a Pool,
    handle: Handle,
    mapping: Mapping,
    process: u32,
}

// SAFETY: the address belongs to the process, not to a thread, and what is there is reached through
// atomics only.
unsafe impl Send for SharedGuard<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedGuard<'_> {}

impl<'a> SharedGuard<'a> {
    pub(crate) fn new(pool: &'a Pool, handle: Handle) -> Result<Self, Error> {
        let mapping = pool.engine.lock(handle)?;
        Ok(SharedGuard {
            pool,
            handle,
            mapping,
            process: std::process::id(),
        })
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.mapping.len_bytes
    }

    /// The first byte, for those who arrange with the other processes who writes when. It is good
    /// until the guard is dropped, in this process only, and it is not for references: others may
    /// write what is behind it at any time.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.start.as_ptr()
    }

    /// Copies bytes from `offset_bytes` on; says how many, which is fewer than asked for at the end
    /// only.
    ///
    /// # Errors
    /// [`Error::NotInChild`].
    pub fn read_at(&self, bytes: &mut [u8], offset_bytes: usize) -> Result<usize, Error> {
        let len = self.part(bytes.len(), offset_bytes)?;
        let mut done = 0;
        while done < len {
            let (word, first, count) = self.word(offset_bytes + done, len - done);
            let all = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes[done..done + count].copy_from_slice(&all[first..first + count]);
            done += count;
        }
        Ok(len)
    }

    /// Writes bytes from `offset_bytes` on; says how many, which is fewer than given at the end
    /// only.
    ///
    /// # Errors
    /// [`Error::NotInChild`].
    pub fn write_at(&self, bytes: &[u8], offset_bytes: usize) -> Result<usize, Error> {
        let len = self.part(bytes.len(), offset_bytes)?;
        let mut done = 0;
        while done < len {
            let (word, first, count) = self.word(offset_bytes + done, len - done);
            put(word, first, &bytes[done..done + count]);
            done += count;
        }
        Ok(len)
    }

    /// How many of `len` bytes there are from `offset_bytes` on.
    fn part(&self, len: usize, offset_bytes: usize) -> Result<usize, Error> {
        match self.process == std::process::id() {
            true => Ok(len.min(self.mapping.len_bytes.saturating_sub(offset_bytes))),
            false => Err(Error::NotInChild),
        }
    }

    /// The word around byte `at`, which byte of it that is, and how many of `wanted` it has.
    fn word(&self, at: usize, wanted: usize) -> (&AtomicU64, usize, usize) {
        let first = at % WORD;
        // SAFETY: below the length, and an allocation begins at a page, so the word is within its
        // pages.
        let word: NonNull<u8> = unsafe { self.mapping.start.add(at - first) };
        // SAFETY: aligned, mapped as long as the guard, and always reached as a whole word.
        let word = unsafe { word.cast::<AtomicU64>().as_ref() };
        (word, first, wanted.min(WORD - first))
    }
}

/// Puts bytes into a word, from byte `first` on.
fn put(word: &AtomicU64, first: usize, bytes: &[u8]) {
    if let Ok(whole) = <[u8; WORD]>::try_from(bytes) {
        word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        return;
    }
    // The rest of the word is somebody else's to write meanwhile.
    let (mut new, mut mask) = ([0; WORD], [0xFF; WORD]);
    new[first..first + bytes.len()].copy_from_slice(bytes);
    mask[first..first + bytes.len()].fill(0);
    let (new, mask) = (u64::from_ne_bytes(new), u64::from_ne_bytes(mask));
    for _ in 0..TRIES {
        let old = word.load(Ordering::Relaxed);
        let swapped =
            word.compare_exchange(old, old & mask | new, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            return;
        }
    }
    // Somebody never stops writing here. These two cannot be kept from being done, but what they
    // write is mixed with what others do.
    word.fetch_and(mask, Ordering::Relaxed);
    word.fetch_or(new, Ordering::Relaxed);
}

impl Drop for SharedGuard<'_> {
    fn drop(&mut self) {
        // In a child there is nothing to unlock.
        let _ = self.pool.engine.unlock(self.handle);
    }
}
