//! An arena on the heap against a model that knows the state of every page: warm and clean are
//! never mixed up, nothing overlaps, nothing is lost.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ptr::NonNull;

use proptest::prelude::*;
use vidmm_arena::{Arena, ArenaOptions, Extent, FailingKernel, HeapKernel, Kernel, Span};

const PAGE: u64 = 4096;
const HUGE: u64 = 64 << 10;
const RESERVE: u64 = if cfg!(miri) { 512 << 10 } else { 4 << 20 };
/// Which bytes are looked at: each, or some of each page.
const STRIDE: usize = if cfg!(miri) { 509 } else { 1 };
const CASES: u32 = if cfg!(miri) { 2 } else { 100 };
const STEPS: usize = if cfg!(miri) { 30 } else { 150 };

#[derive(Clone, Debug)]
enum Step {
    TakeWarm {
        bytes: u64,
        align_log2: u32,
    },
    TakeClean {
        bytes: u64,
        align_log2: u32,
        step: u64,
    },
    PutWarm(usize),
    PutClean(usize),
    Return {
        which: usize,
        count: usize,
    },
    ReturnWarm(u64),
    CloseTops,
    Refuse(bool),
    Scour,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        3 => 1u64..20_000, 2 => Just(HUGE), 2 => HUGE..200_000, 1 => 200_000u64..RESERVE - HUGE
    ];
    let align = prop_oneof![6 => Just(0u32), 1 => 1u32..20];
    prop_oneof![
        3 => (bytes.clone(), align.clone())
            .prop_map(|(bytes, align_log2)| Step::TakeWarm { bytes, align_log2 }),
        4 => (bytes, align, 0u64..1_000_000)
            .prop_map(|(bytes, align_log2, step)| Step::TakeClean { bytes, align_log2, step }),
        3 => any::<usize>().prop_map(Step::PutWarm),
        1 => any::<usize>().prop_map(Step::PutClean),
        2 => (any::<usize>(), 1usize..6).prop_map(|(which, count)| Step::Return { which, count }),
        1 => (0u64..500_000).prop_map(Step::ReturnWarm),
        1 => Just(Step::CloseTops),
        1 => prop_oneof![2 => Just(false), 1 => Just(true)].prop_map(Step::Refuse),
        1 => Just(Step::Scour),
    ]
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Page {
    Live,
    Warm,
}

struct Model {
    arena: Arena<FailingKernel<HeapKernel>>,
    /// By address; pages that are clean or not open are not listed.
    pages: BTreeMap<u64, Page>,
    live: Vec<(Extent, bool)>,
    stamp: u8,
}

impl Model {
    fn new() -> Self {
        let heap = HeapKernel::new(4096, Some(64 << 10), 16 << 20);
        let options = ArenaOptions {
            reserve_bytes: Some(2 * RESERVE),
            ..Default::default()
        };
        let arena = Arena::new(FailingKernel::new(heap), options).unwrap();
        Self {
            arena,
            pages: BTreeMap::new(),
            live: Vec::new(),
            stamp: 0,
        }
    }

    fn pages_of(&self, extent: Extent) -> impl Iterator<Item = u64> + use<> {
        let start = u64::try_from(self.arena.address(extent).addr().get()).unwrap();
        (start..start + self.arena.charge_bytes(extent)).step_by(4096)
    }

    fn bytes_of(&self, extent: Extent) -> &[u8] {
        let len = usize::try_from(self.arena.charge_bytes(extent)).unwrap();
        // SAFETY: the model owns the extent, and the heap behind it is initialised.
        unsafe { std::slice::from_raw_parts(self.arena.address(extent).as_ptr(), len) }
    }

    fn took(&mut self, extent: Extent, align_log2: u32) {
        let address = self.arena.address(extent).addr().get();
        assert_eq!(address % (1 << align_log2), 0, "{extent:?}");
        for page in self.pages_of(extent) {
            let was = self.pages.insert(page, Page::Live);
            let expected = extent.is_warm().then_some(Page::Warm);
            assert_eq!(was, expected, "page {page:#x} of {extent:?}");
        }
        if !extent.is_warm() {
            assert!(
                self.bytes_of(extent)
                    .iter()
                    .step_by(STRIDE)
                    .all(|&byte| byte == 0),
                "clean reads as zero"
            );
        }
        // Every third clean extent stays untouched, so that it may go back as clean.
        self.stamp = self.stamp.wrapping_add(1);
        let touched = extent.is_warm() || !self.stamp.is_multiple_of(3);
        if touched {
            // SAFETY: taken just above.
            unsafe { self.arena.fill(extent, self.stamp | 1) };
        }
        self.live.push((extent, touched));
    }

    fn drop_live(&mut self, which: usize) -> Option<(Extent, bool)> {
        if self.live.is_empty() {
            return None;
        }
        let (extent, touched) = self.live.swap_remove(which % self.live.len());
        if touched {
            let bytes = self.bytes_of(extent);
            assert!(
                bytes[0] != 0 && bytes.iter().step_by(STRIDE).all(|&byte| byte == bytes[0]),
                "own bytes only"
            );
        }
        Some((extent, touched))
    }

