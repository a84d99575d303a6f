//! Facts about the control flow that the walk uses: postorder, loops, registers that are read later
//! (`compute_postorder`, `compute_scc`, `compute_live_registers`).

use alloc::vec;
use alloc::vec::Vec;

use stylet_insn::{Insn, opcode as op};

use crate::cfg::successors;
use crate::env::Verifier;

/// R0 to R5.
const CALLER_SAVED: u16 = 0b11_1111;

/// Registers that an instruction reads and writes.
fn use_def(v: &Verifier<'_>, insn: Insn) -> (u16, u16) {
    let (src, dst) = (1u16 << insn.src, 1u16 << insn.dst);
    let operand = if insn.is_src_reg() { src } else { 0 };
    match insn.class() {
        op::LD => (0, if insn.is_lddw() { dst } else { 0 }),
        op::LDX => (src, dst),
        op::ST => (dst, 0),
        op::STX if insn.mode() == op::ATOMIC => match insn.imm {
            op::CMPXCHG => (1 | dst | src, 1),
            op::LOAD_ACQ => (src, dst),
            op::STORE_REL => (dst | src, 0),
            imm if imm & op::FETCH != 0 => (dst | src, src),
            _ => (dst | src, 0),
        },
        op::STX => (dst | src, 0),
        op::ALU | op::ALU64 => match insn.op() {
            op::END | op::NEG => (dst, dst),
            op::MOV => (operand, dst),
            _ => (dst | operand, dst),
        },
        _ => match insn.op() {
            op::JA | op::JCOND => (0, 0),
            op::EXIT => (1, 0),
            op::CALL => (call_args(v, insn), CALLER_SAVED),
            _ => (dst | operand, 0),
        },
    }
}

/// Registers R1 to Rn that a call reads.
fn call_args(v: &Verifier<'_>, insn: Insn) -> u16 {
    let all = CALLER_SAVED & !1;
    if insn.is_kfunc_call() {
        let n = v.kfuncs.get(&(insn.imm as u32)).map_or(5, |k| k.proto.len().min(5));
        return ((1u16 << (n + 1)) - 1) & !1;
    }
    if !insn.is_helper_call() {
        return all;
    }
    match v.helper_proto(insn.imm as u32) {
        Ok(proto) => {
            let n = proto
                .args
                .iter()
                .take_while(|a| a.base != stylet_catalog::ArgBase::DontCare)
                .count();
            ((1u16 << (n + 1)) - 1) & !1
        }
        Err(_) => all,
    }
}

impl Verifier<'_> {
    /// Orders the slots of each function so that successors come first.
    pub(crate) fn compute_postorder(&mut self) {
        let mut state = vec![0u8; self.insns.len()];
        for subprog in 0..self.subprogs.len() {
            let mut stack = vec![self.subprogs[subprog].start];
            while let Some(&top) = stack.last() {
                if state[top as usize] == 0 {
                    state[top as usize] = 1;
                    stack.extend(successors(self.insns, top).filter(|s| state[*s as usize] == 0));
                } else {
                    stack.pop();
                    if state[top as usize] == 1 {
                        state[top as usize] = 2;
                        self.postorder.push(top);
                    }
                }
            }
        }
    }

    /// Finds the registers that are read at or after each slot.
    pub(crate) fn compute_live_registers(&mut self) {
        let table: Vec<(u16, u16)> = self.insns.iter().map(|insn| use_def(self, *insn)).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for &i in &self.postorder {
                let after = successors(self.insns, i)
                    .fold(0, |all, s| all | self.aux[s as usize].live_regs);
                let (reads, writes) = table[i as usize];
                let before = (after & !writes) | reads;
                if before != self.aux[i as usize].live_regs {
                    self.aux[i as usize].live_regs = before;
                    changed = true;
                }
            }
        }
    }

    /// Numbers the components of the control flow that contain a loop (Tarjan, without recursion).
    pub(crate) fn compute_scc(&mut self) {
        let n = self.insns.len();
        let mut tarjan = Tarjan {
            pre: vec![0; n],
            low: vec![0; n],
            stack: Vec::new(),
            next_pre: 1,
            next_scc: 1,
        };
        for start in 0..n as u32 {
            if tarjan.pre[start as usize] == 0 && self.insns[start as usize].code != 0 {
                self.tarjan_from(start, &mut tarjan);
            }
        }
    }

    fn tarjan_from(&mut self, start: u32, t: &mut Tarjan) {
        let mut dfs: Vec<(u32, bool)> = vec![(start, false)];
        while let Some((w, done)) = dfs.pop() {
            if !done {
                if t.pre[w as usize] != 0 {
                    continue;
                }
                (t.pre[w as usize], t.low[w as usize]) = (t.next_pre, t.next_pre);
                t.next_pre += 1;
                t.stack.push(w);
                dfs.push((w, true));
                dfs.extend(
                    successors(self.insns, w)
                        .filter(|s| t.pre[*s as usize] == 0)
                        .map(|s| (s, false)),
                );
                continue;
            }
            let low = successors(self.insns, w)
                .map(|s| t.low[s as usize])
                .min()
                .unwrap_or(NONE)
                .min(t.low[w as usize]);
            t.low[w as usize] = low;
            if low != t.pre[w as usize] {
                continue;
            }
            self.close_component(w, t);
        }
    }

    fn close_component(&mut self, root: u32, t: &mut Tarjan) {
        let at = t.stack.iter().rposition(|x| *x == root).unwrap_or(0);
        let members = t.stack.split_off(at);
        let loops = members.len() > 1
            || successors(self.insns, root).any(|s| s == root)
            || self.aux[root as usize].calls_callback;
        for member in &members {
            t.low[*member as usize] = NONE;
            if loops {
                self.aux[*member as usize].scc = t.next_scc;
            }
        }
        t.next_scc += u32::from(loops);
    }
}

/// `low` of a slot whose component is complete.
const NONE: u32 = u32::MAX;

struct Tarjan {
    pre: Vec<u32>,
    low: Vec<u32>,
    stack: Vec<u32>,
    next_pre: u32,
    next_scc: u32,
}
