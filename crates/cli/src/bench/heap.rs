//! Empties the C library's heap of what was freed, so that memory counted before and after something
//! differs by what that something took.
#![allow(unsafe_code)]

/// Gives all that was freed back to the kernel. Without effect on C libraries other than glibc.
pub(crate) fn give_back_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a plain number and works on free memory only, under the allocator's locks.
    let _ = unsafe { libc::malloc_trim(0) };
}
