//! Functions and control flow before the walk (`add_subprog`, `check_subprogs`, `check_cfg`).

use alloc::vec;
use alloc::vec::Vec;

use stylet_btf::Type;
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::{HelperId, errno};

use crate::env::{SubprogInfo, Verifier};
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Res};

/// Distance of a jump, in slots from the next one (`bpf_jmp_offset`).
pub(crate) fn jmp_offset(insn: Insn) -> i64 {
    if insn.code == (op::JMP32 | op::JA) { i64::from(insn.imm) } else { i64::from(insn.off) }
}

/// Loads the address of one of the program's functions.
pub(crate) fn is_pseudo_func(insn: Insn) -> bool {
    insn.is_lddw() && insn.src == op::PSEUDO_FUNC
}

/// Helpers that run a callback before they return (`is_sync_callback_calling_function`).
pub(crate) fn is_sync_callback_helper(id: u32) -> bool {
    matches!(
        HelperId(id),
        HelperId::FOR_EACH_MAP_ELEM
            | HelperId::FIND_VMA
            | HelperId::LOOP
            | HelperId::USER_RINGBUF_DRAIN
    )
}

fn is_jmp_class(insn: Insn) -> bool {
    matches!(insn.class(), op::JMP | op::JMP32)
}

/// Slots that may follow slot `idx` within its function (`insn_successors`).
pub(crate) fn successors(insns: &[Insn], idx: u32) -> impl Iterator<Item = u32> + use<> {
    let insn = insns[idx as usize];
    let mut out = [None; 2];
    let width = if insn.is_lddw() { 2 } else { 1 };
    let jump = is_jmp_class(insn) && !matches!(insn.op(), op::CALL | op::EXIT);
    let ends = is_jmp_class(insn) && matches!(insn.op(), op::EXIT | op::JA);
    if !ends {
        out[0] = Some(idx + width);
    }
    if jump {
        out[1] = Some((i64::from(idx) + jmp_offset(insn) + 1) as u32);
    }
    out.into_iter().flatten()
}

/// How an edge of the control flow is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Fallthrough,
    Branch,
}

const DISCOVERED: u8 = 0x10;
const EXPLORED: u8 = 0x20;
const FALLTHROUGH: u8 = 1;
const BRANCH: u8 = 2;

/// Depth-first walk over the slots.
struct Dfs {
    state: Vec<u8>,
    stack: Vec<u32>,
}

