//! C declarators: a type and a name, as C writes them.

use alloc::format;
use alloc::string::{String, ToString};

use crate::types::*;
use crate::{Btf, limits};

/// The types form a loop through arrays or prototypes, or the text would have no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooDeep;

/// Writes the text of types that end a declarator (structs, integers, typedefs).
pub(crate) trait Base {
    /// Text of a base type.
    fn base(&mut self, btf: &Btf, id: TypeId) -> Result<String, TooDeep>;
    /// Whether type tags are written as attributes.
    fn tags(&self) -> bool;
}

/// Writes `struct name`, and `struct (anon)` where there is no name.
struct Names;

impl Base for Names {
    fn base(&mut self, btf: &Btf, id: TypeId) -> Result<String, TooDeep> {
        Ok(base_name(btf, id))
    }

    fn tags(&self) -> bool {
        false
    }
}

/// Longest list of steps through types before the text counts as endless.
const MAX_STEPS: u32 = 4096;
/// Longest nesting of prototypes in parameters.
const MAX_NESTING: u32 = limits::MAX_RESOLVE_DEPTH;

impl Btf {
    /// The type as C writes it without a name: `struct event *`, `int (*)(void *, int)`.
    ///
    /// Anonymous structs are `struct (anon)`; ids that do not exist `<invalid type 7>`.
    pub fn type_string(&self, id: TypeId) -> String {
        self.decl_string(id, "")
    }

    /// A declaration: `char comm[16]` for an array and the name `comm`.
    pub fn decl_string(&self, id: TypeId, name: &str) -> String {
        declare(self, id, name, &mut Names).unwrap_or_else(|TooDeep| "<endless type>".to_string())
    }
}

/// `struct name` and the like for types that end a declarator.
pub(crate) fn base_name(btf: &Btf, id: TypeId) -> String {
    let Some(t) = btf.type_by_id(id) else {
        return format!("<invalid type {id}>");
    };
    let keyword = match t {
        Type::Void => return "void".to_string(),
        Type::Struct(_) => "struct ",
        Type::Fwd(f) if f.is_union => "union ",
        Type::Fwd(_) => "struct ",
        Type::Union(_) => "union ",
        Type::Enum(_) | Type::Enum64(_) => "enum ",
        _ => "",
    };
    match btf.name(t.name_off()) {
        "" => format!("{keyword}(anon)"),
        name => format!("{keyword}{name}"),
    }
}

/// Text of a declaration of `name`, which may be empty.
pub(crate) fn declare(
    btf: &Btf,
    id: TypeId,
    name: &str,
    base: &mut dyn Base,
) -> Result<String, TooDeep> {
    Walk { btf, base, steps: MAX_STEPS }.declare(id, name, MAX_NESTING)
}

struct Walk<'a> {
    btf: &'a Btf,
    base: &'a mut dyn Base,
    steps: u32,
}

impl Walk<'_> {
    /// Builds the text inside out: pointers in front of the name, arrays and parameters behind it.
    fn declare(&mut self, mut id: TypeId, name: &str, nesting: u32) -> Result<String, TooDeep> {
        let mut decl = name.to_string();
        let mut quals = String::new();
        let mut tags = String::new();
        let mut after_ptr = false;
        loop {
            self.steps = self.steps.checked_sub(1).ok_or(TooDeep)?;
            let t = self.btf.type_by_id(id).unwrap_or(Type::Void);
            match t {
                Type::Ptr(r) => {
                    decl = pointer(&quals, &tags, &decl);
                    (quals, tags) = (String::new(), String::new());
                    after_ptr = true;
                    id = r.ty;
                }
                Type::Const(r) => id = qualify(&mut quals, "const ", r.ty),
                Type::Volatile(r) => id = qualify(&mut quals, "volatile ", r.ty),
                Type::Restrict(r) => id = qualify(&mut quals, "restrict ", r.ty),
                Type::TypeTag(r) => {
                    if self.base.tags() {
                        tags = format!(" {}{tags}", self.attribute(&r));
                    }
                    id = r.ty;
                }
                Type::Array(a) => {
                    decl = parenthesize(decl, &mut after_ptr);
                    decl = format!("{decl}[{}]", a.nelems);
                    id = a.elem;
                }
                Type::FuncProto(p) => {
                    quals.clear();
                    let params = self.params(p, nesting.checked_sub(1).ok_or(TooDeep)?)?;
                    decl = parenthesize(decl, &mut after_ptr);
                    decl = format!("{decl}({params})");
                    id = p.ret;
                }
                Type::Func(f) => id = f.ty,
                Type::Var(v) => id = v.ty,
                _ => {
                    let base = self.base.base(self.btf, id)?;
                    let gap = if decl.is_empty() || decl.starts_with('[') { "" } else { " " };
                    return Ok(format!("{quals}{base}{tags}{gap}{decl}"));
                }
            }
        }
    }

    fn params(&mut self, proto: FuncProto<'_>, nesting: u32) -> Result<String, TooDeep> {
        if proto.is_empty() {
            return Ok("void".to_string());
        }
        let mut text = String::new();
        for (i, p) in proto.params().enumerate() {
            if i > 0 {
                text.push_str(", ");
            }
            if p.ty == 0 && i + 1 == proto.len() {
                text.push_str("...");
            } else {
                text.push_str(&self.declare(p.ty, self.btf.name(p.name_off), nesting)?);
            }
        }
        Ok(text)
    }

    fn attribute(&self, tag: &Ref) -> String {
        let value = self.btf.name(tag.name_off);
        if tag.kind_flag {
            format!("__attribute__(({value}))")
        } else {
            format!("__attribute__((btf_type_tag(\"{value}\")))")
        }
    }
}

fn qualify(quals: &mut String, word: &str, next: TypeId) -> TypeId {
    if !quals.contains(word) {
        quals.push_str(word);
    }
    next
}

fn pointer(quals: &str, tags: &str, decl: &str) -> String {
    let quals = if decl.is_empty() { quals.trim_end() } else { quals };
    let gap = if tags.is_empty() || decl.is_empty() || !quals.is_empty() { "" } else { " " };
    format!("*{tags}{gap}{quals}{decl}")
}

/// `*name` becomes `(*name)` in front of brackets or parameters.
fn parenthesize(decl: String, after_ptr: &mut bool) -> String {
    if core::mem::take(after_ptr) { format!("({decl})") } else { decl }
}
