//! Rules: which client gets which terms.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use toml::Spanned;
use vidmm_machine::ByteSize;
use vidmm_manager::Terms;

use super::Parsed;
use super::users::Users;
use crate::process::Facets;

/// A weight is at least a hundredth and at most so much.
const WEIGHT_MAX: f64 = 10_000.0;

/// `[default]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DefaultTerms {
    weight: Option<Weight>,
    reservation: Option<Parsed<ByteSize>>,
    floor: Option<Parsed<ByteSize>>,
    cap: Option<Parsed<ByteSize>>,
}

/// `[[client]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuleText {
    user: Option<Spanned<UserText>>,
    cgroup: Option<Spanned<String>>,
    executable: Option<Spanned<PathBuf>>,
    weight: Option<Weight>,
    reservation: Option<Parsed<ByteSize>>,
    floor: Option<Parsed<ByteSize>>,
    cap: Option<Parsed<ByteSize>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a user's name in quotes, or number")]
enum UserText {
    Number(u32),
    Name(String),
}

/// In hundredths.
#[derive(Debug, Clone, Copy)]
struct Weight(u32);

/// What a problem is and where.
type Problem = (Option<Range<usize>>, String);

/// All rules; the first that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    usual: Terms,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    uid: Option<u32>,
    cgroup: Option<String>,
    executable: Option<PathBuf>,
    terms: Terms,
    /// Where it stands, counted from 1.
    number: usize,
}

impl Rules {
    pub(super) fn of(
        all: &DefaultTerms,
        clients: Vec<Spanned<RuleText>>,
        users: &Users,
    ) -> Result<Self, Problem> {
        let usual = refined(
            Terms::default(),
            all.weight,
            all.reservation,
            all.floor,
            all.cap,
        );
        check_terms(&usual).map_err(|why| (None, format!("[default]: {why}")))?;
        let mut rules = Vec::new();
        let mut known = BTreeMap::new();
        for (client, number) in clients.into_iter().zip(1..) {
            let span = client.span();
            let text = client.into_inner();
            let terms = refined(usual, text.weight, text.reservation, text.floor, text.cap);
            check_terms(&terms).map_err(|why| (Some(span.clone()), why))?;
            let rule = Rule {
                uid: text
                    .user
                    .map(|user| uid_of(user, users, &mut known))
                    .transpose()?,
                cgroup: text.cgroup.map(cgroup_of).transpose()?,
                executable: text.executable.map(executable_of).transpose()?,
                terms,
                number,
            };
            if rule.uid.is_none() && rule.cgroup.is_none() && rule.executable.is_none() {
                let why = "this rule fits everybody: give it a user, a cgroup or an executable, or \
                           write it as [default]";
                return Err((Some(span), why.to_owned()));
            }
            rules.push(rule);
        }
        Ok(Rules { usual, rules })
    }

    /// What holds for a client.
    pub(crate) fn terms(&self, uid: u32, facets: &Facets) -> Terms {
        let fits = |rule: &&Rule| rule.fits(uid, facets);
        self.rules
            .iter()
            .find(fits)
            .map_or(self.usual, |rule| rule.terms)
    }

    /// Whether any rule looks at cgroups.
    pub(crate) fn look_at_cgroups(&self) -> bool {
        self.rules.iter().any(|rule| rule.cgroup.is_some())
    }

    /// Whether any rule looks at executables.
    pub(crate) fn look_at_executables(&self) -> bool {
        self.rules.iter().any(|rule| rule.executable.is_some())
    }

    /// What is promised, in words and in bytes: each for itself, and all reservations of rules.
    pub(super) fn promises(&self) -> Vec<(String, u64)> {
        let mut promises = Vec::new();
        let all = self
            .rules
            .iter()
            .map(|rule| (format!("client rule {}", rule.number), &rule.terms));
        for (who, terms) in all.chain([("[default]".to_owned(), &self.usual)]) {
            promises.push((format!("the reservation of {who}"), terms.reservation_bytes));
            promises.push((
                format!("the floor of {who}"),
                terms.floor_bytes.unwrap_or(0),
            ));
        }
        let sum = self.rules.iter().fold(0, |sum: u64, rule| {
            sum.saturating_add(rule.terms.reservation_bytes)
        });
        promises.push(("the sum of the rules' reservations".to_owned(), sum));
        promises
    }
}

