//! The arena: shapes, and extents taken and put back.

use std::ops::Range;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use crate::error::ArenaError;
use crate::extent::{EXTENT_UNITS_MAX, Extent, Kind, Shape};
use crate::free::{FreeSpace, Run};
use crate::kernel::{Kernel, Span};
use crate::linux::LinuxKernel;
use crate::num::{saturate_u32, to_u64};
use crate::region::{Books, Region};
use crate::reserve;

/// A huge unit is used for sizes whose rounding wastes at most one part in this many.
const HUGE_WASTE_SHARE: u64 = 16;

/// How an arena is made. The default suits a library inside somebody else's program.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ArenaOptions {
    /// Let core dumps contain the arena's memory. By default they do not: it can be rebuilt, and
    /// may be large.
    pub include_in_core_dumps: bool,
    /// Children made by `fork` do not get the arena's memory: there its addresses fault.
    pub keep_out_of_children: bool,
    /// How much address space to reserve in all, in bytes. By default as much as is sensible
    /// here, at most 16 TiB for each kind of page.
    pub reserve_bytes: Option<u64>,
}

/// Memory for allocations, in extents. Every method may be called from any thread.
///
/// An extent has one owner: whoever took it, until it is put back or returned, once. All memory
/// safety above rests on that; the arena cannot check it, because live extents have no
/// bookkeeping here.
#[derive(Debug)]
pub struct Arena<K: Kernel = LinuxKernel> {
    pub(crate) kernel: K,
    pub(crate) small: Region,
    pub(crate) huge: Option<Region>,
    /// The process that made the arena, when its children do not have it.
    pub(crate) only_in_pid: Option<u32>,
}

/// What an arena holds, in bytes where nothing else is said. Taken part by part: exact only while
/// nobody else uses the arena.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ArenaStats {
    /// Free, and to be counted as backed.
    pub warm_bytes: u64,
    /// Free inside the windows, with nothing behind it.
    pub clean_bytes: u64,
    /// The windows: address space that can be written.
    pub opened_bytes: u64,
    /// Of the windows, what is neither warm nor clean: taken, or on its way back to the kernel.
    pub live_bytes: u64,
    /// Usable address space.
    pub reserved_bytes: u64,
    /// What the kernel refused to take back, summed over all calls so far.
    pub refused_bytes: u64,
    /// In how many pieces warm and clean memory are remembered (a number).
    pub free_ranges: usize,
}

impl<K: Kernel> Arena<K> {
    /// Reserves address space for an arena. No memory is used yet.
    ///
    /// # Errors
    /// [`ArenaError::Reserve`] when not even
    /// [`RESERVE_MIN_BYTES`](crate::RESERVE_MIN_BYTES) can be had.
    pub fn new(kernel: K, options: ArenaOptions) -> Result<Self, ArenaError> {
        let (small, huge) = reserve::reserve(&kernel, &options)?;
        let only_in_pid = options.keep_out_of_children.then(std::process::id);
        Ok(Self {
            kernel,
            small,
            huge,
            only_in_pid,
        })
    }

    /// The kernel that the arena works with.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    /// What an allocation of `size_bytes`, at a multiple of `align_bytes` (a power of two; 0 for
    /// a page), will occupy. Alignment beyond a page or huge page costs address space only.
    ///
    /// # Errors
    /// [`ArenaError::ZeroSize`], [`ArenaError::TooLarge`] or [`ArenaError::Alignment`].
    pub fn shape(&self, size_bytes: u64, align_bytes: u64) -> Result<Shape, ArenaError> {
        if size_bytes == 0 {
            return Err(ArenaError::ZeroSize);
        }
        if align_bytes != 0 && !align_bytes.is_power_of_two() {
            return Err(ArenaError::Alignment { align_bytes });
        }
        let (kind, region) = self.region_for(size_bytes);
        let unit_bytes = region.unit_bytes();
        let limit_units = region.units().min(EXTENT_UNITS_MAX);
        if align_bytes > region.bytes(u64::from(region.units())) {
            return Err(ArenaError::Alignment { align_bytes });
        }
        let units = size_bytes.div_ceil(unit_bytes);
        if units > u64::from(limit_units) {
            let limit_bytes = region.bytes(u64::from(limit_units));
            return Err(ArenaError::TooLarge {
                size_bytes,
                limit_bytes,
            });
        }
        Ok(Shape {
            kind,
            units: saturate_u32(units),
            align_units: (align_bytes / unit_bytes).max(1),
            charge_bytes: units * unit_bytes,
        })
    }

    fn region_for(&self, size_bytes: u64) -> (Kind, &Region) {
        if let Some(huge) = &self.huge {
            let unit_bytes = huge.unit_bytes();
            let rounded = size_bytes.checked_next_multiple_of(unit_bytes);
            let small_waste =
                rounded.is_some_and(|whole| whole - size_bytes <= size_bytes / HUGE_WASTE_SHARE);
            if size_bytes >= unit_bytes && small_waste {
                return (Kind::Huge, huge);
            }
        }
        (Kind::Small, &self.small)
    }

