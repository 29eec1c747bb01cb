//! The published policies that ours is compared with. One file each; each says where it is from and
//! what it does about objects of different sizes, which most papers do not speak of.

mod lru;

pub use lru::Lru;
