//! The first packet in each direction. Their heads never change, so that any two versions can tell
//! each other apart.

use serde::{Deserialize, Serialize};

use crate::codec::DecodeError;
use crate::operator::OperatorRequest;
use crate::{MESSAGE_BYTES_MAX, VERSION};

/// What both openings begin with.
const MAGIC: &[u8; 6] = b"vidmm\0";

/// The first packet from whoever connects: the magic, the version (little-endian), the rest in the
/// form of that version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// A process that wants to share the budget.
    Join(Join),
    /// An operator's program, with its first request.
    Operate(OperatorRequest),
}

/// What a process says when it joins. It has let go of all credit that nothing is behind, and will
/// not read what came through a connection that it had before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// All that it holds, in bytes of charge.
    pub held_bytes: u64,
    /// What it wants reserved, in bytes.
    pub reservation_bytes: u64,
    /// The incarnation of the manager that granted what it holds; 0 is none did.
    pub incarnation: u64,
}

/// The first packet back: the magic, the lowest and the highest version served (little-endian),
/// then a welcome or a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reception {
    /// Joined.
    Welcome(Welcome),
    /// Not joined, and the connection ends.
    Refused(Refusal),
    /// To operators: served. The replies to the request follow.
    Operating,
}

/// What a process is counted at from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Which life of the manager this is; never 0.
    pub incarnation: u64,
    /// The client's charge, in bytes. Less than it holds: the rest is its debt.
    pub granted_bytes: u64,
    /// What it may use, in bytes, as [`crate::Notice::Budget`] says.
    pub budget_bytes: u64,
    /// The manager's whole budget, in bytes.
    pub whole_bytes: u64,
    /// How the manager sees the process.
    pub pid: u32,
}

/// Why somebody is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub why: WhyRefused,
    /// The same in a sentence, with what to do.
    pub text: String,
}

/// Why somebody is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyRefused {
    /// The version is not served.
    Version,
    /// As many clients or connections as there may be.
    Full,
    /// Another connection of this process has joined.
    AlreadyJoined,
    /// The manager cannot see the process (another PID namespace).
    Unseen,
    /// The user may not.
    NotAllowed,
    /// The grant cannot be recorded.
    Unrecorded,
    /// The opening is none.
    Malformed,
}

/// The versions that a manager serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The lowest.
    pub oldest: u16,
    /// The highest: its own.
    pub newest: u16,
}

impl Default for Served {
    fn default() -> Self {
        Served::by(VERSION)
    }
}

impl Served {
    /// What a manager of version `newest` serves: that and the one before (there is no version 0).
    #[must_use]
    pub fn by(newest: u16) -> Self {
        Served {
            oldest: newest.saturating_sub(1).max(1),
            newest,
        }
    }

    /// Whether a version is served.
    #[must_use]
    pub fn has(self, version: u16) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}

impl Opening {
    /// As bytes, in this version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(VERSION)
    }

    /// As bytes that claim to be of `version`.
    #[must_use]
    pub fn encode_as(&self, version: u16) -> Vec<u8> {
        let head = [&MAGIC[..], &version.to_le_bytes()].concat();
        // An opening has no lists: it is short.
        postcard::to_extend(self, head).unwrap_or_default()
    }

    /// The version that bytes claim.
    ///
    /// # Errors
    /// [`DecodeError::NoOpening`], [`DecodeError::TooLong`].
    pub fn version_of(bytes: &[u8]) -> Result<u16, DecodeError> {
        let rest = after_magic(bytes)?;
        let version = rest.first_chunk().ok_or(DecodeError::NoOpening)?;
        Ok(u16::from_le_bytes(*version))
    }

    /// Bytes of a version that is served as an opening.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = after_magic(bytes)?.get(2..).ok_or(DecodeError::NoOpening)?;
        let (opening, _later) = postcard::take_from_bytes(body).map_err(DecodeError::Malformed)?;
        Ok(opening)
    }
}

impl Reception {
    /// As bytes, from a manager that serves `served`.
    #[must_use]
    pub fn encode(&self, served: Served) -> Vec<u8> {
        let head = [
            &MAGIC[..],
            &served.oldest.to_le_bytes(),
            &served.newest.to_le_bytes(),
        ]
        .concat();
        // A refusal's text is a sentence of ours.
        postcard::to_extend(self, head).unwrap_or_default()
    }

    /// Bytes as a reception, with the versions that the manager serves. A manager that does not
    /// serve this version may say so in a form that is not known here: then the reception is
    /// `None`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<(Option<Self>, Served), DecodeError> {
        let rest = after_magic(bytes)?;
        let (versions, body) = rest
            .split_first_chunk::<4>()
            .ok_or(DecodeError::NoOpening)?;
        let served = Served {
            oldest: u16::from_le_bytes([versions[0], versions[1]]),
            newest: u16::from_le_bytes([versions[2], versions[3]]),
        };
        match postcard::take_from_bytes(body) {
            Ok((reception, _later)) => Ok((Some(reception), served)),
            Err(_) if !served.has(VERSION) => Ok((None, served)),
            Err(error) => Err(DecodeError::Malformed(error)),
        }
    }
}

fn after_magic(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLong {
            len_bytes: bytes.len(),
        });
    }
    bytes.strip_prefix(MAGIC).ok_or(DecodeError::NoOpening)
}
