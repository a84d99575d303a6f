//! Open enums: a number that may have a name.

/// Declares a `u32` newtype with named constants, `name()`, `from_name()`, `Display` and `ALL`.
/// An unknown number stays representable: newer kernels add values.
#[macro_export]
macro_rules! newtype_consts {
    (
        $(#[$meta:meta])*
        pub struct $name:ident, prefix $prefix:literal {
            $( $(#[$vmeta:meta])* $variant:ident = $value:expr, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub u32);

        impl $name {
            $( $(#[$vmeta])* pub const $variant: $name = $name($value); )*

            /// Every named value with its name (without the kernel's prefix), in numeric order.
            pub const ALL: &'static [($name, &'static str)] =
                &[ $( ($name::$variant, stringify!($variant)), )* ];

            /// The kernel's prefix of these names.
            pub const PREFIX: &'static str = $prefix;

            /// The name without the kernel's prefix, `None` for a number that has none here.
            pub fn name(self) -> Option<&'static str> {
                Self::ALL.iter().find(|(v, _)| *v == self).map(|(_, n)| *n)
            }

            /// The value of a name, with or without the kernel's prefix.
            pub fn from_name(name: &str) -> Option<$name> {
                let name = name.strip_prefix($prefix).unwrap_or(name);
                Self::ALL.iter().find(|(_, n)| *n == name).map(|(v, _)| *v)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}
