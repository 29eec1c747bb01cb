//! What the loop waits for, by a number each.

use rustix::event::epoll::EventData;

/// Something that can be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody connects.
    Listener,
    /// Another thread wishes something.
    Stopper,
    /// A signal came.
    Signals,
    /// Somebody asks for metrics.
    Scrapers,
    /// One who asks for metrics.
    Scraper(u64),
    /// A connection.
    Connection(u64),
    /// A process dies.
    Process(u64),
    /// The machine presses.
    Pressure(u64),
}

/// The kind is above, the number below.
const SHIFT: u32 = 56;

impl Source {
    pub(crate) fn data(self) -> EventData {
        let (kind, number) = match self {
            Source::Listener => (0, 0),
            Source::Stopper => (1, 0),
            Source::Signals => (2, 0),
            Source::Scrapers => (3, 0),
            Source::Scraper(number) => (4, number),
            Source::Connection(number) => (5, number),
            Source::Process(number) => (6, number),
            Source::Pressure(number) => (7, number),
        };
        EventData::new_u64((kind << SHIFT) | number)
    }

    pub(crate) fn of(data: EventData) -> Option<Self> {
        let data = data.u64();
        let number = data & ((1 << SHIFT) - 1);
        Some(match data >> SHIFT {
            0 => Source::Listener,
            1 => Source::Stopper,
            2 => Source::Signals,
            3 => Source::Scrapers,
            4 => Source::Scraper(number),
            5 => Source::Connection(number),
            6 => Source::Process(number),
            7 => Source::Pressure(number),
            _ => return None,
        })
    }
}
