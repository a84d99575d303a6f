//! Definitions in an order that C accepts.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::names::Names;
use super::{Budget, Printer, is_definition, too_deep};
use crate::types::*;
use crate::{Btf, Error, Fault};

/// Longest chain of definitions that wait for each other. The kernel's types need about 30.
const MAX_DEPTH: u32 = 128;
/// Longest search for what definitions need, several times that of a kernel's.
const MAX_STEPS: u32 = 1 << 22;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// What it needs is being written.
    Open,
    Defined,
}

/// How a type is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// By value: it must be complete.
    Whole,
    /// Behind a pointer, or in a prototype: a declaration is enough.
    Name,
}

pub(super) struct Order<'a> {
    btf: &'a Btf,
    names: Names<'a>,
    states: Vec<State>,
    /// Structs and unions whose `struct name;` was written.
    declared: Vec<bool>,
    /// The type whose needs are being met: its own name is in scope in it.
    owner: TypeId,
    /// Enums that are written inside of another type.
    inner: Vec<bool>,
    out: String,
    depth: u32,
    /// What is left of [`MAX_STEPS`].
    steps: u32,
    budget: Budget,
}

impl<'a> Order<'a> {
    pub(super) fn new(btf: &'a Btf) -> Order<'a> {
        let len = btf.len() as usize;
        Order {
            btf,
            names: Names::new(btf),
            states: alloc::vec![State::New; len],
            declared: alloc::vec![false; len],
            owner: 0,
            inner: alloc::vec![false; len],
            out: String::new(),
            depth: 0,
            steps: MAX_STEPS,
            budget: Budget::default(),
        }
    }

    pub(super) fn all(mut self) -> Result<String, Error> {
        self.mark_inner();
        for (id, t) in self.btf.types() {
            let named = t.name_off() != 0;
            // Anonymous enums that nothing refers to hold constants.
            let constants = t.kind().is_any_enum() && !self.inner[id as usize];
            if is_definition(&t) && (named || constants) {
                self.define(id)?;
            } else if matches!(t, Type::Fwd(_)) {
                self.declare(id);
            }
        }
        Ok(self.out)
    }

    /// Marks all that something refers to.
    fn mark_inner(&mut self) {
        for (_, t) in self.btf.types() {
            match t {
                Type::Ptr(r)
                | Type::Typedef(r)
                | Type::Volatile(r)
                | Type::Const(r)
                | Type::Restrict(r)
                | Type::TypeTag(r) => self.inner[r.ty as usize] = true,
                Type::Array(a) => self.inner[a.elem as usize] = true,
                Type::Struct(c) | Type::Union(c) => {
                    c.members().for_each(|m| self.inner[m.ty as usize] = true);
                }
                Type::FuncProto(p) => {
                    self.inner[p.ret as usize] = true;
                    p.params().for_each(|p| self.inner[p.ty as usize] = true);
                }
                _ => {}
            }
        }
    }

    /// Writes `struct name;` once, where the name is not known yet.
    fn declare(&mut self, id: TypeId) {
        let known = self.states[id as usize] == State::Defined || self.declared[id as usize];
        if known || id == self.owner {
            return;
        }
        let (keyword, name) = match self.btf.type_by_id(id) {
            Some(Type::Struct(_)) => ("struct", self.names.of(id)),
            Some(Type::Union(_)) => ("union", self.names.of(id)),
            Some(Type::Fwd(f)) if f.is_union => ("union", self.btf.type_name(id).into()),
            Some(Type::Fwd(_)) => ("struct", self.btf.type_name(id).into()),
            _ => return,
        };
        self.declared[id as usize] = true;
        self.out.push_str(&format!("{keyword} {name};\n\n"));
    }

    /// Writes a definition after all that it needs.
    fn define(&mut self, id: TypeId) -> Result<(), Error> {
        let Some(t) = self.btf.type_by_id(id) else { return Ok(()) };
        match self.states[id as usize] {
            State::Defined => return Ok(()),
            State::Open => {
                return Err(Error::Type { id, kind: t.kind(), fault: Fault::Loop });
            }
            State::New => {}
        }
        self.states[id as usize] = State::Open;
        let outer = core::mem::replace(&mut self.owner, id);
        self.needs(&t)?;
        self.owner = outer;
        self.states[id as usize] = State::Defined;
        // The compiler knows this one, and differently on each machine.
        if self.btf.name(t.name_off()) == "__builtin_va_list" {
            return Ok(());
        }
        let (names, budget) = (&mut self.names, &mut self.budget);
        let mut printer = Printer { btf: self.btf, names, level: 0, budget };
        let text = printer.definition(id).map_err(|_| too_deep(self.btf, id))?;
        self.out.push_str(&text);
        self.out.push('\n');
        Ok(())
    }

    /// What must be written before the definition of `t`.
    fn needs(&mut self, t: &Type<'_>) -> Result<(), Error> {
        match *t {
            Type::Struct(c) | Type::Union(c) => {
                c.members().try_for_each(|m| self.require(m.ty, Use::Whole))
            }
            Type::Typedef(r) => self.require(r.ty, Use::Name),
            _ => Ok(()),
        }
    }

    /// Writes what the use of a type needs.
    fn require(&mut self, id: TypeId, how: Use) -> Result<(), Error> {
        if self.depth >= MAX_DEPTH || self.steps == 0 {
            return Err(too_deep(self.btf, id));
        }
        self.steps -= 1;
        self.depth += 1;
        let result = self.require_deeper(id, how);
        self.depth -= 1;
        result
    }

    fn require_deeper(&mut self, id: TypeId, how: Use) -> Result<(), Error> {
        let Some(t) = self.btf.type_by_id(id) else { return Ok(()) };
        let anonymous = t.name_off() == 0;
        match t {
            Type::Ptr(r) => self.require(r.ty, Use::Name),
            Type::Const(r) | Type::Volatile(r) | Type::Restrict(r) | Type::TypeTag(r) => {
                self.require(r.ty, how)
            }
            // C wants complete elements, whatever points to the array.
            Type::Array(a) => self.require(a.elem, Use::Whole),
            Type::FuncProto(p) => {
                self.require(p.ret, Use::Name)?;
                p.params().try_for_each(|p| self.require(p.ty, Use::Name))
            }
            Type::Struct(_) | Type::Union(_) if anonymous => self.needs(&t),
            Type::Struct(_) | Type::Union(_) if how == Use::Name => {
                self.declare(id);
                Ok(())
            }
            Type::Fwd(_) => {
                self.declare(id);
                Ok(())
            }
            Type::Enum(_) | Type::Enum64(_) if anonymous => Ok(()),
            Type::Typedef(r) => {
                if how == Use::Whole {
                    self.require(r.ty, how)?;
                }
                match self.states[id as usize] {
                    State::Open if how == Use::Name => Ok(()),
                    _ => self.define(id),
                }
            }
            _ if is_definition(&t) => self.define(id),
            _ => Ok(()),
        }
    }
}
