//! One stretch of reserved address space: which of its units are open, free, warm or clean.
//!
//! The kernel is called with the books closed (the lock not held), but for opening a window. What
//! a call works on was taken out of the books before, so that nobody else can have it meanwhile.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::ArenaError;
use crate::extent::{Extent, Kind, Shape};
use crate::free::{Align, FreeSpace, Run};
use crate::kernel::{Advice, Kernel, Span};
use crate::num::{saturate_u32, to_u64, to_usize};

/// The free memory of a region. Invariant: both free spaces lie below `opened_units` and share no
/// unit with each other or with a live extent.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Backed, or to be counted as backed.
    pub(crate) warm: FreeSpace,
    /// Nothing behind it.
    pub(crate) clean: FreeSpace,
    /// The windows: units from 0 up to here are open.
    pub(crate) opened_units: u32,
    /// Units from here on are not used: the region's size, or less after a failed close.
    limit_units: u32,
}

/// What the kernel is told about a region's address space: once for all of it, and again for what
/// is mapped anew, so that it stays one mapping.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) kind: Kind,
    pub(crate) in_core_dumps: bool,
    pub(crate) in_children: bool,
}

impl Manner {
    /// All of this is a courtesy of kernels that know it; an arena works without.
    fn apply<K: Kernel>(self, kernel: &K, span: Span) {
        let (pages, name) = match self.kind {
            Kind::Small => (Advice::SmallPages, c"vidmm small"),
            Kind::Huge => (Advice::HugePages, c"vidmm huge"),
        };
        let dump = (!self.in_core_dumps).then_some(Advice::NoDump);
        let fork = (!self.in_children).then_some(Advice::NoFork);
        for advice in [Some(pages), dump, fork].into_iter().flatten() {
            // SAFETY: the span is the region's own, reserved address space.
            let _ = unsafe { kernel.advise(span, advice) };
        }
        // SAFETY: as above.
        unsafe { kernel.name(span, name) };
    }
}

/// A region. All of its memory belongs to its arena.
#[derive(Debug)]
pub(crate) struct Region {
    manner: Manner,
    /// The usable address space.
    span: Span,
    /// Never opened, right behind it: it stops overruns, and shows whether the process has locked
    /// its memory.
    guard: Span,
    unit_bytes: u64,
    books: Mutex<Books>,
    /// There may be warm memory: set by whoever puts some, with the books open.
    has_warm: AtomicBool,
    /// The process was seen to lock its memory.
    locks_memory: AtomicBool,
    pub(crate) refused_bytes: AtomicU64,
}

