//! The published policies that ours is compared with. One file each; each says where it is from and
//! what it does about objects of different sizes, which most papers do not speak of.
//!
//! Common to all: everything is weighed in bytes; whatever is not larger than the cache can come in,
//! unless the policy's page says otherwise; a segment's share of the bytes is rounded down.

mod arc;
mod clock;
mod fifo;
mod gdsf;
mod heap;
mod lecar;
mod lhd;
mod lirs;
mod list;
mod list_more;
mod lru;
mod random;
mod s3_fifo;
mod sieve;
mod sketch;
mod slru;
mod two_q;
mod w_tinylfu;

pub use arc::Arc;
pub use clock::Clock;
pub use fifo::Fifo;
pub use gdsf::Gdsf;
pub use lecar::LeCaR;
pub use lhd::Lhd;
pub use lirs::Lirs;
pub use lru::Lru;
pub use random::Random;
pub use s3_fifo::S3Fifo;
pub use sieve::Sieve;
pub use slru::Slru;
pub use two_q::TwoQ;
pub use w_tinylfu::WTinyLfu;

/// So many hundredths of so many bytes, rounded down.
#[allow(clippy::cast_possible_truncation, reason = "not more than `bytes`")]
fn share(bytes: u64, percent: u8) -> u64 {
    (u128::from(bytes) * u128::from(percent.min(100)) / 100) as u64
}