    fn mark(&mut self, extent: Extent, page: Option<Page>) {
        for address in self.pages_of(extent) {
            match page {
                Some(page) => self.pages.insert(address, page),
                None => self.pages.remove(&address),
            };
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::TakeWarm { bytes, align_log2 } => {
                let shape = self.arena.shape(bytes, 1 << align_log2).unwrap();
                if let Some(extent) = self.arena.take_warm(shape) {
                    assert!(extent.is_warm());
                    assert_eq!(self.arena.charge_bytes(extent), shape.charge_bytes());
                    self.took(extent, align_log2);
                }
            }
            Step::TakeClean {
                bytes,
                align_log2,
                step,
            } => {
                let shape = self.arena.shape(bytes, 1 << align_log2).unwrap();
                if let Ok(extent) = self.arena.take_clean(shape, step) {
                    assert!(!extent.is_warm());
                    self.took(extent, align_log2);
                }
            }
            Step::PutWarm(which) => {
                if let Some((extent, _)) = self.drop_live(which) {
                    self.mark(extent, Some(Page::Warm));
                    self.arena.put_warm(extent);
                }
            }
            Step::PutClean(which) => match self.drop_live(which) {
                Some((extent, false)) => {
                    self.mark(extent, None);
                    self.arena.put_clean(extent);
                }
                Some((extent, true)) => self.live.push((extent, true)),
                None => {}
            },
            Step::Return { which, count } => self.give_back(which, count),
            Step::ReturnWarm(bytes) => self.return_warm(bytes),
            Step::CloseTops => {
                let before = self.arena.stats();
                let closed = self.arena.close_clean_tops();
                let after = self.arena.stats();
                assert_eq!(before.opened_bytes - after.opened_bytes, closed);
                assert_eq!(before.clean_bytes - after.clean_bytes, closed);
            }
            Step::Refuse(refuse) => {
                self.arena.kernel().refuse_returns(refuse.then_some(11));
            }
            Step::Scour => self.arena.return_stray(),
        }
    }

    fn give_back(&mut self, which: usize, count: usize) {
        let mut extents = Vec::new();
        let mut charge = 0;
        for _ in 0..count {
            if let Some((extent, _)) = self.drop_live(which) {
                charge += self.arena.charge_bytes(extent);
                extents.push(extent);
            }
        }
        let list = extents.clone();
        let returned = self.arena.return_extents(&mut extents);
        assert!(extents.is_empty());
        assert_eq!(returned.returned_bytes + returned.refused_bytes, charge);
        let refused = returned.refused_bytes > 0;
        assert!(!refused || returned.refusal == Some(11));
        assert!(!refused || returned.returned_bytes == 0);
        for extent in list {
            self.mark(extent, refused.then_some(Page::Warm));
        }
    }

    fn return_warm(&mut self, bytes: u64) {
        let before = self.arena.stats();
        let returned = self.arena.return_warm(bytes);
        let after = self.arena.stats();
        assert_eq!(
            before.warm_bytes - after.warm_bytes,
            returned.returned_bytes
        );
        assert_eq!(
            after.refused_bytes - before.refused_bytes,
            returned.refused_bytes
        );
        if returned.refused_bytes == 0 {
            assert!(returned.returned_bytes >= bytes || after.warm_bytes == 0);
        }
        // Which of the warm pages went is the arena's choice: ask the kernel.
        let kernel = self.arena.kernel();
        self.pages.retain(|&address, page| {
            let start = NonNull::new(std::ptr::without_provenance_mut(
                usize::try_from(address).unwrap(),
            ))
            .unwrap();
            let span = Span {
                start,
                len_bytes: 4096,
            };
            *page == Page::Live || kernel.resident_of(span).unwrap() > 0
        });
    }

    fn check(&self) {
        let stats = self.arena.stats();
        let count = |wanted: Page| {
            u64::try_from(self.pages.values().filter(|&&page| page == wanted).count()).unwrap()
        };
        assert_eq!(stats.warm_bytes, count(Page::Warm) * PAGE);
        assert_eq!(stats.live_bytes, count(Page::Live) * PAGE);
        assert_eq!(
            stats.opened_bytes,
            stats.warm_bytes + stats.clean_bytes + stats.live_bytes,
            "all space is accounted for"
        );
        // What the kernel has backed is charged: live or warm.
        let resident = self.arena.resident().unwrap();
        assert_eq!(resident.total_bytes(), stats.warm_bytes + stats.live_bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn warm_and_clean_are_never_mixed_up(steps in prop::collection::vec(step(), 1..STEPS)) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step);
            model.check();
        }
    }
}

#[test]
fn pages_of_64_kib_without_huge_ones() {
    let heap = HeapKernel::new(64 << 10, None, 16 << 20);
    let options = ArenaOptions {
        reserve_bytes: Some(8 << 20),
        ..Default::default()
    };
    let arena = Arena::new(heap, options).unwrap();
    assert_eq!(arena.ranges().len(), 1);
    let shape = arena.shape(3 << 20, 4096).unwrap();
    assert_eq!(shape.charge_bytes(), 3 << 20);
    assert_eq!(arena.shape(1, 0).unwrap().charge_bytes(), 64 << 10);
    let extent = arena.take_clean(shape, 0).unwrap();
    assert_eq!(arena.resident_of(extent).unwrap(), 3 << 20);
    assert_eq!(
        arena.return_extents(&mut vec![extent]).returned_bytes,
        3 << 20
    );
    assert_eq!(arena.kernel().backed_bytes(), 0);
}
