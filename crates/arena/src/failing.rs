//! A kernel that fails on demand, and counts its calls.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::kernel::{Advice, Kernel, Span};
use crate::num::to_u64;
use crate::resident::Resident;

/// `ENOMEM`, as an open beyond the commit limit answers.
const NO_MEMORY: i32 = 12;

/// Another kernel, with faults. It starts without any. Where it refuses it changes nothing.
#[derive(Debug)]
pub struct FailingKernel<K> {
    inner: K,
    return_error: AtomicU64,
    refuse_close: AtomicBool,
    commit_limit_bytes: AtomicU64,
    committed_bytes: AtomicU64,
    reserve_limit_bytes: AtomicU64,
    returns: AtomicU64,
    opens: AtomicU64,
}

impl<K: Kernel> FailingKernel<K> {
    /// `inner`, without faults so far.
    pub fn new(inner: K) -> Self {
        Self {
            inner,
            return_error: AtomicU64::new(0),
            refuse_close: AtomicBool::new(false),
            commit_limit_bytes: AtomicU64::new(u64::MAX),
            committed_bytes: AtomicU64::new(0),
            reserve_limit_bytes: AtomicU64::new(u64::MAX),
            returns: AtomicU64::new(0),
            opens: AtomicU64::new(0),
        }
    }

    /// The kernel behind it.
    pub fn inner(&self) -> &K {
        &self.inner
    }

    /// From now on every return of pages fails with this error (`errno`), or with none.
    pub fn refuse_returns(&self, errno: Option<i32>) {
        let errno = errno
            .and_then(|errno| u64::try_from(errno).ok())
            .unwrap_or(0);
        self.return_error.store(errno, Ordering::SeqCst);
    }

    /// From now on closing fails, or does not.
    pub fn refuse_closes(&self, refuse: bool) {
        self.refuse_close.store(refuse, Ordering::SeqCst);
    }

    /// Opened memory beyond this many bytes is refused, as under strict overcommit.
    pub fn limit_commit(&self, limit_bytes: u64) {
        self.commit_limit_bytes.store(limit_bytes, Ordering::SeqCst);
    }

    /// Larger reservations are refused.
    pub fn limit_reserve(&self, limit_bytes: u64) {
        self.reserve_limit_bytes
            .store(limit_bytes, Ordering::SeqCst);
    }

    /// How often pages were returned or refused.
    pub fn returns(&self) -> u64 {
        self.returns.load(Ordering::SeqCst)
    }

    /// How often opening was asked for.
    pub fn opens(&self) -> u64 {
        self.opens.load(Ordering::SeqCst)
    }
}

fn error(errno: u64) -> io::Error {
    io::Error::from_raw_os_error(i32::try_from(errno).unwrap_or(NO_MEMORY))
}

fn no_memory() -> io::Error {
    io::Error::from_raw_os_error(NO_MEMORY)
}

// SAFETY: every call is the inner kernel's, or refused without effect.
unsafe impl<K: Kernel> Kernel for FailingKernel<K> {
    fn page_bytes(&self) -> usize {
        self.inner.page_bytes()
    }

    fn huge_bytes(&self) -> Option<usize> {
        self.inner.huge_bytes()
    }

    fn reservable_bytes(&self) -> Option<u64> {
        self.inner.reservable_bytes()
    }

    fn reserve(&self, len_bytes: usize, align_bytes: usize) -> io::Result<Span> {
        if to_u64(len_bytes) > self.reserve_limit_bytes.load(Ordering::SeqCst) {
            return Err(no_memory());
        }
        self.inner.reserve(len_bytes, align_bytes)
    }

    unsafe fn release(&self, span: Span) {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.release(span) };
    }

    unsafe fn open(&self, span: Span) -> io::Result<()> {
        self.opens.fetch_add(1, Ordering::SeqCst);
        let bytes = to_u64(span.len_bytes);
        let limit = self.commit_limit_bytes.load(Ordering::SeqCst);
        let within = |committed: u64| committed.checked_add(bytes).filter(|&sum| sum <= limit);
        self.committed_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, within)
            .map_err(|_| no_memory())?;
        // SAFETY: handed on to the caller.
        let opened = unsafe { self.inner.open(span) };
        if opened.is_err() {
            self.committed_bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
        opened
    }

    unsafe fn close(&self, span: Span) -> io::Result<()> {
        if self.refuse_close.load(Ordering::SeqCst) {
            return Err(no_memory());
        }
        // SAFETY: handed on to the caller.
        unsafe { self.inner.close(span) }?;
        self.committed_bytes
            .fetch_sub(to_u64(span.len_bytes), Ordering::SeqCst);
        Ok(())
    }

    unsafe fn return_pages(&self, span: Span) -> io::Result<()> {
        self.returns.fetch_add(1, Ordering::SeqCst);
        match self.return_error.load(Ordering::SeqCst) {
            // SAFETY: handed on to the caller.
            0 => unsafe { self.inner.return_pages(span) },
            errno => Err(error(errno)),
        }
    }

    unsafe fn protect(&self, span: Span) -> io::Result<()> {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.protect(span) }
    }

    unsafe fn unprotect(&self, span: Span) -> io::Result<()> {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.unprotect(span) }
    }

    unsafe fn advise(&self, span: Span, advice: Advice) -> io::Result<()> {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.advise(span, advice) }
    }

    unsafe fn name(&self, span: Span, name: &'static CStr) {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.name(span, name) };
    }

    unsafe fn is_locked(&self, span: Span) -> bool {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.is_locked(span) }
    }

    unsafe fn unlock(&self, span: Span) {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.unlock(span) };
    }

    unsafe fn lock_on_fault(&self, span: Span) {
        // SAFETY: handed on to the caller.
        unsafe { self.inner.lock_on_fault(span) };
    }

    fn expect_backing(&self, span: Span) {
        self.inner.expect_backing(span);
    }

    fn expect_no_backing(&self, span: Span) {
        self.inner.expect_no_backing(span);
    }

    fn resident(&self, spans: &[Span]) -> io::Result<Resident> {
        self.inner.resident(spans)
    }

    fn resident_of(&self, span: Span) -> io::Result<u64> {
        self.inner.resident_of(span)
    }
}
