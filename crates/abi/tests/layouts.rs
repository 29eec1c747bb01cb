//! What this crate defines is what was measured: nothing differs, nothing is missing.

#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod common;

use common::Row;
use std::collections::{BTreeMap, BTreeSet};
use vidmm_abi::describe::{BitField, BitShape, Body, Form, Member};
use vidmm_abi::{FUNCTIONS, STATUSES, TYPES, Type};

/// The types that the table does not have: vidmm's own, an escape's data, and addresses of functions,
/// of which it has the members with their sizes.
const NOT_MEASURED: [&str; 5] = [
    "D3DKMT_VIDMMESCAPETYPE",
    "D3DKMT_VIDMM_ESCAPE",
    "PFND3DKMT_BUDGETCHANGENOTIFICATIONCALLBACK",
    "PFND3DKMT_TRIMNOTIFICATIONCALLBACK",
    "VIDMM_ALLOCATION_DATA",
];

/// The lines that the table should have for a type.
fn rows(ty: &Type) -> Vec<Row> {
    let kind = match ty.form {
        Form::Enum(_) => "enum",
        Form::Bits {
            shape: BitShape::Union,
            ..
        } => "union",
        Form::Struct(_) | Form::Bits { .. } => "struct",
        Form::Callback { .. } => panic!("{} is not in the table", ty.name),
    };
    let mut lines = Lines {
        name: ty.name,
        rows: Vec::new(),
    };
    lines.push(kind, "(sizeof)", 0, ty.size_bytes, "", None);
    lines.content("", 0, ty);
    lines.rows
}

struct Lines {
    name: &'static str,
    rows: Vec<Row>,
}

impl Lines {
    fn push(
        &mut self,
        kind: &str,
        field: &str,
        number: i64,
        size_bytes: usize,
        c_type: &str,
        bits: Option<(u32, u32)>,
    ) {
        self.rows.push(Row {
            kind: kind.to_owned(),
            name: self.name.to_owned(),
            field: field.to_owned(),
            number,
            size_bytes,
            c_type: c_type.to_owned(),
            bits,
        });
    }

    fn content(&mut self, prefix: &str, base_bytes: usize, ty: &Type) {
        match ty.form {
            Form::Struct(places) => {
                for place in places {
                    for member in place.members {
                        self.member(prefix, base_bytes + place.offset_bytes, member);
                    }
                }
            }
            Form::Bits {
                shape,
                unit,
                fields,
            } => {
                let offset = i64::try_from(base_bytes).unwrap();
                for &BitField { name, start, width } in fields {
                    let (name, bits) = (format!("{prefix}{name}"), Some((start, width)));
                    self.push("field", &name, offset, ty.size_bytes, unit, bits);
                }
                if shape != BitShape::Plain {
                    let name = format!("{prefix}Value");
                    self.push("field", &name, offset, ty.size_bytes, unit, None);
                }
            }
            Form::Enum(values) => {
                for value in values {
                    self.push("enumerator", value.name, value.value.into(), 4, "", None);
                }
            }
            Form::Callback { .. } => {}
        }
    }

    fn member(&mut self, prefix: &str, offset_bytes: usize, member: &Member) {
        let c_type = match member.body {
            None => c_type(member.rust_type),
            Some(Body::Unnamed(ty)) => return self.content(prefix, offset_bytes, ty),
            Some(Body::Named(ty)) => {
                self.content(&format!("{prefix}{}.", member.name), offset_bytes, ty);
                let is_struct = matches!(ty.form, Form::Struct(_));
                if is_struct {
                    "(anon struct)"
                } else {
                    "(anon union)"
                }
                .to_owned()
            }
        };
        let offset = i64::try_from(offset_bytes).unwrap();
        let name = format!("{prefix}{}", member.name);
        self.push("field", &name, offset, member.size_bytes, &c_type, None);
    }
}

/// A type as the table spells it, which leaves `const` out.
fn c_type(rust_type: &str) -> String {
    let pointer = rust_type.strip_prefix("*mut ");
    match pointer.or(rust_type.strip_prefix("*const ")) {
        Some(target) => format!("{target}*"),
        None => match rust_type.strip_prefix('[') {
            Some(array) => array.replace("; ", "["),
            None => rust_type.to_owned(),
        },
    }
}

