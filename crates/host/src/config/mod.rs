//! The configuration file: what it may say, and what that comes to for a machine and a client.
//!
//! **Owns:** the TOML form and its errors (line, column, the offending text); which rule a client
//! falls under.
//!
//! **Must not know:** who is connected.

mod error;
mod rules;
mod users;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use toml::Spanned;
use vidmm_machine::{BudgetSpec, ByteSize, MachineFiles};
use vidmm_manager::{Settings, Terms};

pub use self::error::ConfigError;
use self::error::Place;
pub(crate) use self::rules::Rules;
use self::rules::{DefaultTerms, RuleText};
use crate::error::HostError;
use crate::log::LogLevel;
use crate::options::MetricsAddress;

/// A configuration is no longer, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    budget: Option<Parsed<BudgetSpec>>,
    allow_swap: Option<bool>,
    reserve: Option<Parsed<ByteSize>>,
    guarded_percent: Option<Spanned<u32>>,
    patience_ms: Option<u32>,
    answer_ms: Option<Spanned<u32>>,
    clients_max: Option<Spanned<u32>>,
    audit_slack: Option<Parsed<ByteSize>>,
    metrics: Option<Parsed<MetricsAddress>>,
    metrics_textfile: Option<PathBuf>,
    log_level: Option<Parsed<LogLevel>>,
    #[serde(rename = "default")]
    all: DefaultTerms,
    client: Vec<Spanned<RuleText>>,
}

/// A value that is written as a text (or, where that is plain, as a number).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed<T>(pub(super) T);

/// What a configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) budget: Option<BudgetSpec>,
    pub(crate) allow_swap: bool,
    pub(crate) reserve_bytes: Option<u64>,
    guarded_percent: Option<u32>,
    patience_ms: Option<u32>,
    answer_ms: Option<u32>,
    clients_max: Option<u32>,
    audit_slack_bytes: Option<u64>,
    pub(crate) metrics: Option<MetricsAddress>,
    pub(crate) metrics_textfile: Option<PathBuf>,
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) rules: Rules,
}

impl Config {
    /// Reads a file.
    pub(crate) fn read(path: &Path, files: &MachineFiles) -> Result<Self, ConfigError> {
        use std::io::Read as _;
        let cannot = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(cannot)?;
        let is_file = file.metadata().map_err(cannot)?.is_file();
        if !is_file {
            // A FIFO would keep the manager waiting.
            return Err(cannot(std::io::Error::other("it is no ordinary file")));
        }
        let mut text = String::new();
        let mut limited = file.take(FILE_BYTES_MAX + 1);
        limited.read_to_string(&mut text).map_err(cannot)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(cannot(std::io::Error::other("it is longer than 1 MiB")));
        }
        Self::parse(&text, path, &users::Users::of(files))
    }

    /// Understands a text; `path` is for messages.
    fn parse(text: &str, path: &Path, users: &users::Users) -> Result<Self, ConfigError> {
        let wrong = |span: Option<std::ops::Range<usize>>, why: String| ConfigError::Wrong {
            place: Place::new(path, text, span),
            why,
        };
        let read: Text =
            toml::from_str(text).map_err(|e| wrong(e.span(), e.message().to_owned()))?;
        let positive = |value: Option<Spanned<u32>>, name: &str| match value {
            Some(value) if *value.get_ref() == 0 => Err(wrong(
                Some(value.span()),
                format!("{name} must be at least 1"),
            )),
            other => Ok(other.map(Spanned::into_inner)),
        };
        let answer_ms = positive(read.answer_ms, "answer_ms")?;
        let clients_max = positive(read.clients_max, "clients_max")?;
        let guarded_percent = match read.guarded_percent {
            Some(value) if *value.get_ref() > 100 => {
                let why = "guarded_percent must be at most 100".to_owned();
                return Err(wrong(Some(value.span()), why));
            }
            value => value.map(Spanned::into_inner),
        };
        let rules =
            Rules::of(&read.all, read.client, users).map_err(|(span, why)| wrong(span, why))?;
        Ok(Config {
            budget: read.budget.map(|parsed| parsed.0),
            allow_swap: read.allow_swap.unwrap_or(false),
            reserve_bytes: read.reserve.map(|parsed| parsed.0.0),
            guarded_percent,
            patience_ms: read.patience_ms,
            answer_ms,
            clients_max,
            audit_slack_bytes: read.audit_slack.map(|parsed| parsed.0.0),
            metrics: read.metrics.map(|parsed| parsed.0),
            metrics_textfile: read.metrics_textfile,
            log_level: read.log_level.map(|parsed| parsed.0),
            rules,
        })
    }

    /// What holds for all, with a budget in bytes. `reserve_bytes` and `guarded_percent`: instead of
    /// what is configured.
    pub(crate) fn settings(
        &self,
        budget_bytes: u64,
        reserve_bytes: Option<u64>,
        guarded_percent: Option<u32>,
    ) -> Settings {
        let usual = Settings::of_budget(budget_bytes);
        Settings {
            budget_bytes,
            reserve_bytes: reserve_bytes
                .or(self.reserve_bytes)
                .unwrap_or(usual.reserve_bytes),
            guarded_percent: guarded_percent
                .or(self.guarded_percent)
                .unwrap_or(usual.guarded_percent),
            clients_max: self.clients_max.unwrap_or(usual.clients_max),
            patience_ms: self.patience_ms.unwrap_or(usual.patience_ms),
            answer_ms: self.answer_ms.unwrap_or(usual.answer_ms),
            audit_slack_bytes: self.audit_slack_bytes.unwrap_or(usual.audit_slack_bytes),
        }
    }

    /// Whether a budget can keep what the configuration promises.
    ///
    /// # Errors
    /// [`HostError::BudgetBelow`].
    pub(crate) fn check_promises(&self, settings: &Settings) -> Result<(), HostError> {
        let mut promises = self.rules.promises();
        promises.push(("the reserve".to_owned(), settings.reserve_bytes));
        match promises
            .into_iter()
            .find(|(_, bytes)| *bytes > settings.budget_bytes)
        {
            None => Ok(()),
            Some((what, bytes)) => Err(HostError::BudgetBelow {
                what,
                bytes,
                budget_bytes: settings.budget_bytes,
            }),
        }
    }
}

