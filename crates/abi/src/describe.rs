//! What a type looks like to C, and the macros that make the Rust type and this from one table.

/// Types that describe themselves.
pub trait Described {
    /// What the type looks like to C.
    const TYPE: Type;
}

/// A structure, union, enumeration or the address of a function.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// Its C name; of a type that C writes out in its one place: a name of ours.
    pub name: &'static str,
    /// What it is, in lines as they were written; the first paragraph is for the header.
    pub doc: &'static [&'static str],
    /// Its size in bytes.
    pub size_bytes: usize,
    /// Its alignment in bytes.
    pub align_bytes: usize,
    /// What it is made of.
    pub form: Form,
}

/// What a type is made of.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Places, one after the other.
    Struct(&'static [Place]),
    /// Bit fields of one number.
    Bits {
        /// How C wraps them.
        shape: BitShape,
        /// The C type of the number.
        unit: &'static str,
        /// The fields, from the lowest bit.
        fields: &'static [BitField],
    },
    /// Named numbers.
    Enum(&'static [Value]),
    /// The address of a function of the program's, which returns nothing.
    Callback {
        /// What its one argument points to.
        argument: &'static Type,
        /// Whether that is `const` in C.
        is_const: bool,
    },
}

/// How C wraps bit fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitShape {
    /// A structure of bit fields and nothing else.
    Plain,
    /// A structure with a union of the bit fields and `Value`, the number as a whole.
    Valued,
    /// A union of the bit fields and `Value`.
    Union,
}

/// A place in a structure: one field of the Rust type.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The field's name in Rust.
    pub field: &'static str,
    /// Where it starts, in bytes.
    pub offset_bytes: usize,
    /// What C has there: one member, or several that overlap. None for a field that only fills, in
    /// Rust, what a wider member of the place before covers.
    pub members: &'static [Member],
}

/// A member of a C structure.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its type as Rust spells it: `UINT`, `*const VOID`, `[UINT64; 135]`.
    pub rust_type: &'static str,
    /// Its size in bytes.
    pub size_bytes: usize,
    /// The type written out in place, if C has no name for it.
    pub body: Option<Body>,
}

