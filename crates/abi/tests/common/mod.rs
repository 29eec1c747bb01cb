//! The measured tables, read.
//!
//! `tests/data/d3dkmt-layouts.csv` says what a compiler made of libdxg's headers: sizes, offsets, bit
//! ranges, enumerators, statuses. `tests/data/d3dkmt-ioctls.csv` lists that library's functions.

#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;

/// A line of the table of layouts. Bits are `(lowest, how many)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) field: String,
    pub(crate) number: i64,
    pub(crate) size_bytes: usize,
    pub(crate) c_type: String,
    pub(crate) bits: Option<(u32, u32)>,
}

/// The cells of a CSV file, without its head.
fn cells(text: &str) -> Vec<Vec<String>> {
    let line_cells = |line: &str| {
        let (mut cells, mut is_quoted) = (vec![String::new()], false);
        for letter in line.chars() {
            match letter {
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => cells.push(String::new()),
                _ => cells.last_mut().unwrap().push(letter),
            }
        }
        cells
    };
    text.lines().skip(1).map(line_cells).collect()
}

fn number(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
        None if text.is_empty() => 0,
        None => text.parse().unwrap(),
    }
}

/// The table of layouts.
pub(crate) fn layouts() -> Vec<Row> {
    let row = |cells: Vec<String>| {
        let [kind, name, field, value, size, c_type, bits, ..] = &cells[..] else {
            panic!("a line of {} cells", cells.len());
        };
        let bits = bits.strip_prefix("bit").map(|range| {
            let (start, width) = range.split_once(':').unwrap();
            (start.parse().unwrap(), width.parse().unwrap())
        });
        Row {
            kind: kind.clone(),
            name: name.clone(),
            field: field.clone(),
            number: number(value),
            size_bytes: size.parse().unwrap(),
            c_type: c_type.clone(),
            bits,
        }
    };
    cells(include_str!("../data/d3dkmt-layouts.csv"))
        .into_iter()
        .map(row)
        .collect()
}

/// The measured types that can be reached from the arguments of the functions, each with its lines.
pub(crate) fn reachable() -> BTreeMap<String, Vec<Row>> {
    let mut measured = BTreeMap::<String, Vec<Row>>::new();
    for row in layouts().into_iter().filter(|row| row.kind != "ntstatus") {
        measured.entry(row.name.clone()).or_default().push(row);
    }
    let arguments = vidmm_abi::FUNCTIONS.iter();
    let structures = arguments.filter_map(|it| it.takes.structure());
    let mut wanted: Vec<String> = structures.map(|(of, _)| of.name.to_owned()).collect();
    let mut reached = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if let Some(argument) = argument_of_callback(&name) {
            wanted.push(argument.to_owned());
            continue;
        }
        // What is not in the table is a plain C type, an anonymous one, or reached already.
        let Some(rows) = measured.remove(&name) else {
            continue;
        };
        for row in rows.iter().filter(|row| row.kind == "field") {
            let target = row.c_type.trim_end_matches('*');
            wanted.push(target.split('[').next().unwrap().to_owned());
        }
        reached.insert(name, rows);
    }
    reached
}

/// What a function of the program's is given. The table has of such a type only its name, where a
/// member has it.
fn argument_of_callback(name: &str) -> Option<&'static str> {
    let known = vidmm_abi::TYPES.iter().find(|ty| ty.name == name)?;
    match known.form {
        vidmm_abi::describe::Form::Callback { argument, .. } => Some(argument.name),
        _ => None,
    }
}

/// A function of libdxg's; without an argument if the library declares it and has none.
#[derive(Debug)]
pub(crate) struct Ioctl {
    pub(crate) argument: Option<Argument>,
    pub(crate) is_c_symbol: bool,
}

/// What a function of libdxg's takes.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) size_bytes: usize,
    pub(crate) is_const: bool,
}

/// The table of functions, by name.
pub(crate) fn ioctls() -> BTreeMap<String, Ioctl> {
    let ioctl = |cells: Vec<String>| {
        let [name, _, _, _, size, _, argument, constness, _, linkage] = &cells[..] else {
            panic!("a line of {} cells", cells.len());
        };
        let argument = (!argument.is_empty()).then(|| Argument {
            name: argument.clone(),
            size_bytes: size.parse().unwrap(),
            is_const: constness == "const*",
        });
        let is_c_symbol = linkage == "C";
        (
            name.clone(),
            Ioctl {
                argument,
                is_c_symbol,
            },
        )
    };
    cells(include_str!("../data/d3dkmt-ioctls.csv"))
        .into_iter()
        .map(ioctl)
        .collect()
}
