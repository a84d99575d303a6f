//! Refusal of types that contain themselves.
//!
//! Two relations must be free of loops (`env_type_is_resolve_sink` of kernel/bpf/btf.c): pointers and
//! modifiers among themselves, and containment by value through modifiers, arrays and structs. Together
//! with the limit on their depth this lets everything else recurse without worry.

use alloc::vec::Vec;

use crate::types::*;
use crate::{Btf, Error, Fault, limits};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    /// With the number of types on its longest path, itself included.
    Done(u32),
}

/// One type on the path, and which of its references comes next.
struct Frame {
    id: TypeId,
    next: usize,
    /// The longest path below it, as far as known.
    below: u32,
}

/// A relation: the `n`th type that this one depends on, or `None` after the last.
type Successor = fn(&Type<'_>, usize) -> Option<TypeId>;

/// Checks both relations from every own type.
pub(crate) fn check(btf: &Btf) -> Result<(), Error> {
    walk(btf, chain)?;
    walk(btf, contains)
}

/// Pointers, typedefs and modifiers.
fn chain(t: &Type<'_>, n: usize) -> Option<TypeId> {
    match t {
        Type::Ptr(r) if n == 0 => Some(r.ty),
        _ => by_name(t, n),
    }
}

fn by_name(t: &Type<'_>, n: usize) -> Option<TypeId> {
    match t {
        Type::Typedef(r)
        | Type::Const(r)
        | Type::Volatile(r)
        | Type::Restrict(r)
        | Type::TypeTag(r)
            if n == 0 =>
        {
            Some(r.ty)
        }
        Type::Var(v) if n == 0 => Some(v.ty),
        _ => None,
    }
}

/// What lies inside of a value.
fn contains(t: &Type<'_>, n: usize) -> Option<TypeId> {
    match t {
        Type::Struct(c) | Type::Union(c) => c.member(n).map(|m| m.ty),
        Type::Array(a) if n == 0 => Some(a.elem),
        Type::Array(a) if n == 1 => Some(a.index),
        Type::DataSec(d) => d.var(n).map(|v| v.ty),
        _ => by_name(t, n),
    }
}

fn walk(btf: &Btf, successor: Successor) -> Result<(), Error> {
    let start = btf.inner.start_id;
    let mut visits = alloc::vec![Visit::New; btf.inner.offsets.len()];
    let mut path: Vec<Frame> = Vec::new();
    for root in start..btf.len() {
        if visits[(root - start) as usize] == Visit::New {
            descend(btf, successor, &mut visits, &mut path, root)?;
        }
    }
    Ok(())
}

fn descend(
    btf: &Btf,
    successor: Successor,
    visits: &mut [Visit],
    path: &mut Vec<Frame>,
    root: TypeId,
) -> Result<(), Error> {
    let start = btf.inner.start_id;
    path.push(Frame { id: root, next: 0, below: 0 });
    visits[(root - start) as usize] = Visit::Open;
    while let Some(top) = path.last_mut() {
        let (id, n) = (top.id, top.next);
        let t = btf.get(id)?;
        let Some(next) = successor(&t, n) else {
            let height = top.below + 1;
            visits[(id - start) as usize] = Visit::Done(height);
            path.pop();
            if let Some(parent) = path.last_mut() {
                parent.below = parent.below.max(height);
            }
            continue;
        };
        top.next += 1;
        // The base of split BTF cannot refer to what is above it, and has been checked.
        let Some(own) = next.checked_sub(start) else { continue };
        let fault = |fault| Error::Type { id, kind: t.kind(), fault };
        let depth = path.len() as u32;
        match visits[own as usize] {
            // The kernel counts what it has not yet seen only; recursion here needs a bound in any order.
            Visit::Done(height) if depth + height > limits::MAX_NESTING => {
                return Err(fault(Fault::Depth { depth: limits::MAX_NESTING }));
            }
            Visit::Done(height) => {
                if let Some(top) = path.last_mut() {
                    top.below = top.below.max(height);
                }
            }
            Visit::Open => return Err(fault(Fault::Loop)),
            Visit::New if depth >= limits::MAX_RESOLVE_DEPTH => {
                return Err(fault(Fault::Depth { depth: limits::MAX_RESOLVE_DEPTH }));
            }
            Visit::New => {
                visits[own as usize] = Visit::Open;
                path.push(Frame { id: next, next: 0, below: 0 });
            }
        }
    }
    Ok(())
}
