//! What the tests of C programs share: the library as cargo builds it, and a C compiler.

// Each test program uses what it needs.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The folder that holds `libvidmm.so`, built in the profile of this test. `cargo test` builds no
/// shared library for tests to use, so this asks for it (once, and mostly it is there already).
pub(crate) fn library_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // target/PROFILE/deps/this-test
        let program = std::env::current_exe().unwrap();
        let folder = program.ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--offline",
            "--quiet",
            "-p",
            "vidmm-so",
            "--target-dir",
        ]);
        build.arg(folder.parent().unwrap()).current_dir(root());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let output = build.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(folder.join("libvidmm.so").exists());
        folder
    })
}

/// A compiler and how it is called.
#[derive(Clone, Copy)]
pub(crate) enum Language {
    C,
    Cxx,
}

/// Compiles a file (relative to the root) into a program in `folder`, against the header of the
/// repository and the library of this build. Warnings are errors.
///
/// Nothing comes back, and a line says so, where the machine has no such compiler.
pub(crate) fn compile(
    folder: &Path,
    source: &str,
    language: Language,
    flags: &[&str],
) -> Option<PathBuf> {
    let (compiler, standard) = match language {
        Language::C => ("cc", "-std=c11"),
        Language::Cxx => ("c++", "-std=c++17"),
    };
    let program = folder.join(Path::new(source).file_stem().unwrap());
    let library = library_folder();
    let compiled = Command::new(compiler)
        .args([
            standard,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-g",
            "-pthread",
        ])
        .args(flags)
        .arg("-I")
        .arg(root().join("include"))
        .arg(root().join(source))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(library)
        .arg("-lvidmm")
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .output();
    let Ok(output) = compiled else {
        skipped(&format!("no compiler {compiler} here"));
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source}: {said}");
    Some(program)
}

/// Runs a program with these variables in an environment without any of vidmm's, and says what it
/// printed. It must succeed.
pub(crate) fn run(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run_anyway(program, arguments, variables);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{}: {}\n{out}\n{err}",
        program.display(),
        output.status
    );
    out
}

/// As [`run`], whatever becomes of it.
pub(crate) fn run_anyway(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VIDMM_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// What this machine cannot do, where test logs show it.
#[allow(clippy::print_stdout)]
pub(crate) fn skipped(reason: &str) {
    println!("SKIPPED: {reason}");
}
