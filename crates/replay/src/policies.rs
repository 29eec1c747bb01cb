//! All policies by name.

use crate::{Cache, MOST_BYTES, Vidmm, peers};

/// What a policy is built from.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The size of its cache, in bytes.
    pub size_bytes: u64,
    /// How many different objects there will be: a hint for tables, not knowledge of the future that
    /// a policy may decide by, except where it is published with one.
    pub objects: usize,
    /// For those that draw lots.
    pub seed: u64,
}

/// A row of the table of policies.
struct Row {
    name: &'static str,
    build: fn(Setting) -> Box<dyn Cache>,
}

const fn row(name: &'static str, build: fn(Setting) -> Box<dyn Cache>) -> Row {
    Row { name, build }
}

/// Those that see only the past, in the order in which tables show them.
static ONLINE: &[Row] = &[
    row("random", |s| {
        Box::new(peers::Random::new(s.size_bytes, s.seed))
    }),
    row("fifo", |s| Box::new(peers::Fifo::new(s.size_bytes))),
    row("clock", |s| Box::new(peers::Clock::new(s.size_bytes))),
    row("lru", |s| Box::new(peers::Lru::new(s.size_bytes))),
    row("slru", |s| Box::new(peers::Slru::new(s.size_bytes))),
    row("2q", |s| Box::new(peers::TwoQ::new(s.size_bytes))),
    row("arc", |s| Box::new(peers::Arc::new(s.size_bytes))),
    row("lirs", |s| Box::new(peers::Lirs::new(s.size_bytes))),
    row("sieve", |s| Box::new(peers::Sieve::new(s.size_bytes))),
    row("s3-fifo", |s| Box::new(peers::S3Fifo::new(s.size_bytes))),
    row("w-tinylfu", |s| {
        Box::new(peers::WTinyLfu::new(s.size_bytes))
    }),
    row("lecar", |s| {
        Box::new(peers::LeCaR::new(s.size_bytes, s.seed))
    }),
    row("gdsf", |s| Box::new(peers::Gdsf::new(s.size_bytes))),
    row("lhd", |s| Box::new(peers::Lhd::new(s.size_bytes, s.seed))),
    row("vidmm", |s| Box::new(Vidmm::new(s.size_bytes))),
];

const BELADY: &str = "belady";

/// A policy that sees only the past. Chosen by name.
#[derive(Clone, Copy)]
pub struct Online(&'static Row);

impl Online {
    /// All of them, in the order in which tables show them.
    pub fn all() -> impl Iterator<Item = Online> {
        ONLINE.iter().map(Online)
    }

    /// The name that it is chosen by.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// A cache of its own, empty. A size above [`MOST_BYTES`] counts as that.
    #[must_use]
    pub fn build(self, size_bytes: u64, objects: usize, seed: u64) -> Box<dyn Cache> {
        (self.0.build)(Setting {
            size_bytes: size_bytes.min(MOST_BYTES),
            objects,
            seed,
        })
    }
}

impl std::fmt::Debug for Online {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Online {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Online {}

/// Whatever `vidmm replay` can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Sees only the past: replay it.
    Online(Online),
    /// Sees all that is to come: [`belady()`](crate::belady()) does it.
    Belady,
}

impl Policy {
    /// All of them, in the order in which tables show them.
    pub fn all() -> impl Iterator<Item = Policy> {
        Online::all()
            .map(Policy::Online)
            .chain(std::iter::once(Policy::Belady))
    }

    /// The name that it is chosen by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Policy::Online(online) => online.name(),
            Policy::Belady => BELADY,
        }
    }
}

impl std::str::FromStr for Policy {
    type Err = UnknownPolicy;

    /// Upper and lower case are one.
    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Policy::all()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownPolicy {
                name: name.to_owned(),
            })
    }
}

/// There is no policy of that name. Says which there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPolicy {
    name: String,
}

impl std::fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = Policy::all().map(Policy::name).collect();
        write!(
            f,
            "there is no policy `{}`; there are {}",
            self.name,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownPolicy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_means_one_policy() {
        for policy in Policy::all() {
            assert_eq!(policy.name().parse(), Ok(policy));
            assert_eq!(policy.name().to_uppercase().parse(), Ok(policy));
            let bearers = Policy::all().filter(|other| other.name() == policy.name());
            assert_eq!(bearers.count(), 1, "{policy:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_known() {
        let error = "lfu".parse::<Policy>().unwrap_err().to_string();
        assert!(error.contains("`lfu`"), "{error}");
        assert!(
            Policy::all().all(|policy| error.contains(policy.name())),
            "{error}"
        );
    }
}
