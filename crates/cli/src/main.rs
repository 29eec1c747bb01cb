//! The vidmm command line.
fn main() {}
