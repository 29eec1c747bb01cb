//! Values to bytes and back. Whatever bytes come, decoding ends, takes no more memory than a message
//! is long (times a small constant), and gives a value within its limits or an error.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::MESSAGE_BYTES_MAX;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than [`MESSAGE_BYTES_MAX`], in bytes.
    #[error("a message of {len_bytes} bytes: {MESSAGE_BYTES_MAX} at most")]
    TooLong {
        /// How long it is.
        len_bytes: usize,
    },
    /// It does not begin like an opening of this protocol.
    #[error("no opening of vidmm's protocol")]
    NoOpening,
    /// The bytes do not come to a value.
    #[error("no message of this protocol: {0}")]
    Malformed(postcard::Error),
    /// A list is longer than it may be.
    #[error("a list of {count} {what}: {max} at most")]
    TooMany {
        /// What is in the list.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

/// A value with limits of its own beyond its type.
pub(crate) trait Bounded {
    /// Whether every list in it is within its limit.
    fn check(&self) -> Result<(), DecodeError>;
}

/// A message as bytes. `None`: it does not fit a packet, which only a sender's own list that is
/// over its limit can cause.
#[must_use]
pub fn encode<M: Serialize>(message: &M) -> Option<Vec<u8>> {
    let bytes = postcard::to_allocvec(message).ok()?;
    (bytes.len() <= MESSAGE_BYTES_MAX).then_some(bytes)
}

/// Bytes as a message. What follows the message is a later version's and is left alone.
///
/// # Errors
/// [`DecodeError`].
#[expect(
    private_bounds,
    reason = "the messages of this crate have it, and nothing else needs it"
)]
pub fn decode<M: DeserializeOwned + Bounded>(bytes: &[u8]) -> Result<M, DecodeError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLong {
            len_bytes: bytes.len(),
        });
    }
    let (message, _later) = postcard::take_from_bytes(bytes).map_err(DecodeError::Malformed)?;
    M::check(&message)?;
    Ok(message)
}

/// Whether a list is within its limit.
pub(crate) fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), DecodeError> {
    match count <= max {
        true => Ok(()),
        false => Err(DecodeError::TooMany { what, count, max }),
    }
}
