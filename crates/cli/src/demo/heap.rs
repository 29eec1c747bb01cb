//! Makes freed scratch go back to the kernel at once.
//!
//! The C library raises its threshold for separate mappings as large blocks are freed, and then
//! keeps such blocks in its heap, up to tens of MiB per thread. The demo's claim is about memory,
//! so what it frees outside vidmm must be gone for the machine too.
#![allow(unsafe_code)]

/// Blocks of so many bytes and more are mapped, and unmapped, each on its own.
#[cfg(target_env = "gnu")]
const MAPPED_FROM_BYTES: libc::c_int = 256 << 10;

/// Fixes the threshold. To be called once, before other threads exist; without effect on C
/// libraries other than glibc.
pub(crate) fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two plain numbers and changes a parameter of the allocator under the
    // allocator's own lock. A refusal leaves everything as it was, which costs memory only.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES) };
}
