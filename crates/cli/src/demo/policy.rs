//! By which policy the workers' pools discard.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vidmm::{Builder, OldestFirst, Pool};

/// A policy by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyName {
    /// What it pays least to hold, as learned
    #[default]
    Vidmm,
    /// What is least recently used
    OldestFirst,
}

impl PolicyName {
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
    fn they_have_the_names_of_policies() {
        use vidmm::{Learned, Policy as _};

        let policies = [
            (PolicyName::Vidmm, Learned::default().name()),
            (PolicyName::OldestFirst, OldestFirst.name()),
        ];
        for (policy, name) in policies {
            assert_eq!(serde_json::to_value(policy).unwrap(), name);
            assert_eq!(
                <PolicyName as clap::ValueEnum>::from_str(name, false),
                Ok(policy)
            );
        }
    }
}
