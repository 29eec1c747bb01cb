//! What C and C++ compilers make of `include/vidmm.h` is what was measured.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use common::Row;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vidmm_abi::describe::{Form, Value};
use vidmm_abi::{D3DKMT_VIDMMESCAPETYPE, Described, STATUSES, TYPES};

const C11: [&str; 2] = ["cc", "-std=c11"];
const CPP17: [&str; 2] = ["c++", "-std=c++17"];

/// What every checking program starts with. `BITS` fills a bit field of a structure of zeros with
/// ones, and looks whether exactly those bits are set; whoever wants to see it fail changes a number.
const HEAD: &str = r#"
#include "vidmm.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
#define ASSERT(what) static_assert(what, #what)
#define ALIGN(type) alignof(type)
#else
#define ASSERT(what) _Static_assert(what, #what)
#define ALIGN(type) _Alignof(type)
#endif
#define MEMBER(type, member, offset, size) \
    ASSERT(offsetof(type, member) == offset && sizeof(((type *)0)->member) == size)

static int checks, failures;
static volatile uint64_t ones = UINT64_MAX;

static void expect_bits(const char *what, const void *value, size_t size, size_t start, size_t width)
{
    const unsigned char *bytes = (const unsigned char *)value;
    size_t bit;
    checks++;
    for (bit = 0; bit < 8 * size; bit++) {
        if (((bytes[bit / 8] >> bit % 8) & 1) != (bit >= start && bit < start + width)) {
            printf("%s: bit %u is wrong\n", what, (unsigned)bit);
            failures++;
            return;
        }
    }
}

#define BITS(type, member, offset, start, width) \
    do { \
        type value; \
        memset(&value, 0, sizeof value); \
        value.member = ones; \
        expect_bits(#type "." #member, &value, sizeof value, 8 * (offset) + (start), width); \
    } while (0)
"#;

/// A program with a check for each line of the table: at compile time, but bit fields at run time.
/// Also says how many of the former there are.
fn checking_program() -> (String, usize) {
    let (mut fixed, mut running) = (String::new(), String::new());
    for row in common::reachable().into_values().flatten() {
        let Row {
            name,
            field,
            number,
            size_bytes,
            ..
        } = &row;
        match (row.kind.as_str(), row.bits) {
            ("enumerator", _) => writeln!(fixed, "ASSERT({field} == {number});"),
            ("field", None) => writeln!(fixed, "MEMBER({name}, {field}, {number}, {size_bytes});"),
            ("field", Some((start, width))) => {
                writeln!(
                    running,
                    "    BITS({name}, {field}, {number}, {start}, {width});"
                )
            }
            _ => writeln!(fixed, "ASSERT(sizeof({name}) == {size_bytes});"),
        }
        .unwrap();
    }
    // What the table does not have; most of it is compared with another reading in `windows.rs`.
    for ty in TYPES {
        writeln!(fixed, "ASSERT(ALIGN({}) == {});", ty.name, ty.align_bytes).unwrap();
    }
    let Form::Enum(values) = D3DKMT_VIDMMESCAPETYPE::TYPE.form else {
        panic!("not an enumeration");
    };
    for Value { name, value } in values {
        writeln!(fixed, "ASSERT({name} == {value});").unwrap();
    }
    for known in STATUSES {
        let (name, status) = (known.name, known.status);
        writeln!(
            fixed,
            "ASSERT({name} == {} && NT_SUCCESS({name}) == {});",
            status.0,
            i32::from(status.is_success())
        )
        .unwrap();
    }
    fixed.push_str(
        "ASSERT(sizeof(D3DKMT_VIDMM_ESCAPE) == 1088);
MEMBER(D3DKMT_VIDMM_ESCAPE, Type, 0, 4);
MEMBER(D3DKMT_VIDMM_ESCAPE, SetFault.Value, 8, 4);
MEMBER(D3DKMT_VIDMM_ESCAPE, Evict.ResourceHandle, 8, 4);
MEMBER(D3DKMT_VIDMM_ESCAPE, Evict.AllocationHandle, 12, 4);
MEMBER(D3DKMT_VIDMM_ESCAPE, Evict.hProcess, 16, 8);
MEMBER(D3DKMT_VIDMM_ESCAPE, SetBudget.LocalMemoryBudget, 8, 8);
MEMBER(D3DKMT_VIDMM_ESCAPE, SetBudget.SystemMemoryBudget, 16, 8);
MEMBER(D3DKMT_VIDMM_ESCAPE, GetBudget.NumBytesToTrim, 8, 8);
MEMBER(D3DKMT_VIDMM_ESCAPE, Reserved, 8, 1080);
ASSERT(D3DDDI_ALLOCATIONPRIORITY_NORMAL == 0x78000000 && VIDMM_ADAPTER_LUID_LOW == 0x4D4D4456);
ASSERT(sizeof(VIDMM_ALLOCATION_DATA) == 32 && VIDMM_ALLOCATION_DATA_VERSION == 1);
MEMBER(VIDMM_ALLOCATION_DATA, Version, 0, 4);
MEMBER(VIDMM_ALLOCATION_DATA, Flags, 4, 4);
MEMBER(VIDMM_ALLOCATION_DATA, Size, 8, 8);
MEMBER(VIDMM_ALLOCATION_DATA, Alignment, 16, 8);
MEMBER(VIDMM_ALLOCATION_DATA, RebuildCostNs, 24, 8);
",
    );
    running.push_str(
        "    BITS(D3DKMT_VIDMM_ESCAPE, SetFault.NeverDiscardOfferedAllocation, 8, 13, 1);
    BITS(D3DKMT_VIDMM_ESCAPE, SetFault.AlwaysDiscardOfferedAllocation, 8, 14, 1);
",
    );
    let fixed_count = fixed.lines().count();
    let main = format!(
        "int main(void)\n{{\n{running}    printf(\"%d checks, %d failures\\n\", checks, failures);\n    \
         return failures != 0;\n}}\n"
    );
    (format!("{HEAD}\n{fixed}\n{main}"), fixed_count)
}

fn header_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include")
}

