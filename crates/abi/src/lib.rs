//! The interface of WDDM's video memory manager as data: types, statuses, functions, and the C
//! header that says the same to a C compiler.
//!
//! Every structure is defined once, in a small table next to its documentation. The table gives the
//! `#[repr(C)]` type for Rust and a [`Type`] that describes it: names, offsets, sizes, bit ranges,
//! the members of unions. [`header::print`] writes `include/vidmm.h` from the descriptions, and the
//! tests hold both to layouts that were measured elsewhere.
//!
//! ```
//! use vidmm_abi::{D3DKMT_OFFER_FLAGS, D3DKMT_OFFER_PRIORITY_LOW, D3DKMT_OFFERALLOCATIONS};
//!
//! let handles = [0x40_u32, 0x80];
//! let args = D3DKMT_OFFERALLOCATIONS {
//!     hDevice: 0xC0,
//!     HandleList: handles.as_ptr(),
//!     NumAllocations: 2,
//!     Priority: D3DKMT_OFFER_PRIORITY_LOW,
//!     Flags: D3DKMT_OFFER_FLAGS { Value: D3DKMT_OFFER_FLAGS::AllowDecommit },
//!     ..Default::default()
//! };
//! assert!(args.Flags.contains(D3DKMT_OFFER_FLAGS::AllowDecommit));
//! ```
//!
//! # How C is told in Rust
//!
//! * Names are those of the Windows headers, letter for letter.
//! * Flags are a number in a transparent structure with the field `Value` and a mask for each bit
//!   field; enumerations and [`NTSTATUS`] are transparent too. A C program may pass any value, so
//!   none of them is a Rust `enum`.
//! * The address of a function of the program's is a transparent structure with an optional
//!   function: NULL is none.
//! * Where C has a union of members at one place, Rust has one field, named after the member that
//!   is used most; its documentation names the others.
//!
//! **Owns:** what the bytes at the boundary mean. **Must not know:** what is done with them; no
//! other crate of vidmm is known here.
#![forbid(unsafe_code)]
#![allow(
    non_snake_case,
    non_camel_case_types,
    non_upper_case_globals,
    reason = "the names are those of the Windows headers"
)]

#[macro_use]
pub mod describe;
pub mod functions;
pub mod header;

mod adapter;
mod allocation;
mod basic;
mod constants;
mod create;
mod device;
mod escape;
mod memory;
mod notices;
mod offer;
mod paging;
mod share;
mod status;
mod types;

pub use adapter::*;
pub use allocation::*;
pub use basic::*;
pub use constants::*;
pub use create::*;
pub use describe::{Described, Type};
pub use device::*;
pub use escape::*;
pub use functions::FUNCTIONS;
pub use memory::*;
pub use notices::*;
pub use offer::*;
pub use paging::*;
pub use share::*;
pub use status::*;
pub use types::TYPES;
