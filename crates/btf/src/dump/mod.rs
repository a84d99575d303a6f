//! Types as C source.
//!
//! The text compiles to the same layout: bitfields, padding and packed structs are reproduced.
//! Definitions come before their uses; pointers to what comes later get a forward declaration.

mod layout;
mod names;
mod order;

use alloc::format;
use alloc::string::{String, ToString};

use crate::declarator::{self, Base, TooDeep};
use crate::resolve::Aligns;
use crate::types::*;
use crate::{Btf, Error, Fault, limits};

use names::Names;

/// All structs, unions, enums and typedefs, like `bpftool btf dump file FILE format c` without its frame of
/// preprocessor lines. Different types of the same name are told apart as `name___2`.
///
/// # Errors
/// [`Error::Type`] for types nested too deeply, or that C cannot define in any order.
pub fn c_source(btf: &Btf) -> Result<String, Error> {
    order::Order::new(btf).all()
}

/// Definition of one type, without those it needs: `struct event {...};`, `typedef int T;`,
/// `int f(int a);`. Other types are written as [`Btf::type_string`] does.
///
/// # Errors
/// [`Error::NoSuchType`], or [`Error::Type`] for types nested too deeply.
pub fn type_def(btf: &Btf, id: TypeId) -> Result<String, Error> {
    let mut names = Names::new(btf);
    let mut budget = Budget::default();
    let mut printer = Printer { btf, names: &mut names, level: 0, budget: &mut budget };
    let deep = |TooDeep| too_deep(btf, id);
    let text = match btf.get(id)? {
        Type::Func(f) => printer.declare(f.ty, btf.name(f.name_off)).map_err(deep)?,
        Type::Var(v) => printer.declare(v.ty, btf.name(v.name_off)).map_err(deep)?,
        Type::Fwd(_) => declarator::base_name(btf, id),
        t if is_definition(&t) => return printer.definition(id).map_err(deep),
        _ => return Ok(btf.type_string(id)),
    };
    Ok(format!("{text};\n"))
}

fn too_deep(btf: &Btf, id: TypeId) -> Error {
    let kind = btf.kind(id).unwrap_or(Kind::Void);
    Error::Type { id, kind, fault: Fault::Depth { depth: limits::MAX_RESOLVE_DEPTH } }
}

/// Struct, union, enum or typedef.
fn is_definition(t: &Type<'_>) -> bool {
    matches!(
        t,
        Type::Struct(_) | Type::Union(_) | Type::Enum(_) | Type::Enum64(_) | Type::Typedef(_)
    )
}

/// Longest source in members and enumerators, several times that of a kernel's: anonymous types that are
/// written wherever they are used can grow without bound.
const MAX_LINES: u32 = 1 << 20;

/// Writes definitions; anonymous types are written where they are used.
struct Printer<'a, 'n> {
    btf: &'a Btf,
    names: &'n mut Names<'a>,
    /// Indentation.
    level: usize,
    budget: &'n mut Budget,
}

/// What is kept from one definition to the next.
struct Budget {
    /// What is left of [`MAX_LINES`].
    lines: u32,
    aligns: Aligns,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { lines: MAX_LINES, aligns: Aligns::new() }
    }
}

impl Base for Printer<'_, '_> {
    fn base(&mut self, btf: &Btf, id: TypeId) -> Result<String, TooDeep> {
        let t = btf.type_by_id(id).unwrap_or(Type::Void);
        let keyword = match t {
            Type::Struct(_) => "struct",
            Type::Union(_) => "union",
            Type::Enum(_) | Type::Enum64(_) => "enum",
            Type::Typedef(_) => return Ok(self.names.of(id)),
            _ => return Ok(declarator::base_name(btf, id)),
        };
        if btf.name(t.name_off()).is_empty() {
            let body = self.body(id)?;
            return Ok(format!("{keyword} {body}"));
        }
        Ok(format!("{keyword} {}", self.names.of(id)))
    }

    fn tags(&self) -> bool {
        true
    }
}

impl Printer<'_, '_> {
    fn declare(&mut self, id: TypeId, name: &str) -> Result<String, TooDeep> {
        let btf = self.btf;
        declarator::declare(btf, id, name, self)
    }

