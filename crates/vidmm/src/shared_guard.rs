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
        let (head, words, tail) = self.parts(offset_bytes, len);
        let (first, rest) = bytes[..len].split_at_mut(head.count);
        let (whole, last) = rest.split_at_mut(words.len() * WORD);
        head.get(first);
        for (word, bytes) in words.iter().zip(whole.chunks_exact_mut(WORD)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        tail.get(last);
        Ok(len)
    }

    /// Writes bytes from `offset_bytes` on; says how many, which is fewer than given at the end
    /// only.
    ///
    /// # Errors
    /// [`Error::NotInChild`].
    pub fn write_at(&self, bytes: &[u8], offset_bytes: usize) -> Result<usize, Error> {
        let len = self.part(bytes.len(), offset_bytes)?;
        let (head, words, tail) = self.parts(offset_bytes, len);
        let (first, rest) = bytes[..len].split_at(head.count);
        let (whole, last) = rest.split_at(words.len() * WORD);
        head.put(first);
        for (word, bytes) in words.iter().zip(whole.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        tail.put(last);
        Ok(len)
    }

    /// How many of `len` bytes there are from `offset_bytes` on.
    fn part(&self, len: usize, offset_bytes: usize) -> Result<usize, Error> {
        match self.process == std::process::id() {
            true => Ok(len.min(self.mapping.len_bytes.saturating_sub(offset_bytes))),
            false => Err(Error::NotInChild),
        }
    }

    /// `len` bytes from `offset_bytes` on, all of which there are: part of a word, whole words, part
    /// of a word.
    fn parts(&self, offset_bytes: usize, len: usize) -> (Part<'_>, &[AtomicU64], Part<'_>) {
        if len == 0 {
            return (Part::default(), &[], Part::default());
        }
        let begins = offset_bytes / WORD;
        let words = self.words(begins, (offset_bytes + len).div_ceil(WORD) - begins);
        let mut head = Part::default();
        let (mut whole, mut left) = (words, len);
        let from = offset_bytes % WORD;
        if let (true, Some((first, rest))) = (from != 0, words.split_first()) {
            head = Part {
                word: Some(first),
                from,
                count: left.min(WORD - from),
            };
            left -= head.count;
            whole = rest;
        }
        let (whole, last) = whole.split_at(left / WORD);
        let tail = Part {
            word: last.first(),
            from: 0,
            count: left % WORD,
        };
        (head, whole, tail)
    }

    /// `count` words from word `begins` on, of which at least one byte of the last is ours.
    fn words(&self, begins: usize, count: usize) -> &[AtomicU64] {
        // SAFETY: within the allocation, which begins at a page and has whole pages.
        let first: NonNull<u8> = unsafe { self.mapping.start.add(begins * WORD) };
        // SAFETY: aligned, mapped as long as the guard, and always reached as whole words.
        unsafe { std::slice::from_raw_parts(first.cast::<AtomicU64>().as_ptr(), count) }
    }
}

/// Some bytes of a word; the others are somebody else's to write.
#[derive(Default, Clone, Copy)]
struct Part<'w> {
    /// `None` if there are no bytes.
    word: Option<&'w AtomicU64>,
    from: usize,
    count: usize,
}

impl Part<'_> {
    fn get(self, bytes: &mut [u8]) {
        if let Some(word) = self.word {
            let all = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&all[self.from..self.from + self.count]);
        }
    }

    fn put(self, bytes: &[u8]) {
        let Some(word) = self.word else { return };
        let (mut new, mut mask) = ([0; WORD], [0xFF; WORD]);
        new[self.from..self.from + self.count].copy_from_slice(bytes);
        mask[self.from..self.from + self.count].fill(0);
        let (new, mask) = (u64::from_ne_bytes(new), u64::from_ne_bytes(mask));
        for _ in 0..TRIES {
            let old = word.load(Ordering::Relaxed);
            let relaxed = Ordering::Relaxed;
            let swapped = word.compare_exchange(old, old & mask | new, relaxed, relaxed);
            if swapped.is_ok() {
                return;
            }
        }
        // Somebody never stops writing here. These two cannot be kept from being done, but what they
        // write is mixed with what others do.
        word.fetch_and(mask, Ordering::Relaxed);
        word.fetch_or(new, Ordering::Relaxed);
    }
}

impl Drop for SharedGuard<'_> {
    fn drop(&mut self) {
        // In a child there is nothing to unlock.
        let _ = self.pool.engine.unlock(self.handle);
    }
}