#[test]
fn every_type_is_as_it_was_measured_and_none_is_missing() {
    let measured = common::reachable();
    let ours: BTreeMap<&str, &Type> = TYPES.iter().map(|ty| (ty.name, *ty)).collect();
    assert_eq!(ours.len(), TYPES.len(), "a type is listed twice");

    let mut expected: BTreeSet<&str> = measured.keys().map(String::as_str).collect();
    expected.extend(NOT_MEASURED);
    assert_eq!(ours.keys().copied().collect::<BTreeSet<_>>(), expected);

    let mut counts = BTreeMap::<&str, usize>::new();
    for (name, rows_measured) in &measured {
        let (mut theirs, mut own) = (rows_measured.clone(), rows(ours[name.as_str()]));
        theirs.sort();
        own.sort();
        assert_eq!(own, theirs, "{name}");
        for row in rows_measured {
            *counts.entry(&row.kind).or_default() += 1;
        }
    }
    let counts: Vec<(&str, usize)> = counts.into_iter().collect();
    let expected_counts = [
        ("enum", 6),
        ("enumerator", 63),
        ("field", 253),
        ("struct", 45),
        ("union", 1),
    ];
    assert_eq!(counts, expected_counts);
}

#[test]
fn every_status_is_as_it_was_measured_and_none_is_missing() {
    let rows = common::layouts()
        .into_iter()
        .filter(|row| row.kind == "ntstatus");
    let measured: BTreeMap<String, i64> = rows.map(|row| (row.field, row.number)).collect();
    let ours = STATUSES
        .iter()
        .map(|it| (it.name.to_owned(), i64::from(it.status.code())));
    assert_eq!(ours.collect::<BTreeMap<_, _>>(), measured);
    assert_eq!((STATUSES.len(), measured.len()), (37, 37));
    for known in STATUSES {
        assert_eq!(known.status.is_success(), known.status.code() < 0x8000_0000);
        assert_eq!(format!("{:?}", known.status), known.name);
    }
}

#[test]
fn every_function_takes_what_libdxgs_takes() {
    let ioctls = common::ioctls();
    let (mut only_declared, mut scalars) = (Vec::new(), Vec::new());
    for function in FUNCTIONS {
        let ioctl = ioctls.get(function.name);
        let Some((argument_of_ours, is_const)) = function.takes.structure() else {
            scalars.push(function.name);
            continue;
        };
        match ioctl.and_then(|ioctl| ioctl.argument.as_ref()) {
            None => only_declared.push((function.name, argument_of_ours.name, is_const)),
            Some(argument) => {
                assert!(ioctl.is_some_and(|ioctl| ioctl.is_c_symbol));
                assert_eq!(argument_of_ours.name, argument.name, "{}", function.name);
                assert_eq!(argument_of_ours.size_bytes, argument.size_bytes);
                assert_eq!(is_const, argument.is_const, "{}", function.name);
            }
        }
    }
    // As the Windows documentation declares them; those of budget changes, as it declares their
    // addresses (`PFND3DKMT_REGISTERBUDGETCHANGENOTIFICATION`).
    let documented = [
        ("D3DKMTCreateAllocation", "D3DKMT_CREATEALLOCATION", false),
        (
            "D3DKMTRegisterBudgetChangeNotification",
            "D3DKMT_REGISTERBUDGETCHANGENOTIFICATION",
            false,
        ),
        (
            "D3DKMTUnregisterBudgetChangeNotification",
            "D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION",
            false,
        ),
        (
            "D3DKMTRegisterTrimNotification",
            "D3DKMT_REGISTERTRIMNOTIFICATION",
            false,
        ),
        (
            "D3DKMTUnregisterTrimNotification",
            "D3DKMT_UNREGISTERTRIMNOTIFICATION",
            false,
        ),
        (
            "D3DKMTReclaimAllocations",
            "D3DKMT_RECLAIMALLOCATIONS",
            true,
        ),
    ];
    assert_eq!(only_declared, documented);
    assert_eq!(scalars, ["D3DKMTShareObjects"]);
    assert_eq!(FUNCTIONS.len(), 28);
}

#[test]
fn the_header_is_what_the_descriptions_print() {
    let kept = include_str!("../../../include/vidmm.h");
    assert!(
        kept == vidmm_abi::header::print(),
        "include/vidmm.h is not up to date: \
         cargo run -p vidmm-abi --example header > include/vidmm.h"
    );
    assert!(
        !kept.contains('`') && !kept.contains("::"),
        "Rust's markup in a comment for C"
    );
    assert!(
        kept.lines()
            .all(|line| line.len() <= 100 && line == line.trim_end())
    );
}
