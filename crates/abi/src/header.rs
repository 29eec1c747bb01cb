//! Prints the C header from the descriptions.

use crate::basic::ALIASES;
use crate::describe::{BitField, BitShape, Body, Form, Member, Place, Type};
use crate::functions::{Function, Takes};
use crate::{CONSTANTS, Constant, FUNCTIONS, STATUSES, TYPES};

/// How wide a comment may be.
const WIDTH: usize = 96;

const HEAD: &str = "\
/*
 * The D3DKMT calls of libvidmm: offer memory, reclaim it, be told whether it was discarded.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 * Generated, do not edit: cargo run -p vidmm-abi --example header > include/vidmm.h
 *
 * Names and layouts are those of the Windows headers. A program that uses their d3dkmthk.h, or
 * libdxg's, includes that first; this header then only adds what is vidmm's own.
 */
#ifndef VIDMM_H
#define VIDMM_H

#include <stdint.h>

#if UINTPTR_MAX != UINT64_MAX
#error \"vidmm.h: pointers must have 64 bits\"
#endif

#ifdef __cplusplus
extern \"C\" {
#endif

#ifndef _D3DKMTHK_H_

";

const MIDDLE: &str = "\
#endif /* _D3DKMTHK_H_ */

/* Statuses: negative for a failure. */
#ifndef NT_SUCCESS
#define NT_SUCCESS(status) ((NTSTATUS)(status) >= 0)
#endif
";

const TAIL: &str = "
#ifdef __cplusplus
}
#endif

#endif /* VIDMM_H */
";

/// The whole header, as it is kept in `include/vidmm.h`.
#[must_use]
pub fn print() -> String {
    let mut page = Page(HEAD.to_owned());
    for alias in ALIASES {
        page.line(0, &format!("typedef {} {};", alias.c_type, alias.name));
    }
    page.line(0, "typedef int32_t NTSTATUS;");
    page.blank();
    page.comment("Allocation priorities: any number; these have names.");
    page.constants(|name| !is_ours(name));
    for ty in TYPES.iter().filter(|ty| !is_ours(ty.name)) {
        page.blank();
        page.type_definition(ty);
    }
    for function in FUNCTIONS {
        page.blank();
        page.comment(function.doc);
        page.declaration(function);
    }
    page.blank();
    page.0.push_str(MIDDLE);
    for known in STATUSES {
        let (name, code) = (known.name, known.status.code());
        page.line(0, &format!("#ifndef {name}"));
        page.line(0, &format!("#define {name} ((NTSTATUS)0x{code:08X}L)"));
        page.line(0, "#endif");
    }
    page.blank();
    page.comment("vidmm's own: the LUID of its adapter, and what it is told of an allocation.");
    page.constants(is_ours);
    for ty in TYPES.iter().filter(|ty| is_ours(ty.name)) {
        page.blank();
        page.type_definition(ty);
    }
    page.0.push_str(TAIL);
    page.0
}

fn is_ours(name: &str) -> bool {
    name.starts_with("VIDMM_")
}

/// The first paragraph of a documentation, in one line.
fn summary(doc: &[&str]) -> String {
    let lines = doc.iter().map(|line| line.trim());
    let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    first.join(" ").replace('`', "")
}

/// What stands before and after a member's name in C, from the type as Rust spells it.
fn c_type(rust_type: &str) -> (String, String) {
    if let Some(target) = rust_type.strip_prefix("*const ") {
        return (format!("const {target}*"), String::new());
    }
    if let Some(target) = rust_type.strip_prefix("*mut ") {
        return (format!("{target}*"), String::new());
    }
    let array = rust_type
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match array.and_then(|inner| inner.split_once("; ")) {
        Some((element, length)) => (element.to_owned(), format!("[{length}]")),
        None => (rust_type.to_owned(), String::new()),
    }
}

/// Whether C99 or C++ have no such type: one with unnamed members, or bit fields of 64 bits.
fn is_extension(ty: &Type) -> bool {
    match ty.form {
        Form::Enum(_)
        | Form::Callback { .. }
        | Form::Bits {
            shape: BitShape::Plain,
            ..
        } => false,
        Form::Bits { .. } => true,
        Form::Struct(places) => places.iter().any(|place| {
            place.members.len() > 1 || place.members.iter().any(|member| member.body.is_some())
        }),
    }
}

/// The text so far.
struct Page(String);

