//! What the linker must know of `libvidmm.so`.

fn main() {
    // The interface is Windows': it grows and does not change, so the name carries no number.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libvidmm.so");
    // Its agent's thread and its `fork` handlers live as long as the process.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
