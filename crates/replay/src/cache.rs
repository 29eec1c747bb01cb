//! What every policy under comparison is: a cache of so many bytes.

use crate::{ObjectId, Request};

/// What a request found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was there.
    Hit,
    /// It was not, and had to be rebuilt; whether it was kept is the policy's business.
    Miss,
}

/// A policy with its cache. It sees each request once, in order, and nothing of what is to come.
pub trait Cache: Send {
    /// Serves a request. The caller has seen to it that the object is not larger than the cache.
    fn request(&mut self, request: Request) -> Outcome;

    /// Whether an object is in the cache.
    fn contains(&self, object: ObjectId) -> bool;

    /// The bytes in the cache: at most its size after every request.
    fn used_bytes(&self) -> u64;
}
