//! What is written about the C interface is complete, leads somewhere, and works.

// The helpers below are test code too, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Language, compile, root, run};
use vidmm_abi::describe::{Form, Type};
use vidmm_abi::functions::{Function, Takes};
use vidmm_abi::{FUNCTIONS, STATUSES};

/// What every function may answer.
const ALWAYS: [&str; 4] = [
    "STATUS_SUCCESS",
    "STATUS_INVALID_PARAMETER",
    "STATUS_DEVICE_REMOVED",
    "STATUS_UNSUCCESSFUL",
];

const C_EXAMPLE: &str = "examples/c/offer_reclaim.c";
const CXX_EXAMPLE: &str = "examples/c/offer_reclaim.cpp";

/// What this one may answer besides.
fn answers(function: &str) -> &'static [&'static str] {
    match function {
        "D3DKMTEnumAdapters2" | "D3DKMTEnumAdapters3" => {
            &["STATUS_BUFFER_TOO_SMALL", "STATUS_NO_MEMORY"]
        }
        "D3DKMTOpenAdapterFromLuid"
        | "D3DKMTCreateDevice"
        | "D3DKMTCreatePagingQueue"
        | "D3DKMTCreateAllocation"
        | "D3DKMTCreateAllocation2"
        | "D3DKMTDestroyAllocation"
        | "D3DKMTDestroyAllocation2"
        | "D3DKMTOfferAllocations"
        | "D3DKMTReclaimAllocations"
        | "D3DKMTReclaimAllocations2"
        | "D3DKMTRegisterBudgetChangeNotification"
        | "D3DKMTRegisterTrimNotification"
        | "D3DKMTShareObjects"
        | "D3DKMTQueryResourceInfoFromNtHandle"
        | "D3DKMTOpenResourceFromNtHandle" => &["STATUS_NO_MEMORY"],
        "D3DKMTLock2" => &["STATUS_GRAPHICS_TOO_MANY_REFERENCES"],
        _ => &[],
    }
}

fn folder() -> PathBuf {
    root().join("docs/d3dkmt")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn page(function: &str) -> String {
    read(&folder().join(format!("{function}.md")))
}

/// All pages, with the index.
fn pages() -> Vec<PathBuf> {
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect()
}

/// The part of a page below the heading `## name`.
fn section<'a>(text: &'a str, name: &str) -> &'a str {
    let heading = format!("\n## {name}\n");
    let from = text.find(&heading).map(|at| at + heading.len());
    let below = &text[from.unwrap_or_else(|| panic!("no section {name}"))..];
    below.split("\n## ").next().unwrap_or_default()
}

/// The members that C sees, with their offsets.
fn members(of: &Type) -> Vec<(&'static str, usize)> {
    let Form::Struct(places) = of.form else {
        panic!("{} is no structure", of.name)
    };
    let of_place = |place: &'static vidmm_abi::describe::Place| {
        place
            .members
            .iter()
            .map(|member| (member.name, place.offset_bytes))
    };
    places.iter().flat_map(of_place).collect()
}

/// Whether a line of C declares `name`, and says that it lies at `offset_bytes`.
fn declares(line: &str, name: &str, offset_bytes: usize) -> bool {
    let Some((declaration, comment)) = line.split_once(';') else {
        return false;
    };
    let declared = declaration.rsplit([' ', '*']).next();
    let offset = comment.trim().strip_prefix("/*").map(str::trim_start);
    let digits = |text: &str| {
        text.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    };
    declared == Some(name) && offset.map(digits) == Some(offset_bytes.to_string())
}

/// The statuses that a text names.
fn statuses(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("STATUS_"))
        .collect()
}

#[test]
fn each_function_has_a_page_that_shows_its_argument() {
    for function in FUNCTIONS {
        let text = page(function.name);
        assert!(
            text.starts_with(&format!("# {}\n", function.name)),
            "{}",
            function.name
        );
        let syntax = section(&text, "Syntax");
        let Some((of, is_const)) = function.takes.structure() else {
            shows_arguments(function, &text);
            continue;
        };
        let constness = if is_const { "const " } else { "" };
        let prototype = format!("NTSTATUS {}({constness}{} *);", function.name, of.name);
        assert!(syntax.contains(&prototype), "no {prototype}");
        assert!(
            syntax.lines().any(
                |line| line.starts_with(&format!("typedef struct _{} {{", of.name))
                    && line.ends_with(&format!("/* {} bytes */", of.size_bytes))
            ),
            "{}: no {} of {} bytes",
            function.name,
            of.name,
            of.size_bytes
        );
        let explained = section(&text, "Members");
        for (name, offset_bytes) in members(of) {
            assert!(
                syntax
                    .lines()
                    .any(|line| declares(line, name, offset_bytes)),
                "{}: no {name} at {offset_bytes}",
                function.name
            );
            assert!(
                explained.contains(&format!("`{name}`")),
                "{}: nothing about {name}",
                function.name
            );
        }
    }
}

