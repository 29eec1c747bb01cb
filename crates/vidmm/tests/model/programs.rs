//! Random programs, as data: what `proptest` makes and shrinks.

use proptest::collection::vec;
use proptest::prelude::*;
use vidmm::{Class, OfferMode, PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NORMAL};

/// Which of what there is at the moment; any number does.
pub(crate) type Pick = usize;

/// A call. What is picked is looked up when it is made; where there is nothing it is left out.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Create {
        size: usize,
        not_zeroed: bool,
    },
    Write(Pick),
    Read(Pick),
    Offer {
        list: Vec<Pick>,
        mode: OfferMode,
    },
    /// One of the list is another pool's.
    OfferWrong {
        list: Vec<Pick>,
        wrong: Pick,
        mode: OfferMode,
    },
    /// While one is locked.
    OfferLocked {
        list: Vec<Pick>,
        locked: Pick,
        mode: OfferMode,
    },
    Reclaim(Pick),
    ReclaimList(Vec<Pick>),
    ReclaimWrong {
        list: Vec<Pick>,
        wrong: Pick,
    },
    Destroy(Pick),
    Priority(Pick, u32),
    Trim(u64),
    Budget(u64),
    Group(Vec<usize>),
    GroupOffer(Pick, OfferMode),
    GroupReclaim(Pick),
    GroupEnd(Pick),
}

const KIB: usize = 1024;

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1..=(4 * KIB),
        4 => 1..=(32 * KIB),
        2 => (32 * KIB)..=(128 * KIB),
        1 => Just(2048 * KIB),
        1 => Just(2100 * KIB),
    ]
}

fn mode() -> impl Strategy<Value = OfferMode> {
    let class = prop_oneof![
        Just(Class::Low),
        Just(Class::Normal),
        Just(Class::High),
        Just(Class::Auto)
    ];
    (class, proptest::bool::weighted(0.2)).prop_map(|(class, allow_decommit)| OfferMode {
        class,
        allow_decommit,
    })
}

fn list() -> impl Strategy<Value = Vec<Pick>> {
    prop_oneof![6 => vec(any::<Pick>(), 1..6), 1 => vec(any::<Pick>(), 60..140)]
}

fn call() -> impl Strategy<Value = Call> {
    let pick = any::<Pick>;
    let priority = prop_oneof![
        Just(PRIORITY_LOW),
        Just(PRIORITY_LOW + 1),
        Just(PRIORITY_NORMAL),
        Just(PRIORITY_HIGH)
    ];
    prop_oneof![
        12 => (size(), any::<bool>())
            .prop_map(|(size, not_zeroed)| Call::Create { size, not_zeroed }),
        6 => pick().prop_map(Call::Write),
        4 => pick().prop_map(Call::Read),
        14 => (list(), mode()).prop_map(|(list, mode)| Call::Offer { list, mode }),
        1 => (list(), pick(), mode())
            .prop_map(|(list, wrong, mode)| Call::OfferWrong { list, wrong, mode }),
        2 => (list(), pick(), mode())
            .prop_map(|(list, locked, mode)| Call::OfferLocked { list, locked, mode }),
        6 => pick().prop_map(Call::Reclaim),
        8 => list().prop_map(Call::ReclaimList),
        1 => (list(), pick()).prop_map(|(list, wrong)| Call::ReclaimWrong { list, wrong }),
        4 => pick().prop_map(Call::Destroy),
        3 => (pick(), priority).prop_map(|(pick, priority)| Call::Priority(pick, priority)),
        3 => (0..256_u64 << 10).prop_map(Call::Trim),
        3 => budget().prop_map(Call::Budget),
        2 => vec(size(), 0..4).prop_map(Call::Group),
        4 => (pick(), mode()).prop_map(|(group, mode)| Call::GroupOffer(group, mode)),
        3 => pick().prop_map(Call::GroupReclaim),
        1 => pick().prop_map(Call::GroupEnd),
    ]
}

/// In bytes, and seldom a number of whole pages.
pub(crate) fn budget() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        6 => 0..(512_u64 << 10),
        2 => (512_u64 << 10)..(6 << 20),
    ]
}

pub(crate) fn program() -> impl Strategy<Value = Vec<Call>> {
    vec(call(), 1..120)
}
