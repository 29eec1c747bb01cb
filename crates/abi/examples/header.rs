//! Prints the C header: `cargo run -p vidmm-abi --example header > include/vidmm.h`.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    stdout().write_all(vidmm_abi::header::print().as_bytes())
}