/// A type written out where it is used.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// Its members are reached through the member's name.
    Named(&'static Type),
    /// Its members are members of the structure around it.
    Unnamed(&'static Type),
}

/// A bit field.
#[derive(Debug, Clone, Copy)]
pub struct BitField {
    /// Its name.
    pub name: &'static str,
    /// Its lowest bit.
    pub start: u32,
    /// How many bits it has.
    pub width: u32,
}

/// A named number of an enumeration.
#[derive(Debug, Clone, Copy)]
pub struct Value {
    /// Its name.
    pub name: &'static str,
    /// The number.
    pub value: i32,
}

/// Defines a structure: `pub field: Type`, and after it, where C differs,
/// `=> Named` or `=> Unnamed` for a type written out in place, or
/// `= [member: Type, ..]` for what C has at this place (nothing: `= []`).
macro_rules! structure {
    ($(#[doc = $doc:literal])* pub struct $name:ident {
        $(
            $(#[doc = $field_doc:literal])*
            pub $field:ident : $ty:ty $(=> $how:ident)?
                $(= [$($member:ident : $member_ty:ty $(=> $member_how:ident)?),* $(,)?])?
        ),+ $(,)?
    }) => {
        $(#[doc = $doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $ty,)+
        }

        impl $crate::describe::Described for $name {
            const TYPE: $crate::describe::Type = $crate::describe::Type {
                name: stringify!($name),
                doc: &[$($doc),*],
                size_bytes: size_of::<$name>(),
                align_bytes: align_of::<$name>(),
                form: $crate::describe::Form::Struct(&[$(
                    $crate::describe::Place {
                        field: stringify!($field),
                        offset_bytes: core::mem::offset_of!($name, $field),
                        members: structure!(@members $field, $ty $(, => $how)?
                            $(, = [$($member, $member_ty $(, $member_how)?);*])?),
                    }
                ),+]),
            };
        }
    };
    (@members $field:ident, $ty:ty) => { &[structure!(@member $field, $ty)] };
    (@members $field:ident, $ty:ty, => $how:ident) => { &[structure!(@member $field, $ty, $how)] };
    (@members $field:ident, $ty:ty, =
        [$($member:ident, $member_ty:ty $(, $how:ident)?);*]) => {
        &[$(structure!(@member $member, $member_ty $(, $how)?)),*]
    };
    (@member $name:ident, $ty:ty $(, $how:ident)?) => {
        $crate::describe::Member {
            name: stringify!($name),
            rust_type: stringify!($ty),
            size_bytes: size_of::<$ty>(),
            body: structure!(@body $ty $(, $how)?),
        }
    };
    (@body $ty:ty) => { None };
    (@body $ty:ty, $how:ident) => {
        Some($crate::describe::Body::$how(&<$ty as $crate::describe::Described>::TYPE))
    };
}

/// Defines flags: a shape of [`BitShape`], the name, the number's type, and for each bit field
/// `Name: lowest bit, width`.
macro_rules! flags {
    ($(#[doc = $doc:literal])* pub $shape:ident $name:ident : $unit:ident {
        $($(#[doc = $bit_doc:literal])* $bit:ident : $start:literal, $width:literal;)+
    }) => {
        $(#[doc = $doc])*
        #[repr(transparent)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name {
            /// All the bits as a number.
            pub Value: $unit,
        }

        impl $name {
            $(
                $(#[doc = $bit_doc])*
                #[doc = ""]
                #[doc = concat!("The mask of bit ", $start, " and up, ", $width, " wide.")]
                pub const $bit: $unit = (<$unit>::MAX >> (<$unit>::BITS - $width)) << $start;
            )+

            /// Whether all bits of `mask` are set.
            #[must_use]
            pub const fn contains(self, mask: $unit) -> bool {
                self.Value & mask == mask
            }

            /// Whether no bit outside `mask` is set.
            #[must_use]
            pub const fn is_within(self, mask: $unit) -> bool {
                self.Value & !mask == 0
            }
        }

        impl $crate::describe::Described for $name {
            const TYPE: $crate::describe::Type = $crate::describe::Type {
                name: stringify!($name),
                doc: &[$($doc),*],
                size_bytes: size_of::<$name>(),
                align_bytes: align_of::<$name>(),
                form: $crate::describe::Form::Bits {
                    shape: $crate::describe::BitShape::$shape,
                    unit: stringify!($unit),
                    fields: &[$($crate::describe::BitField {
                        name: stringify!($bit),
                        start: $start,
                        width: $width,
                    }),+],
                },
            };
        }
    };
}

/// Defines an enumeration: `NAME = number`.
macro_rules! enumeration {
    ($(#[doc = $doc:literal])* pub enum $name:ident {
        $($(#[doc = $value_doc:literal])* $value:ident = $number:literal),+ $(,)?
    }) => {
        $(#[doc = $doc])*
        #[repr(transparent)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(
            /// The number; any may come from C.
            pub i32,
        );

        $(
            $(#[doc = $value_doc])*
            #[doc = ""]
            #[doc = concat!("The value ", $number, " of [`", stringify!($name), "`].")]
            pub const $value: $name = $name($number);
        )+

        impl $crate::describe::Described for $name {
            const TYPE: $crate::describe::Type = $crate::describe::Type {
                name: stringify!($name),
                doc: &[$($doc),*],
                size_bytes: size_of::<$name>(),
                align_bytes: align_of::<$name>(),
                form: $crate::describe::Form::Enum(&[$($crate::describe::Value {
                    name: stringify!($value),
                    value: $number,
                }),+]),
            };
        }
    };
}

/// Defines the address of a function of the program's: the name, and what the one argument points
/// to.
macro_rules! callback {
    ($(#[doc = $doc:literal])* pub type $name:ident = fn(*$constness:ident $argument:ident)) => {
        $(#[doc = $doc])*
        #[repr(transparent)]
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name(
            /// The function; NULL is none.
            pub Option<unsafe extern "C" fn(*$constness $argument)>,
        );

        impl $name {
            /// Where the function is; 0 is none.
            #[must_use]
            pub fn address(self) -> usize {
                self.0.map_or(0, |function| function as usize)
            }
        }

        /// Two are equal if they are at the same address.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.address() == other.address()
            }
        }

        impl Eq for $name {}

        impl $crate::describe::Described for $name {
            const TYPE: $crate::describe::Type = $crate::describe::Type {
                name: stringify!($name),
                doc: &[$($doc),*],
                size_bytes: size_of::<$name>(),
                align_bytes: align_of::<$name>(),
                form: $crate::describe::Form::Callback {
                    argument: &<$argument as $crate::describe::Described>::TYPE,
                    is_const: callback!(@$constness),
                },
            };
        }
    };
    (@const) => { true };
    (@mut) => { false };
}
