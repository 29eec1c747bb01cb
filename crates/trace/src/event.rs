//! One thing that happened to one allocation.

use rustix::time::{ClockId, clock_gettime};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// It was created, committed.
    Create = 1,
    /// It was offered, or its offer renewed.
    Offer = 2,
    /// It was reclaimed and its content was there.
    ReclaimIntact = 3,
    /// It was reclaimed and its content was not there.
    ReclaimDiscarded = 4,
    /// It was discarded.
    Discard = 5,
    /// Its owner said what building its content takes: after having done it, or by knowing it.
    Rebuild = 6,
    /// It was destroyed.
    Destroy = 7,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] = [
        Kind::Create,
        Kind::Offer,
        Kind::ReclaimIntact,
        Kind::ReclaimDiscarded,
        Kind::Discard,
        Kind::Rebuild,
        Kind::Destroy,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// A word for it, as traces have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Offer => "offer",
            Kind::ReclaimIntact => "reclaim-intact",
            Kind::ReclaimDiscarded => "reclaim-discarded",
            Kind::Discard => "discard",
            Kind::Rebuild => "rebuild",
            Kind::Destroy => "destroy",
        }
    }
}

/// The class that an allocation counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Discarded first.
    Low = 0,
    /// Discarded when nothing LOW is left.
    Normal = 1,
    /// Discarded last.
    High = 2,
}

impl Class {
    /// All classes, lowest first.
    pub const ALL: [Class; 3] = [Class::Low, Class::Normal, Class::High];

    /// A word for it, as traces have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Low => "low",
            Class::Normal => "normal",
            Class::High => "high",
        }
    }

    /// The class with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Class::ALL.into_iter().find(|class| *class as u8 == number)
    }
}

/// How long an event is in a spool, in bytes.
pub const EVENT_BYTES: usize = 32;

/// How many words an event is in a ring.
pub(crate) const EVENT_WORDS: usize = EVENT_BYTES / 8;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// When it had happened, in nanoseconds of the machine's monotonic clock ([`now_ns`]).
    pub time_ns: u64,
    /// What.
    pub kind: Kind,
    /// The class in which the allocation is offered, or was last or would be by its priority.
    pub class: Class,
    /// To whom: its handle, which another allocation may have got after its end.
    pub allocation: u32,
    /// The allocation's size, in bytes.
    pub size_bytes: u64,
    /// What building its content takes, in nanoseconds; 0 is unknown.
    pub cost_ns: f32,
}

impl Event {
    pub(crate) fn to_words(self) -> [u64; EVENT_WORDS] {
        let name = u64::from(self.cost_ns.to_bits()) << 32 | u64::from(self.allocation);
        let what = u64::from(self.class as u8) << 8 | u64::from(self.kind as u8);
        [self.time_ns, self.size_bytes, name, what]
    }

    /// The event as a spool has it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.to_words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The event that a spool has; `None` if these bytes are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; EVENT_BYTES]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let [time_ns, size_bytes, name, what] = words else {
            return None;
        };
        let [a0, a1, a2, a3, c0, c1, c2, c3] = *name;
        let [kind, class, 0, 0, 0, 0, 0, 0] = *what else {
            return None;
        };
        Some(Event {
            time_ns: u64::from_le_bytes(*time_ns),
            kind: Kind::from_number(kind)?,
            class: Class::from_number(class)?,
            allocation: u32::from_le_bytes([a0, a1, a2, a3]),
            size_bytes: u64::from_le_bytes(*size_bytes),
            cost_ns: f32::from_le_bytes([c0, c1, c2, c3]),
        })
    }
}

/// The machine's monotonic clock, which all processes share, in nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    clock_ns(ClockId::Monotonic)
}

pub(crate) fn clock_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let rest = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