impl Rule {
    fn fits(&self, uid: u32, facets: &Facets) -> bool {
        let cgroup_fits = |wanted: &String| {
            facets
                .cgroup
                .as_deref()
                .is_some_and(|path| is_below(path, wanted))
        };
        let executable_fits = |wanted: &PathBuf| {
            facets
                .executable
                .as_deref()
                .is_some_and(|path| is_executable(path, wanted))
        };
        self.uid.is_none_or(|wanted| wanted == uid)
            && self.cgroup.as_ref().is_none_or(cgroup_fits)
            && self.executable.as_ref().is_none_or(executable_fits)
    }
}

/// `/a` has itself and `/a/b` in it, and not `/ab`.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// By the whole path, or by the last part.
fn is_executable(path: &Path, wanted: &Path) -> bool {
    match wanted.is_absolute() {
        true => path == wanted,
        false => path.file_name() == Some(wanted.as_os_str()),
    }
}

fn refined(
    usual: Terms,
    weight: Option<Weight>,
    reservation: Option<Parsed<ByteSize>>,
    floor: Option<Parsed<ByteSize>>,
    cap: Option<Parsed<ByteSize>>,
) -> Terms {
    let bytes = |parsed: Parsed<ByteSize>| parsed.0.0;
    Terms {
        weight_hundredths: weight.map_or(usual.weight_hundredths, |weight| weight.0),
        reservation_bytes: reservation.map_or(usual.reservation_bytes, bytes),
        floor_bytes: floor.map(bytes).or(usual.floor_bytes),
        cap_bytes: cap.map(bytes).or(usual.cap_bytes),
    }
}

fn check_terms(terms: &Terms) -> Result<(), String> {
    let Some(cap_bytes) = terms.cap_bytes else {
        return Ok(());
    };
    let above = [
        ("reservation", terms.reservation_bytes),
        ("floor", terms.floor_bytes.unwrap_or(0)),
    ];
    match above.into_iter().find(|(_, bytes)| *bytes > cap_bytes) {
        None => Ok(()),
        Some((what, bytes)) => Err(format!(
            "the {what} ({}) is above the cap ({}): raise the cap or lower the {what}",
            ByteSize(bytes),
            ByteSize(cap_bytes)
        )),
    }
}

fn uid_of(
    user: Spanned<UserText>,
    users: &Users,
    known: &mut BTreeMap<String, u32>,
) -> Result<u32, Problem> {
    let span = user.span();
    match user.into_inner() {
        UserText::Number(uid) => Ok(uid),
        UserText::Name(name) => match known.get(&name) {
            Some(&uid) => Ok(uid),
            None => {
                let uid = users.uid(&name).map_err(|why| (Some(span), why))?;
                known.insert(name, uid);
                Ok(uid)
            }
        },
    }
}

fn cgroup_of(text: Spanned<String>) -> Result<String, Problem> {
    match text.get_ref().starts_with('/') {
        true => Ok(text.into_inner()),
        false => Err((
            Some(text.span()),
            "a cgroup is written as /proc/PID/cgroup does, from the root: \"/user.slice\""
                .to_owned(),
        )),
    }
}

fn executable_of(text: Spanned<PathBuf>) -> Result<PathBuf, Problem> {
    let path = text.get_ref();
    match path.is_absolute() || path.components().count() == 1 {
        true => Ok(text.into_inner()),
        false => Err((
            Some(text.span()),
            "an executable is a whole path, or only the last part of one".to_owned(),
        )),
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let weight = f64::deserialize(deserializer)?;
        if !(0.01..=WEIGHT_MAX).contains(&weight) {
            return Err(D::Error::custom(format!(
                "a weight is from 0.01 to {WEIGHT_MAX}; 1 is usual"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is within its limits"
        )]
        let hundredths = (weight * 100.0).round() as u32;
        Ok(Weight(hundredths))
    }
}
