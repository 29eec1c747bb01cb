//! Address space, extents and the return of pages to the kernel, for vidmm.
