//! Figures for Prometheus: counters of what went by, gauges of what is.
//!
//! Labels have few values, which are all known here; no label names a process or a user.

mod http;
mod textfile;

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::http::Exporter;
pub(crate) use self::textfile::Textfile;

type Bytes = Gauge<u64, AtomicU64>;
type Count = Gauge<u64, AtomicU64>;

/// One label with a value that is known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Label {
    name: &'static str,
    value: &'static str,
}

impl EncodeLabelSet for Label {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        (self.name, self.value).encode(encoder.encode_label())
    }
}

/// Counters by one label.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    name: &'static str,
    family: Family<Label, Counter>,
}

impl Counted {
    fn new(name: &'static str) -> Self {
        Counted {
            name,
            family: Family::default(),
        }
    }

    pub(crate) fn add(&self, value: &'static str, by: u64) {
        let name = self.name;
        self.family.get_or_create(&Label { name, value }).inc_by(by);
    }
}

/// All figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Something has changed since the textfile was written.
    pub(crate) changed: bool,
    pub(crate) budget: Bytes,
    pub(crate) charged: Bytes,
    pub(crate) reserve: Bytes,
    pub(crate) reserved: Bytes,
    pub(crate) unresponsive: Count,
    pub(crate) waiting: Count,
    pub(crate) clients: Count,
    pub(crate) absent: Count,
    pub(crate) connections: Count,
    pub(crate) incarnation: Count,
    pub(crate) granted: Counter,
    pub(crate) grants: Counter,
    pub(crate) returned: Counter,
    pub(crate) orders: Counted,
    pub(crate) refusals: Counted,
    pub(crate) discarded: Counted,
    pub(crate) turned_away: Counted,
    pub(crate) closed: Counted,
    pub(crate) pressure: Counted,
    pub(crate) reloads: Counted,
    pub(crate) ledger_failures: Counter,
    pub(crate) deaths: Counter,
    pub(crate) log_lines_lost: Count,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("vidmm"),
            changed: true,
            budget: Bytes::default(),
            charged: Bytes::default(),
            reserve: Bytes::default(),
            reserved: Bytes::default(),
            unresponsive: Count::default(),
            waiting: Count::default(),
            clients: Count::default(),
            absent: Count::default(),
            connections: Count::default(),
            incarnation: Count::default(),
            granted: Counter::default(),
            grants: Counter::default(),
            returned: Counter::default(),
            orders: Counted::new("why"),
            refusals: Counted::new("why"),
            discarded: Counted::new("class"),
            turned_away: Counted::new("why"),
            closed: Counted::new("why"),
            pressure: Counted::new("reason"),
            reloads: Counted::new("result"),
            ledger_failures: Counter::default(),
            deaths: Counter::default(),
            log_lines_lost: Count::default(),
        };
        metrics.register_gauges();
        metrics.register_counters();
        metrics
    }

    fn register_gauges(&mut self) {
        let bytes = [
            (
                "budget",
                "What all clients together may be counted at",
                &self.budget,
            ),
            ("reserve", "What is kept for newcomers", &self.reserve),
            ("reserved", "What is reserved for clients", &self.reserved),
            (
                "charged",
                "What all clients together are counted at",
                &self.charged,
            ),
        ];
        for (name, help, gauge) in bytes {
            self.registry
                .register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
        let counts = [
            ("clients", "Processes that have joined", &self.clients),
            (
                "absent",
                "Living processes that are counted and not connected",
                &self.absent,
            ),
            (
                "unresponsive",
                "Clients that have an order unanswered",
                &self.unresponsive,
            ),
            ("waiting", "Requests that wait", &self.waiting),
            (
                "connections",
                "Connections to the socket",
                &self.connections,
            ),
            (
                "incarnation",
                "Which life of the manager this is",
                &self.incarnation,
            ),
            (
                "log_lines_lost",
                "Log lines that nobody took in time",
                &self.log_lines_lost,
            ),
        ];
        for (name, help, gauge) in counts {
            self.registry.register(name, help, gauge.clone());
        }
    }

    fn register_counters(&mut self) {
        let bytes = [
            (
                "granted",
                "Bytes granted as credit or at joining",
                &self.granted,
            ),
            ("returned", "Bytes that clients returned", &self.returned),
        ];
        for (name, help, counter) in bytes {
            self.registry
                .register_with_unit(name, help, Unit::Bytes, counter.clone());
        }
        let plain = [
            (
                "grants",
                "Requests granted, joinings included",
                &self.grants,
            ),
            (
                "ledger_failures",
                "Writes that the ledger did not take",
                &self.ledger_failures,
            ),
            ("deaths", "Counted processes that died", &self.deaths),
        ];
        for (name, help, counter) in plain {
            self.registry.register(name, help, counter.clone());
        }
        let by_label = [
            ("orders", "Orders to shrink", &self.orders),
            ("refusals", "Requests for credit refused", &self.refusals),
            (
                "turned_away",
                "Connections or joinings refused",
                &self.turned_away,
            ),
            ("closed", "Connections closed by the manager", &self.closed),
            (
                "pressure",
                "Times that the machine was short",
                &self.pressure,
            ),
            ("reloads", "Readings of the configuration", &self.reloads),
        ];
        for (name, help, counted) in by_label {
            self.registry.register(name, help, counted.family.clone());
        }
        let help = "Bytes discarded for orders";
        let family = self.discarded.family.clone();
        self.registry
            .register_with_unit("discarded", help, Unit::Bytes, family);
    }

    /// All figures as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Only a formatter of ours could fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