/// Whether a budget is at most what there is.
///
/// # Errors
/// [`HostError::BudgetAboveMemory`], and what [`MachineFiles::memory`] says.
pub(crate) fn check_memory(
    budget_bytes: u64,
    swap: bool,
    files: &MachineFiles,
) -> Result<(), HostError> {
    let memory = files.memory()?;
    let swap_bytes = if swap { memory.swap_total_bytes } else { 0 };
    let most_bytes = memory.total_bytes.saturating_add(swap_bytes);
    match budget_bytes <= most_bytes {
        true => Ok(()),
        false => Err(HostError::BudgetAboveMemory {
            budget_bytes,
            most_bytes,
            swap,
        }),
    }
}

/// Text to a value, for [`Parsed`].
pub(super) trait FromText: Sized {
    /// What is expected, for whoever wrote something else.
    const EXPECTED: &'static str;
    fn from_text(text: &str) -> Result<Self, String>;
    fn from_number(number: u64) -> Option<Self> {
        let _ = number;
        None
    }
}

impl FromText for BudgetSpec {
    const EXPECTED: &'static str = "a budget such as \"4G\", \"25%\" or \"auto\"";
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }
    fn from_number(number: u64) -> Option<Self> {
        (number > 0).then_some(BudgetSpec::Bytes(number))
    }
}

impl FromText for ByteSize {
    const EXPECTED: &'static str = "a size such as \"256M\" or \"1.5 GiB\"";
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }
    fn from_number(number: u64) -> Option<Self> {
        Some(ByteSize(number))
    }
}

impl FromText for MetricsAddress {
    const EXPECTED: &'static str = "an address such as \"127.0.0.1:9464\" or a socket's path";
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl FromText for LogLevel {
    const EXPECTED: &'static str = "one of \"error\", \"warning\", \"info\", \"debug\"";
    fn from_text(text: &str) -> Result<Self, String> {
        LogLevel::from_name(text)
            .ok_or_else(|| format!("{text:?} is no log level; write {}", Self::EXPECTED))
    }
}

impl<'de, T: FromText> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<T: FromText> serde::de::Visitor<'_> for Visitor<T> {
            type Value = Parsed<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(T::EXPECTED)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::from_text(text).map(Parsed).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
                let unexpected =
                    || E::invalid_value(serde::de::Unexpected::Signed(number), &T::EXPECTED);
                let number = u64::try_from(number).map_err(|_| unexpected())?;
                T::from_number(number).map(Parsed).ok_or_else(unexpected)
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

impl std::str::FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') || text.starts_with("./") {
            return Ok(MetricsAddress::Unix(text.into()));
        }
        text.parse::<SocketAddr>()
            .map(MetricsAddress::Tcp)
            .map_err(|_| {
                format!(
                    "{text:?} is no address to serve metrics at; write ADDRESS:PORT such as \
                     127.0.0.1:9464 or [::1]:9464, or the path of a socket (/PATH or ./PATH)"
                )
            })
    }
}

/// What holds for a client by the default table and the first rule that fits.
impl Config {
    pub(crate) fn terms(&self, uid: u32, facets: &crate::process::Facets) -> Terms {
        self.rules.terms(uid, facets)
    }
}

#[cfg(test)]
mod tests;
