//! Values as text: `{pid: 12, comm: "ls"}`.

use core::fmt::{self, Display, Formatter};

use super::Value;

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(v) => write!(f, "{v}"),
            Value::UInt(v) => write!(f, "{v}"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::Char(c) if c.is_ascii_graphic() || *c == b' ' => {
                write!(f, "{:?}", char::from(*c))
            }
            Value::Char(c) => write!(f, "{c}"),
            Value::Float(v) => write!(f, "{v}"),
            Value::Enum { name: Some(name), .. } => f.write_str(name),
            Value::Enum { name: None, val } => write!(f, "{val}"),
            Value::Ptr(v) => write!(f, "{v:#x}"),
            Value::Array(elems) => list(f, ['[', ']'], elems, |f, elem| write!(f, "{elem}")),
            Value::Struct(members) => list(f, ['{', '}'], members, |f, (name, value)| {
                let name = if name.is_empty() { "(anon)" } else { name };
                write!(f, "{name}: {value}")
            }),
            Value::Str(s) => write!(f, "{s:?}"),
            Value::Bytes(bytes) => list(f, ['<', '>'], bytes, |f, b| write!(f, "{b:02x}")),
            Value::Missing => f.write_str("<truncated>"),
        }
    }
}

fn list<T>(
    f: &mut Formatter<'_>,
    [open, close]: [char; 2],
    items: &[T],
    item: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    let gap = if open == '<' { " " } else { ", " };
    write!(f, "{open}")?;
    for (i, it) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(gap)?;
        }
        item(f, it)?;
    }
    write!(f, "{close}")
}