impl Page {
    fn declaration(&mut self, function: &Function) {
        let name = function.name;
        match function.takes {
            Takes::Structure { argument, is_const } => {
                let constness = if is_const { "const " } else { "" };
                let argument = argument.name;
                self.line(0, &format!("NTSTATUS {name}({constness}{argument}* args);"));
            }
            Takes::Arguments(arguments) => {
                self.line(0, &format!("NTSTATUS {name}("));
                for (place, (argument, ty)) in arguments.iter().enumerate() {
                    let (before, after) = c_type(ty);
                    let end = if place + 1 == arguments.len() {
                        ");"
                    } else {
                        ","
                    };
                    self.line(1, &format!("{before} {argument}{after}{end}"));
                }
            }
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        for _ in 0..depth {
            self.0.push_str("    ");
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn comment(&mut self, text: &str) {
        let mut line = "/*".to_owned();
        for word in text.split(' ') {
            if line.len() + 1 + word.len() > WIDTH {
                self.line(0, &line);
                line = "  ".to_owned();
            }
            line.push(' ');
            line.push_str(word);
        }
        line.push_str(" */");
        self.line(0, &line);
    }

    fn constants(&mut self, wanted: impl Fn(&str) -> bool) {
        for constant in CONSTANTS.iter().filter(|constant| wanted(constant.name)) {
            let Constant {
                name,
                value,
                is_signed,
            } = constant;
            let number = match (is_signed, value) {
                (true, _) => format!("{value}"),
                (false, 0..10) => format!("{value}u"),
                (false, _) => format!("0x{value:08X}u"),
            };
            self.line(0, &format!("#define {name} {number}"));
        }
    }

    fn type_definition(&mut self, ty: &Type) {
        self.comment(&summary(ty.doc));
        let name = ty.name;
        let keyword = match ty.form {
            Form::Callback { argument, is_const } => {
                let (constness, argument) = (if is_const { "const " } else { "" }, argument.name);
                self.line(0, &format!("typedef void (*{name})("));
                return self.line(1, &format!("{constness}{argument}* args);"));
            }
            Form::Enum(_) => "enum",
            Form::Bits {
                shape: BitShape::Union,
                ..
            } => "union",
            Form::Bits { .. } | Form::Struct(_) => "struct",
        };
        let extension = if is_extension(ty) {
            "__extension__ "
        } else {
            ""
        };
        // Windows' tags begin with an underscore; ours are the name itself.
        let underscore = if name.starts_with("VIDMM_") { "" } else { "_" };
        self.line(
            0,
            &format!("{extension}typedef {keyword} {underscore}{name} {{"),
        );
        self.content(1, ty);
        self.line(0, &format!("}} {name};"));
    }

    /// What stands between the braces of a type.
    fn content(&mut self, depth: usize, ty: &Type) {
        match ty.form {
            Form::Struct(places) => {
                for place in places {
                    self.place(depth, place);
                }
            }
            Form::Bits {
                shape: BitShape::Plain,
                unit,
                fields,
            } => {
                self.bit_fields(depth, unit, fields);
            }
            Form::Bits {
                shape: BitShape::Valued,
                unit,
                fields,
            } => {
                self.line(depth, "union {");
                self.bits_and_value(depth + 1, unit, fields);
                self.line(depth, "};");
            }
            Form::Bits {
                shape: BitShape::Union,
                unit,
                fields,
            } => {
                self.bits_and_value(depth, unit, fields);
            }
            Form::Enum(values) => {
                for value in values {
                    self.line(depth, &format!("{} = {},", value.name, value.value));
                }
            }
            // It has no braces.
            Form::Callback { .. } => {}
        }
    }

    fn place(&mut self, depth: usize, place: &Place) {
        match place.members {
            [] => {}
            [member] => self.member(depth, member),
            overlapping => {
                self.line(depth, "union {");
                for member in overlapping {
                    self.member(depth + 1, member);
                }
                self.line(depth, "};");
            }
        }
    }

    fn member(&mut self, depth: usize, member: &Member) {
        match member.body {
            None => {
                let (before, after) = c_type(member.rust_type);
                self.line(depth, &format!("{before} {}{after};", member.name));
            }
            Some(Body::Unnamed(ty)) => self.content(depth, ty),
            Some(Body::Named(ty)) => {
                let is_union = matches!(
                    ty.form,
                    Form::Bits {
                        shape: BitShape::Union,
                        ..
                    }
                );
                let keyword = if is_union { "union" } else { "struct" };
                self.line(depth, &format!("{keyword} {{"));
                self.content(depth + 1, ty);
                self.line(depth, &format!("}} {};", member.name));
            }
        }
    }

    fn bits_and_value(&mut self, depth: usize, unit: &str, fields: &[BitField]) {
        self.line(depth, "struct {");
        self.bit_fields(depth + 1, unit, fields);
        self.line(depth, "};");
        self.line(depth, &format!("{unit} Value;"));
    }

    fn bit_fields(&mut self, depth: usize, unit: &str, fields: &[BitField]) {
        for field in fields {
            self.line(depth, &format!("{unit} {} : {};", field.name, field.width));
        }
    }
}
