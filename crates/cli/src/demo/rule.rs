//! By which rule the workers' pools discard.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vidmm::{Builder, OldestFirst, Pool};

/// A policy by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    /// What it pays least to hold, as learned
    #[default]
    Vidmm,
    /// What is least recently used
    OldestFirst,
}

impl Rule {
    /// A builder of pools that discard so.
    pub(crate) fn builder(self) -> Builder {
        match self {
            Self::Vidmm => Pool::builder(),
            Self::OldestFirst => Pool::builder().policy(Arc::new(OldestFirst)),
        }
    }

    /// What the report calls memory that is discarded so.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Vidmm => "vidmm: offered memory under one budget",
            Self::OldestFirst => "vidmm, oldest first: offered memory under one budget",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_the_names_of_policies() {
        use vidmm::{Learned, Policy as _};

        let policies = [
            (Rule::Vidmm, Learned::default().name()),
            (Rule::OldestFirst, OldestFirst.name()),
        ];
        for (rule, name) in policies {
            assert_eq!(serde_json::to_value(rule).unwrap(), name);
            assert_eq!(<Rule as clap::ValueEnum>::from_str(name, false), Ok(rule));
        }
    }
}