    /// `struct name {...};` and a line break.
    fn definition(&mut self, id: TypeId) -> Result<String, TooDeep> {
        let btf = self.btf;
        let t = btf.type_by_id(id).unwrap_or(Type::Void);
        if let Type::Typedef(r) = t {
            let name = self.names.of(id);
            // Old compilers lose what this typedef stands for.
            if r.ty == 0 && name == "__gnuc_va_list" {
                return Ok("typedef __builtin_va_list __gnuc_va_list;\n".to_string());
            }
            let text = self.declare(r.ty, &name)?;
            return Ok(format!("typedef {text};\n"));
        }
        let keyword = match t.kind() {
            Kind::Enum64 => "enum",
            kind => kind.name(),
        };
        let name = match btf.name(t.name_off()) {
            "" => String::new(),
            _ => format!(" {}", self.names.of(id)),
        };
        // C has no enum without enumerators: such a type was only declared.
        if matches!(t, Type::Enum(e) if e.is_empty()) {
            return Ok(format!("{keyword}{name};\n"));
        }
        let body = self.body(id)?;
        Ok(format!("{keyword}{name} {body};\n"))
    }

    /// The braces of a struct, union or enum and what is between them, and its attributes.
    fn body(&mut self, id: TypeId) -> Result<String, TooDeep> {
        // Containment is bounded, prototypes are not.
        if self.level > limits::MAX_RESOLVE_DEPTH as usize {
            return Err(TooDeep);
        }
        let btf = self.btf;
        let lines = match btf.type_by_id(id) {
            Some(Type::Struct(c) | Type::Union(c)) => c.len(),
            Some(Type::Enum(e)) => e.len(),
            Some(Type::Enum64(e)) => e.len(),
            _ => 0,
        };
        self.budget.lines = self.budget.lines.checked_sub(lines as u32 + 1).ok_or(TooDeep)?;
        match btf.type_by_id(id) {
            Some(t @ (Type::Struct(c) | Type::Union(c))) => {
                self.composite(id, c, t.kind() == Kind::Union)
            }
            Some(Type::Enum(e)) => {
                let attribute = match e.size {
                    1 => " __attribute__((mode(byte)))",
                    2 => " __attribute__((mode(HI)))",
                    8 => " __attribute__((mode(word)))",
                    _ => "",
                };
                Ok(self.enumerators(e.values(), |v| format!("{}", v.value)) + attribute)
            }
            Some(Type::Enum64(e)) if e.signed => {
                Ok(self.enumerators(e.values(), |v| format!("{}LL", v.value)))
            }
            Some(Type::Enum64(e)) => {
                Ok(self.enumerators(e.values(), |v| format!("{}ULL", v.value.cast_unsigned())))
            }
            _ => Err(TooDeep),
        }
    }

    fn enumerators(
        &mut self,
        values: impl Iterator<Item = Enumerator>,
        number: impl Fn(Enumerator) -> String,
    ) -> String {
        let indent = "\t".repeat(self.level);
        let mut text = String::from("{\n");
        for v in values {
            let name = self.names.of_enumerator(v.name_off);
            text.push_str(&format!("{indent}\t{name} = {},\n", number(v)));
        }
        text + &indent + "}"
    }

    fn composite(
        &mut self,
        id: TypeId,
        c: Composite<'_>,
        is_union: bool,
    ) -> Result<String, TooDeep> {
        let mut layout = layout::Layout::new(self.btf, id, c, is_union, &mut self.budget.aligns);
        let indent = "\t".repeat(self.level);
        let mut text = String::from("{\n");
        self.level += 1;
        for m in c.members() {
            for pad in layout.before(&m) {
                text.push_str(&format!("{indent}\t{pad};\n"));
            }
            let decl = self.declare(m.ty, self.btf.name(m.name_off))?;
            let width = match m.bitfield_size {
                0 => String::new(),
                bits => format!(": {bits}"),
            };
            text.push_str(&format!("{indent}\t{decl}{width};\n"));
        }
        self.level -= 1;
        for pad in layout.end() {
            text.push_str(&format!("{indent}\t{pad};\n"));
        }
        if c.is_empty() && c.size == 0 {
            text = String::from("{");
        } else {
            text.push_str(&indent);
        }
        let attribute = if layout.packed { " __attribute__((packed))" } else { "" };
        Ok(text + "}" + attribute)
    }
}