impl Verifier<'_> {
    /// Finds the functions: the targets of calls and callbacks.
    pub(crate) fn add_subprogs(&mut self) -> Res<()> {
        let len = self.insns.len() as i64;
        let mut starts = vec![0u32];
        for (i, insn) in self.insns.iter().enumerate() {
            if insn.is_kfunc_call() {
                self.add_kfunc_call(*insn).map_err(|e| e.at(i as u32))?;
            }
            if !is_pseudo_func(*insn) && !insn.is_pseudo_call() {
                continue;
            }
            let target = i as i64 + i64::from(insn.imm) + 1;
            if target < 0 || target >= len {
                return Err(Reject::inval(Kind::CallInvalidDestination).at(i as u32));
            }
            if !starts.contains(&(target as u32)) {
                if starts.len() as u32 >= self.cat.limits.max_subprogs {
                    return Err(Reject::new(errno::E2BIG, Kind::TooManySubprogs).at(i as u32));
                }
                starts.push(target as u32);
            }
        }
        let exception_cb = self.find_exception_callback()?;
        if let Some(start) = exception_cb.filter(|s| !starts.contains(s)) {
            starts.push(start);
        }
        starts.sort_unstable();
        for (i, start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(len as u32);
            self.subprogs.push(SubprogInfo { start: *start, end, ..SubprogInfo::default() });
        }
        self.exception_cb = exception_cb.and_then(|start| self.find_subprog(start));
        Ok(())
    }

    /// Jumps stay within their function and no function runs into the next.
    pub(crate) fn check_subprogs(&mut self) -> Res<()> {
        for subprog in &mut self.subprogs {
            for i in subprog.start..subprog.end {
                let insn = self.insns[i as usize];
                if insn.is_helper_call() && insn.imm == HelperId::TAIL_CALL.0 as i32 {
                    subprog.has_tail_call = true;
                }
                if insn.class() == op::LD && matches!(insn.mode(), op::ABS | op::IND) {
                    subprog.has_ld_abs = true;
                }
                if is_jmp_class(insn) && !matches!(insn.op(), op::CALL | op::EXIT) {
                    let to = i64::from(i) + jmp_offset(insn) + 1;
                    if to < i64::from(subprog.start) || to >= i64::from(subprog.end) {
                        return Err(Reject::inval(Kind::JumpOutOfRange { from: i, to }).at(i));
                    }
                }
                let last = i + 1 == subprog.end;
                let ends = insn.code == (op::JMP | op::EXIT)
                    || insn.code == (op::JMP | op::JA)
                    || insn.code == (op::JMP32 | op::JA);
                if last && !ends {
                    return Err(Reject::inval(Kind::LastInsnNotExit).at(i));
                }
            }
        }
        Ok(())
    }

    /// What may leave a function in its middle is allowed only where the function returns a number (`check_btf_func`).
    pub(crate) fn check_abnormal_return(&self) -> Res<()> {
        for (n, subprog) in self.subprogs.iter().enumerate().skip(1) {
            let what = match (subprog.has_ld_abs, subprog.has_tail_call) {
                (true, _) => "LD_ABS",
                (_, true) => "tail_call",
                _ => continue,
            };
            if self.input.func_info.is_empty() {
                return Err(Reject::inval(Kind::AbnormalReturnWithoutBtf { what }));
            }
            if !self.returns_small_int(n) {
                return Err(Reject::inval(Kind::AbnormalReturn { what }));
            }
        }
        Ok(())
    }

    fn returns_small_int(&self, subprog: usize) -> bool {
        let Some((btf, info)) = self.input.btf.zip(self.subprog_info(subprog)) else {
            return false;
        };
        let Some(Type::Func(func)) = btf.type_by_id(info.type_id) else { return false };
        let Some(Type::FuncProto(proto)) = btf.type_by_id(func.ty) else { return false };
        match btf.type_by_id(btf.skip_mods_and_typedefs(proto.ret)) {
            Some(Type::Int(int)) => int.size <= 8,
            Some(Type::Enum(_) | Type::Enum64(_)) => true,
            _ => false,
        }
    }

    /// Every slot is reachable; finds where states are kept.
    pub(crate) fn check_cfg(&mut self) -> Res<()> {
        let n = self.insns.len();
        let mut dfs = Dfs { state: vec![0; n], stack: vec![0] };
        dfs.state[0] = DISCOVERED;
        self.walk_cfg(&mut dfs)?;
        // Nobody calls it, but it runs.
        if let Some(start) = self.exception_cb.map(|cb| self.subprogs[cb].start)
            && dfs.state[start as usize] == 0
        {
            dfs.state[start as usize] = DISCOVERED;
            self.mark_jump_target(start);
            dfs.stack.push(start);
            self.walk_cfg(&mut dfs)?;
        }
        let mut i = 0;
        while i < n {
            if dfs.state[i] != EXPLORED {
                return Err(Reject::inval(Kind::UnreachableInsn { insn: i as u32 }).at(i as u32));
            }
            if self.insns[i].is_lddw() {
                if dfs.state[i + 1] != 0 {
                    return Err(
                        Reject::inval(Kind::JumpIntoLdimm64 { insn: i as u32 }).at(i as u32)
                    );
                }
                i += 1;
            }
            i += 1;
        }
        Ok(())
    }

    fn walk_cfg(&mut self, dfs: &mut Dfs) -> Res<()> {
        while let Some(&t) = dfs.stack.last() {
            if !self.visit_insn(t, dfs)? {
                dfs.state[t as usize] = EXPLORED;
                dfs.stack.pop();
            }
        }
        Ok(())
    }

    fn mark_jump_target(&mut self, idx: u32) {
        self.aux[idx as usize].prune_point = true;
        self.aux[idx as usize].jmp_point = true;
    }

    /// Follows one edge; `true` when the walk goes deeper (`push_insn`).
    fn push_insn(&mut self, t: u32, w: i64, edge: Edge, dfs: &mut Dfs) -> Res<bool> {
        let seen = dfs.state[t as usize];
        let bit = if edge == Edge::Branch { BRANCH } else { FALLTHROUGH };
        if seen >= (DISCOVERED | bit) {
            return Ok(false);
        }
        if w < 0 || w >= self.insns.len() as i64 {
            return Err(Reject::inval(Kind::JumpOutOfRange { from: t, to: w }).at(t));
        }
        let w = w as usize;
        if edge == Edge::Branch {
            self.mark_jump_target(w as u32);
        }
        dfs.state[t as usize] = DISCOVERED | bit;
        if dfs.state[w] != 0 {
            return Ok(false);
        }
        dfs.state[w] = DISCOVERED;
        dfs.stack.push(w as u32);
        Ok(true)
    }

    fn visit_insn(&mut self, t: u32, dfs: &mut Dfs) -> Res<bool> {
        let insn = self.insns[t as usize];
        let at = i64::from(t);
        if is_pseudo_func(insn) {
            return self.visit_func_call(t, true, dfs);
        }
        if !is_jmp_class(insn) {
            let width = if insn.is_lddw() { 2 } else { 1 };
            return self.push_insn(t, at + width, Edge::Fallthrough, dfs);
        }
        match insn.op() {
            op::EXIT => Ok(false),
            op::CALL => {
                if insn.is_helper_call() && is_sync_callback_helper(insn.imm as u32)
                    || insn.is_kfunc_call() && self.is_rbtree_add(insn)
                {
                    let aux = &mut self.aux[t as usize];
                    (aux.calls_callback, aux.force_checkpoint, aux.prune_point, aux.jmp_point) =
                        (true, true, true, true);
                }
                if insn.is_kfunc_call() && self.is_iter_next(insn) {
                    let aux = &mut self.aux[t as usize];
                    (aux.is_iter_next, aux.force_checkpoint, aux.prune_point) = (true, true, true);
                }
                self.visit_func_call(t, insn.is_pseudo_call(), dfs)
            }
            op::JA => {
                if insn.is_src_reg() {
                    return Err(Reject::unsupported("indirect jumps").at(t));
                }
                let to = at + jmp_offset(insn) + 1;
                let deeper = self.push_insn(t, to, Edge::Fallthrough, dfs)?;
                self.mark_jump_target(to as u32);
                Ok(deeper)
            }
            _ => {
                let aux = &mut self.aux[t as usize];
                aux.prune_point = true;
                if insn.code == (op::JMP | op::JCOND) {
                    aux.is_may_goto = true;
                    aux.force_checkpoint = true;
                }
                if self.push_insn(t, at + 1, Edge::Fallthrough, dfs)? {
                    return Ok(true);
                }
                self.push_insn(t, at + jmp_offset(insn) + 1, Edge::Branch, dfs)
            }
        }
    }

    fn visit_func_call(&mut self, t: u32, visit_callee: bool, dfs: &mut Dfs) -> Res<bool> {
        let insn = self.insns[t as usize];
        let next = i64::from(t) + if insn.is_lddw() { 2 } else { 1 };
        if self.push_insn(t, next, Edge::Fallthrough, dfs)? {
            return Ok(true);
        }
        self.mark_jump_target(next as u32);
        if !visit_callee {
            return Ok(false);
        }
        self.aux[t as usize].prune_point = true;
        self.push_insn(t, i64::from(t) + i64::from(insn.imm) + 1, Edge::Branch, dfs)
    }
}