    /// An extent wholly of warm memory (backed, and charged already), or `None`. Its content is
    /// what its last user left.
    pub fn take_warm(&self, shape: Shape) -> Option<Extent> {
        self.region(shape.kind).take_warm(shape)
    }

    /// An extent that reads as zero and has nothing behind it yet; the caller has room for its
    /// charge. Opens up to `window_step_bytes` of address space at a time, or what the extent
    /// needs if that is more.
    ///
    /// # Errors
    /// [`ArenaError::AddressSpace`] or [`ArenaError::Open`].
    pub fn take_clean(&self, shape: Shape, window_step_bytes: u64) -> Result<Extent, ArenaError> {
        let region = self.region(shape.kind);
        if let Some(extent) = region.take_clean(&self.kernel, shape) {
            return Ok(extent);
        }
        self.heed_locks();
        match region.open_and_take(&self.kernel, shape, window_step_bytes) {
            // With strict overcommit every window counts: give up those that nobody needs.
            Err(ArenaError::Open { .. }) if self.close_clean_tops() > 0 => {
                region.open_and_take(&self.kernel, shape, 0)
            }
            answer => answer,
        }
    }

    /// Takes an extent back that keeps its memory: it stays charged.
    pub fn put_warm(&self, extent: Extent) {
        self.put(extent, |region, books, run| {
            region.put_warm(books, run, FreeSpace::put);
        });
    }

    /// Takes an extent back that came from [`take_clean`](Arena::take_clean) and was never
    /// touched.
    pub fn put_clean(&self, extent: Extent) {
        self.kernel.expect_no_backing(self.span_of(extent));
        self.put(extent, |_, books, run| books.clean.put(run));
    }

    fn put(&self, extent: Extent, put: fn(&Region, &mut Books, Run)) {
        let region = self.region(extent.kind());
        let mut books = region.books();
        let run = run_of(extent);
        let ours = run.end() <= books.opened_units;
        debug_assert!(ours, "{extent:?} lies outside the arena's windows");
        if ours {
            put(region, &mut books, run);
        }
    }

    /// Closes the clean memory at the windows' tops, so that the kernel need not promise memory
    /// for it (`vm.overcommit_memory=2`). Returns how many bytes were closed. Never needed for
    /// the budget: clean memory has nothing behind it.
    pub fn close_clean_tops(&self) -> u64 {
        self.regions()
            .map(|region| region.close_clean_top(&self.kernel))
            .sum()
    }

    /// What the extent is charged, in bytes; 0 for foreign memory.
    #[inline]
    pub fn charge_bytes(&self, extent: Extent) -> u64 {
        if extent.is_foreign() {
            return 0;
        }
        self.region(extent.kind()).bytes(u64::from(extent.units()))
    }

    /// The figures of the arena.
    pub fn stats(&self) -> ArenaStats {
        let mut stats = ArenaStats::default();
        for region in self.regions() {
            let books = region.books();
            let warm_bytes = region.bytes(books.warm.units());
            let clean_bytes = region.bytes(books.clean.units());
            let opened_bytes = region.bytes(u64::from(books.opened_units));
            stats.warm_bytes += warm_bytes;
            stats.clean_bytes += clean_bytes;
            stats.opened_bytes += opened_bytes;
            stats.live_bytes += opened_bytes - warm_bytes - clean_bytes;
            stats.reserved_bytes += to_u64(region.span().len_bytes);
            stats.refused_bytes += region.refused_bytes.load(Ordering::Relaxed);
            stats.free_ranges += books.warm.pieces() + books.clean.pieces();
        }
        stats
    }

    /// The addresses that the arena has reserved: one range for each kind of page.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.regions()
            .map(|region| region.reserved().addresses())
            .collect()
    }

    /// Holds all of the arena's locks, so that a `fork` meanwhile leaves the child an arena that
    /// works. Extents that another thread was just returning are lost to the child.
    pub fn freeze(&self) -> Frozen<'_> {
        Frozen {
            _books: self.regions().map(Region::books).collect(),
        }
    }

    pub(crate) fn regions(&self) -> impl Iterator<Item = &Region> {
        std::iter::once(&self.small).chain(&self.huge)
    }

    /// An extent of the huge region can only come from an arena that has one.
    pub(crate) fn region(&self, kind: Kind) -> &Region {
        match (kind, &self.huge) {
            (Kind::Huge, Some(huge)) => huge,
            _ => &self.small,
        }
    }

    pub(crate) fn span_of(&self, extent: Extent) -> Span {
        self.region(extent.kind()).span_of(run_of(extent))
    }
}

pub(crate) fn run_of(extent: Extent) -> Run {
    Run {
        start: extent.start(),
        len: extent.units(),
    }
}

/// The arena stands still while this lives: see [`Arena::freeze`].
#[derive(Debug)]
pub struct Frozen<'a> {
    _books: Vec<MutexGuard<'a, Books>>,
}