impl Region {
    /// A region in a reserved span whose last `guard_bytes` stay closed.
    pub(crate) fn new<K: Kernel>(
        kernel: &K,
        manner: Manner,
        reserved: Span,
        unit_bytes: u64,
        guard_bytes: usize,
    ) -> Self {
        manner.apply(kernel, reserved);
        let usable_bytes = reserved.len_bytes.saturating_sub(guard_bytes);
        let limit_units = saturate_u32(to_u64(usable_bytes) / unit_bytes);
        let books = Books {
            limit_units,
            ..Books::default()
        };
        Self {
            manner,
            span: reserved.part(0, usable_bytes),
            guard: reserved.part(usable_bytes, guard_bytes),
            unit_bytes,
            books: Mutex::new(books),
            has_warm: AtomicBool::new(false),
            locks_memory: AtomicBool::new(false),
            refused_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn unit_bytes(&self) -> u64 {
        self.unit_bytes
    }

    /// The most units that one extent may have.
    pub(crate) fn units(&self) -> u32 {
        saturate_u32(to_u64(self.span.len_bytes) / self.unit_bytes)
    }

    /// The usable address space.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// All of the address space, the guard included.
    pub(crate) fn reserved(&self) -> Span {
        Span {
            len_bytes: self.span.len_bytes + self.guard.len_bytes,
            ..self.span
        }
    }

    pub(crate) fn span_of(&self, run: Run) -> Span {
        let bytes = |units: u32| to_usize(u64::from(units) * self.unit_bytes);
        self.span.part(bytes(run.start), bytes(run.len))
    }

    pub(crate) fn bytes(&self, units: u64) -> u64 {
        units * self.unit_bytes
    }

    /// The books. Nothing panics while they are open, so a poisoned lock is as good as any.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn align(&self, shape: Shape) -> Align {
        let phase = self.span.addresses().start / self.unit_bytes;
        Align {
            units: shape.align_units,
            phase,
        }
    }

    fn extent(&self, start: u32, shape: Shape, warm: bool) -> Extent {
        Extent::new(self.manner.kind, start, shape.units, warm)
    }

    pub(crate) fn take_warm(&self, shape: Shape) -> Option<Extent> {
        // A hint, so relaxed: who just put warm memory finds it, others may miss it by a moment.
        if !self.has_warm.load(Ordering::Relaxed) {
            return None;
        }
        let mut books = self.books();
        let start = books.warm.take(shape.units, self.align(shape))?;
        if books.warm.units() == 0 {
            self.has_warm.store(false, Ordering::Relaxed);
        }
        Some(self.extent(start, shape, true))
    }

    /// Puts warm memory, inside the windows, into the books.
    pub(crate) fn put_warm(&self, books: &mut Books, run: Run, put: fn(&mut FreeSpace, Run)) {
        put(&mut books.warm, run);
        self.has_warm.store(true, Ordering::Relaxed);
    }

    /// From clean memory inside the windows.
    pub(crate) fn take_clean<K: Kernel>(&self, kernel: &K, shape: Shape) -> Option<Extent> {
        let start = self.books().clean.take(shape.units, self.align(shape))?;
        Some(self.clean_extent(kernel, start, shape))
    }

    fn clean_extent<K: Kernel>(&self, kernel: &K, start: u32, shape: Shape) -> Extent {
        kernel.expect_backing(self.span_of(Run {
            start,
            len: shape.units,
        }));
        self.extent(start, shape, false)
    }

    /// From clean memory; where there is none, from windows extended by `step_bytes`, or by what
    /// is needed if that is more or the kernel allows no more.
    pub(crate) fn open_and_take<K: Kernel>(
        &self,
        kernel: &K,
        shape: Shape,
        step_bytes: u64,
    ) -> Result<Extent, ArenaError> {
        let align = self.align(shape);
        let mut books = self.books();
        let mut taken = books.clean.take(shape.units, align);
        if taken.is_none() {
            let needed = self.missing(&mut books, shape.units, align)?;
            let room = books.limit_units - books.opened_units;
            let step = saturate_u32(step_bytes / self.unit_bytes).min(room);
            let mut window = Run {
                start: books.opened_units,
                len: needed.max(step),
            };
            if self.open(kernel, window).is_err() {
                window.len = needed;
                self.open(kernel, window)
                    .map_err(|source| ArenaError::Open {
                        wanted_bytes: self.bytes(u64::from(needed)),
                        source,
                    })?;
            }
            books.opened_units = window.end();
            books.clean.put_merged(window);
            taken = books.clean.take(shape.units, align);
        }
        drop(books);
        let start = taken.ok_or_else(|| self.no_address_space(shape.units))?;
        Ok(self.clean_extent(kernel, start, shape))
    }

    /// How many units more have to be open, for `len` of them to be free at the windows' top.
    fn missing(&self, books: &mut Books, len: u32, align: Align) -> Result<u32, ArenaError> {
        let top = books.opened_units;
        let tail = books.clean.len_ending_at(top);
        let end_from = |start| align.next(start)?.checked_add(len);
        // The search for an aligned place looks at a bounded number of runs: it may have passed
        // over a tail that would do.
        end_from(top - tail)
            .filter(|&end| end > top)
            .or_else(|| end_from(top))
            .filter(|&end| end <= books.limit_units)
            .map(|end| end - top)
            .ok_or_else(|| self.no_address_space(len))
    }

    fn no_address_space(&self, len: u32) -> ArenaError {
        ArenaError::AddressSpace {
            wanted_bytes: self.bytes(u64::from(len)),
            reserved_bytes: to_u64(self.span.len_bytes),
        }
    }

    fn open<K: Kernel>(&self, kernel: &K, window: Run) -> io::Result<()> {
        let span = self.span_of(window);
        // SAFETY: the window lies in this region's own reserved span.
        unsafe { kernel.open(span) }?;
        if self.locks_memory.load(Ordering::Relaxed) {
            // SAFETY: opened just above.
            unsafe { kernel.lock_on_fault(span) };
        }
        Ok(())
    }

    /// Closes the windows' clean top, so that the kernel need not promise memory for it.
    /// Returns how many bytes were closed.
    pub(crate) fn close_clean_top<K: Kernel>(&self, kernel: &K) -> u64 {
        let mut books = self.books();
        let top = books.opened_units;
        let Some(run) = books.clean.take_ending_at(top) else {
            return 0;
        };
        books.opened_units = run.start;
        let span = self.span_of(run);
        // Under the lock: a window must not be opened where one is being closed.
        // SAFETY: clean space, taken out of the books: nobody uses it.
        if unsafe { kernel.close(span) }.is_err() {
            // Nobody can say what is there now: never use it, nor what lies behind it.
            books.limit_units = run.start;
            return 0;
        }
        self.manner.apply(kernel, span);
        // SAFETY: the span is closed; nothing is there to be locked.
        unsafe { kernel.unlock(span) };
        self.bytes(u64::from(run.len))
    }

    /// After the process has locked its memory (`mlockall`): nothing may be backed before it is
    /// touched all the same, and what the lock has backed goes back.
    pub(crate) fn heed_locks<K: Kernel>(&self, kernel: &K) {
        // SAFETY: the guard is reserved and never opened.
        if !unsafe { kernel.is_locked(self.guard) } {
            return;
        }
        self.locks_memory.store(true, Ordering::Relaxed);
        {
            let books = self.books();
            let opened = self.span_of(Run {
                start: 0,
                len: books.opened_units,
            });
            let rest = self.reserved().part(opened.len_bytes, usize::MAX);
            // SAFETY: the rest of this region's own span.
            unsafe { kernel.unlock(rest) };
            if opened.len_bytes > 0 {
                // SAFETY: the windows of this region.
                unsafe { kernel.lock_on_fault(opened) };
            }
        }
        self.return_stray(kernel);
    }

    /// Returns what is found behind clean space, where nothing should be.
    pub(crate) fn return_stray<K: Kernel>(&self, kernel: &K) {
        let mut clean = mem::take(&mut self.books().clean);
        while let Some(run) = clean.take_largest(u32::MAX) {
            // What the kernel refuses stays clean in the books: it was never charged.
            let _ = self.return_run(kernel, run);
            self.books().clean.put_merged(run);
        }
    }

    /// Gives the pages of a run back.
    pub(crate) fn return_run<K: Kernel>(&self, kernel: &K, run: Run) -> io::Result<()> {
        // SAFETY: the run was taken out of the books or of its owner's hands and lies in the
        // windows, so nobody uses it.
        unsafe { kernel.return_pages(self.span_of(run)) }
    }
}