/// Compiles a program without a warning. None if there is no such compiler here.
fn compiled(compiler: [&str; 2], source: &str, directory: &Path) -> Option<PathBuf> {
    let output = tried(compiler, source, directory)?;
    assert!(
        output.status.success(),
        "{compiler:?}: {}",
        text(&output.stderr)
    );
    Some(program_path(compiler, directory))
}

fn program_path([compiler, _]: [&str; 2], directory: &Path) -> PathBuf {
    directory.join(format!("check-{compiler}"))
}

/// What a compiler makes of a program; warnings are errors. None if there is none here.
fn tried([compiler, standard]: [&str; 2], source: &str, directory: &Path) -> Option<Output> {
    let suffix = if compiler == "cc" { "c" } else { "cpp" };
    let source_path = directory.join(format!("check.{suffix}"));
    std::fs::write(&source_path, source).unwrap();
    let output = Command::new(compiler)
        .args([standard, "-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(header_directory())
        .arg(&source_path)
        .arg("-o")
        .arg(program_path([compiler, standard], directory))
        .output();
    if output.is_err() {
        println!("SKIPPED: no {compiler} here");
    }
    output.ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Compiles and runs a program that must end well, and gives back what it prints.
fn printed(compiler: [&str; 2], source: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let program_path = compiled(compiler, source, directory.path())?;
    let Output { status, stdout, .. } = Command::new(program_path).output().unwrap();
    assert!(
        status.success(),
        "{compiler:?}: {status}: {}",
        text(&stdout)
    );
    Some(text(&stdout))
}

fn check_layouts(compiler: [&str; 2]) {
    let (source, fixed_count) = checking_program();
    assert_eq!(fixed_count, 433);
    if let Some(printed) = printed(compiler, &source) {
        assert_eq!(printed, "67 checks, 0 failures\n");
    }
}

#[test]
fn a_c_compiler_lays_everything_out_as_measured() {
    check_layouts(C11);
}

#[test]
fn a_cpp_compiler_lays_everything_out_as_measured() {
    check_layouts(CPP17);
}

/// Whether the checks would notice: the same program, a number changed.
#[test]
fn a_wrong_layout_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (source, _) = checking_program();
    let right = "BITS(D3DKMT_OFFER_FLAGS, AllowDecommit, 0, 1, 1);";
    let wrong = "BITS(D3DKMT_OFFER_FLAGS, AllowDecommit, 0, 2, 1);";
    assert!(source.contains(right));
    let source = source.replace(right, wrong);
    if let Some(program_path) = compiled(C11, &source, directory.path()) {
        let output = Command::new(program_path).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("D3DKMT_OFFER_FLAGS.AllowDecommit: bit 1 is wrong"));
    }
}

/// Functions are registered as they are written, without a cast, in C and in C++; and one that takes
/// something else is not.
#[test]
fn callbacks_are_functions_of_the_program() {
    let source = r#"
#include "vidmm.h"

static UINT64 told;

#ifdef __cplusplus
extern "C" {
#endif
static void on_budget(const D3DKMT_BUDGETCHANGENOTIFICATION *change)
{
    *(UINT64 *)change->Context = change->Budget;
}

static void on_trim(D3DKMT_TRIMNOTIFICATION *trim)
{
    *(UINT64 *)trim->Context += trim->Flags.TrimToBudget ? trim->NumBytesToTrim : 1000;
}
#ifdef __cplusplus
}
#endif

int main(void)
{
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION budget = {0, on_budget, &told, 0};
    D3DKMT_REGISTERTRIMNOTIFICATION trim = {{0, 0}, 0, on_trim, &told, 0};
    D3DKMT_UNREGISTERTRIMNOTIFICATION end = {0, trim.Callback};
    D3DKMT_BUDGETCHANGENOTIFICATION change = {budget.Context, 4};
    D3DKMT_TRIMNOTIFICATION wish;
    wish.Context = trim.Context;
    wish.Flags.Value = 1u << 2;
    wish.NumBytesToTrim = 3;
    budget.Callback(&change);
    end.Callback(&wish);
    return told != 7;
}
"#;
    printed(C11, source);
    printed(CPP17, source);
    let directory = tempfile::tempdir().unwrap();
    let wrong = source.replace("on_budget, &told", "on_trim, &told");
    assert_ne!(wrong, source);
    for compiler in [C11, CPP17] {
        if let Some(output) = tried(compiler, &wrong, directory.path()) {
            assert!(!output.status.success(), "{compiler:?}: it was not noticed");
        }
    }
}

#[test]
fn older_and_newer_standards_accept_the_header() {
    let source = "#include \"vidmm.h\"\nint main(void) { return 0; }\n";
    for standard in ["-std=c99", "-std=gnu11", "-std=c17"] {
        printed(["cc", standard], source);
    }
    for standard in ["-std=c++11", "-std=gnu++14", "-std=c++20"] {
        printed(["c++", standard], source);
    }
}

/// A program that has the Windows headers' `d3dkmthk.h` gets what is vidmm's own, and the statuses
/// that it does not have, from this header; nothing is defined twice.
#[test]
fn what_is_ours_comes_beside_another_d3dkmthk_h() {
    let source = r#"
#include <stdint.h>
#define _D3DKMTHK_H_
typedef unsigned int UINT;
typedef unsigned long UINT64;
typedef int NTSTATUS;
typedef struct _LUID { UINT LowPart; int HighPart; } LUID;
#define STATUS_SUCCESS ((NTSTATUS)0)
#include "vidmm.h"

int main(void)
{
    LUID luid = {VIDMM_ADAPTER_LUID_LOW, VIDMM_ADAPTER_LUID_HIGH};
    VIDMM_ALLOCATION_DATA data = {VIDMM_ALLOCATION_DATA_VERSION, 0, 4096, 0, 1000};
    return !(NT_SUCCESS(STATUS_SUCCESS) && !NT_SUCCESS(STATUS_GRAPHICS_TOO_MANY_REFERENCES)
             && data.Version == 1 && data.Size == 4096 && luid.LowPart == 0x4D4D4456);
}
"#;
    printed(C11, source);
    printed(CPP17, source);
}
