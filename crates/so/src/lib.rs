//! `libvidmm.so`: what `vidmm-d3dkmt` defines, as a shared library with a C interface.
//!
//! **Owns:** the name of the file and what the linker is told (`build.rs`). **Must not know:**
//! anything else.

pub use vidmm_d3dkmt::*;
