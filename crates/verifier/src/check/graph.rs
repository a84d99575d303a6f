//! Lists and trees of a program's own objects (`process_kf_arg_ptr_to_graph_root`,
//! `process_kf_arg_ptr_to_graph_node`).

use alloc::string::ToString;

use super::kfunc::KfuncMeta;
use super::kfunc_arg::Arg;
use crate::env::Verifier;
use crate::fields::{Field, FieldKind};
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::{CallbackKind, RefState};

/// Adds to a tree, in an order that a callback tells.
pub(crate) const RBTREE_ADD: &str = "bpf_rbtree_add_impl";

/// Kfuncs that put an object into a list or tree, which owns it then.
pub(super) fn adds_node(name: &str) -> bool {
    matches!(name, "bpf_list_push_front_impl" | "bpf_list_push_back_impl" | RBTREE_ADD)
}

/// Kfuncs of lists (`is_bpf_list_api_kfunc`).
fn is_list_api(name: &str) -> bool {
    name.starts_with("bpf_list_")
}

impl Verifier<'_> {
    /// The callback of a tree's order runs, or what it calls (`in_rbtree_lock_required_cb`).
    pub(super) fn in_rbtree_cb(&self) -> bool {
        self.cur.frames.iter().any(|f| f.callback == CallbackKind::RbtreeLess)
    }

    /// The list or tree of a call.
    pub(super) fn check_graph_root(
        &self,
        kind: FieldKind,
        arg: &Arg<'_>,
        reg: &RegState,
        meta: &mut KfuncMeta<'_>,
    ) -> Res<()> {
        let value = reg.ty == RegType::PtrToMapValue && reg.flags == RegFlags::NONE;
        if !value && !reg.is_own_object() {
            let what = "map value or allocated object";
            return Err(Reject::inval(Kind::ExpectedAllocated { arg: arg.n, what }));
        }
        if reg.is_own_object() && reg.ref_obj_id == 0 {
            return Err(Reject::inval(Kind::AllocatedNotReferenced));
        }
        if is_list_api(meta.desc.name) != (kind == FieldKind::ListHead) || meta.root.is_some() {
            return Err(Reject::unsupported(meta.desc.name));
        }
        let off = node_offset(arg, reg, kind)?;
        let record = self.reg_record(reg);
        let Some((record, field)) = record.and_then(|r| Some((r, r.find(off, |k| k == kind)?)))
        else {
            return Err(Reject::inval(Kind::GraphFieldNotFound { what: kind.name(), off }));
        };
        let owner = Self::lock_owner(reg);
        let held = |r: &RefState| r.kind.is_lock() && (r.owner, r.id) == (owner, reg.id);
        if !self.cur.refs.iter().any(held) {
            let at = record.offset(FieldKind::SpinLock).map_or(-22, |off| off as i32);
            let refusal = Reject::inval(Kind::LockMustBeHeld { at, what: kind.name() });
            let note = self.cur.active_lock().map(|_| Reject::inval(Kind::HeldLockElsewhere));
            return Err(refusal.after(note));
        }
        meta.root = Some(*field);
        Ok(())
    }

    /// The node of a call.
    pub(super) fn check_graph_node(
        &self,
        kind: FieldKind,
        arg: &Arg<'_>,
        reg: &RegState,
        meta: &mut KfuncMeta<'_>,
    ) -> Res<()> {
        if kind == FieldKind::ListNode || meta.desc.name == RBTREE_ADD {
            if !reg.is_own_object() {
                let what = "allocated object";
                return Err(Reject::inval(Kind::ExpectedAllocated { arg: arg.n, what }));
            }
            if reg.ref_obj_id == 0 {
                return Err(Reject::inval(Kind::AllocatedNotReferenced));
            }
        } else {
            let name = || meta.desc.name.to_string();
            if !reg.is_non_owning() && reg.ref_obj_id == 0 {
                return Err(Reject::inval(Kind::NeedsNonOwningNode { name: name() }));
            }
            if self.in_rbtree_cb() {
                return Err(Reject::inval(Kind::NotInRbtreeCb { name: name() }));
            }
        }
        let off = node_offset(arg, reg, kind)?;
        let record = self.reg_record(reg);
        if record.and_then(|r| r.find(off, |k| k == kind)).is_none() {
            return Err(Reject::inval(Kind::GraphFieldNotFound { what: kind.name(), off }));
        }
        let Some(root) = meta.root else { return Err(Reject::bug("a node without a root")) };
        let btf = self.btf_of(reg)?;
        let want = btf.type_name(root.ty).to_string();
        if reg.aux != root.ty {
            return Err(Reject::inval(Kind::GraphOtherType {
                list: kind == FieldKind::ListNode,
                at: root.node_off,
                want: want.into(),
                off,
                have: btf.type_name(reg.aux).into(),
            }));
        }
        if off != i64::from(root.node_off) {
            let (what, at) = (kind.name(), root.node_off);
            return Err(Reject::inval(Kind::GraphOtherNode { off, what, at, want }));
        }
        Ok(())
    }

    /// Puts aside the callback that orders a tree's nodes.
    pub(super) fn push_less_callback(&mut self, meta: &KfuncMeta<'_>) -> Res<()> {
        let Some(root) = meta.root else { return Err(Reject::bug("a tree without a root")) };
        let node = self.node_in_graph(root.ty, root.node_off, false);
        self.push_callback(meta.subprog, CallbackKind::RbtreeLess, |callee| {
            callee.regs[1] = node;
            callee.regs[2] = node;
        })
    }

    /// What a call gives that finds or takes out a node.
    pub(super) fn graph_result(&self, root: &Field, owned: bool) -> RegState {
        self.node_in_graph(root.ty, root.node_off, owned)
    }
}

/// Where in its object the pointer is.
fn node_offset(arg: &Arg<'_>, reg: &RegState, kind: FieldKind) -> Res<i64> {
    match reg.bounds.const_value() {
        Some(var) => Ok(i64::from(reg.off).wrapping_add(var as i64)),
        None => Err(Reject::inval(Kind::FieldNotConstant { reg: arg.n + 1, what: kind.name() })),
    }
}