/// As above, for a function that takes several arguments.
fn shows_arguments(function: &Function, text: &str) {
    let Takes::Arguments(arguments) = function.takes else {
        panic!("{} takes a structure", function.name)
    };
    let syntax = section(text, "Syntax");
    assert!(syntax.contains(&format!("NTSTATUS {}(", function.name)));
    let explained = section(text, "Arguments");
    for (name, _) in arguments {
        assert!(syntax.contains(name), "{}: no {name}", function.name);
        assert!(
            explained.contains(&format!("`{name}`")),
            "{}: nothing about {name}",
            function.name
        );
    }
}

#[test]
fn each_page_names_the_statuses_of_its_function_and_no_others() {
    for function in FUNCTIONS {
        let text = page(function.name);
        let expected: BTreeSet<&str> = ALWAYS
            .iter()
            .chain(answers(function.name))
            .copied()
            .collect();
        let rows = section(&text, "Returns")
            .lines()
            .filter(|line| line.starts_with("| `STATUS_"));
        let named = rows.filter_map(|row| row.split('`').nth(1)).collect();
        assert_eq!(expected, named, "{}", function.name);
    }
}

#[test]
fn the_index_has_every_function_and_every_status_with_its_number() {
    let index = read(&folder().join("README.md"));
    for function in FUNCTIONS {
        let row = format!("\n| [{0}]({0}.md) | ", function.name);
        assert!(index.contains(&row), "no row for {}", function.name);
    }
    let mut all: BTreeSet<&str> = FUNCTIONS
        .iter()
        .flat_map(|f| answers(f.name))
        .copied()
        .collect();
    all.extend(ALWAYS);
    for name in all {
        let known = STATUSES.iter().find(|known| known.name == name).unwrap();
        let row = format!("\n| `{name}` | `0x{:08X}` | ", known.status.code());
        assert!(index.contains(&row), "no row for {name}");
    }
}

#[test]
fn no_page_speaks_of_what_the_header_does_not_have() {
    let mut header = read(&root().join("include/vidmm.h"));
    header.push_str("STATUS_GRAPHICS_NO_VIDEO_MEMORY STATUS_PENDING");
    let known = statuses(&header);
    for path in pages() {
        let text = read(&path);
        for word in statuses(&text) {
            assert!(known.contains(word), "{}: {word}", path.display());
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("D3DKMT") || word.starts_with("VIDMM_")) {
            let variable = word.starts_with("VIDMM_") && text.contains(&format!("`{word}="));
            assert!(
                variable || header.contains(word) || word == "VIDMM_",
                "{}: {word}",
                path.display()
            );
        }
    }
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut followed = 0;
    for path in pages() {
        let text = read(&path);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                _ => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            let found = place.is_empty()
                || read(&target)
                    .lines()
                    .any(|l| l.starts_with('#') && anchor(l) == place);
            assert!(found, "{}: {link}", path.display());
            followed += 1;
        }
    }
    assert!(followed > 100, "{followed} links");
}

#[test]
fn the_readme_shows_the_c_example_whole() {
    let readme = read(&root().join("README.md"));
    let shown = readme.split("\n```c\n").nth(1).expect("an example in C");
    let shown = shown.split("```").next().unwrap_or_default();
    assert_eq!(shown, read(&root().join(C_EXAMPLE)));
    assert!(shown.lines().count() <= 40);
}

#[test]
fn the_examples_do_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let expected = [
        (C_EXAMPLE, Language::C, "intact: 7\ndiscarded, rebuilt: 7\n"),
        (
            CXX_EXAMPLE,
            Language::Cxx,
            "0 of 4 rebuilt\n1 of 4 rebuilt\n",
        ),
    ];
    for (source, language, says) in expected {
        let own = folder.path().join(Path::new(source).extension().unwrap());
        fs::create_dir(&own).unwrap();
        if let Some(program) = compile(&own, source, language, &[]) {
            assert_eq!(
                run(&program, &[], &[("VIDMM_PRESSURE", "off")]),
                says,
                "{source}"
            );
        }
    }
}
