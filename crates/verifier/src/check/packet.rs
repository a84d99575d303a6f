//! Packets, their metadata and ends, flow keys, sockets (`check_packet_access`, `try_match_pkt_pointers`,
//! `check_sock_access`).

use stylet_catalog::CtxAccess;
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::{HelperId, ProgType};

use super::mem::{Access, Dir};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{AT_PKT_END, BEYOND_PKT_END, RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::VerifierState;

/// Greatest distance from a packet's start that is followed (`MAX_PACKET_OFF`).
const MAX_PACKET_OFF: i64 = 0xffff;
/// `sizeof(struct bpf_flow_keys)`.
const FLOW_KEYS_SIZE: i64 = 56;

/// `check_flow_keys_access`
pub(crate) fn check_flow_keys_access(off: i32, size: u32) -> Res<()> {
    if off < 0 || i64::from(off) + i64::from(size) > FLOW_KEYS_SIZE {
        return Err(Reject::acces(Kind::InvalidFlowKeysAccess { off, size }));
    }
    Ok(())
}

/// Helpers after which no packet pointer holds (`bpf_helper_changes_pkt_data`).
pub(crate) fn changes_pkt_data(id: u32) -> bool {
    matches!(
        HelperId(id),
        HelperId::CLONE_REDIRECT
            | HelperId::L3_CSUM_REPLACE
            | HelperId::L4_CSUM_REPLACE
            | HelperId::LWT_PUSH_ENCAP
            | HelperId::LWT_SEG6_ACTION
            | HelperId::LWT_SEG6_ADJUST_SRH
            | HelperId::LWT_SEG6_STORE_BYTES
            | HelperId::MSG_POP_DATA
            | HelperId::MSG_PULL_DATA
            | HelperId::MSG_PUSH_DATA
            | HelperId::SKB_ADJUST_ROOM
            | HelperId::SKB_CHANGE_HEAD
            | HelperId::SKB_CHANGE_PROTO
            | HelperId::SKB_CHANGE_TAIL
            | HelperId::SKB_PULL_DATA
            | HelperId::SKB_STORE_BYTES
            | HelperId::SKB_VLAN_POP
            | HelperId::SKB_VLAN_PUSH
            | HelperId::STORE_HDR_OPT
            | HelperId::XDP_ADJUST_HEAD
            | HelperId::XDP_ADJUST_META
            | HelperId::XDP_ADJUST_TAIL
            | HelperId::TAIL_CALL
    )
}

/// Kfuncs after which no packet pointer holds (`bpf_is_kfunc_pkt_changing`).
pub(crate) fn kfunc_changes_pkt_data(name: &str) -> bool {
    name == "bpf_xdp_pull_data"
}

/// Which side of a comparison is before the other, of two that may be a packet pointer and its end.
enum Order {
    /// The first operand is the pointer.
    First,
    /// The second operand is.
    Second,
}

/// Which of the operands is a packet pointer that the other one bounds.
fn bounded(dst: &RegState, src: &RegState) -> Option<Order> {
    let start = |r: &RegState| {
        r.ty == RegType::PtrToPacket && r.off == 0 && r.bounds.const_value() == Some(0)
    };
    let pair = |ptr: &RegState, end: &RegState| {
        ptr.ty == RegType::PtrToPacket && end.ty == RegType::PtrToPacketEnd
            || ptr.ty == RegType::PtrToPacketMeta && start(end)
    };
    if pair(dst, src) {
        Some(Order::First)
    } else if pair(src, dst) {
        Some(Order::Second)
    } else {
        None
    }
}

/// The operator as if its operands were swapped.
fn flip(opcode: u8) -> u8 {
    match opcode {
        op::JGT => op::JLT,
        op::JLT => op::JGT,
        op::JGE => op::JLE,
        op::JLE => op::JGE,
        other => other,
    }
}

/// Which way a comparison with the packet's end goes, after another one (`is_pkt_ptr_branch_taken`).
pub(crate) fn predict_packet(opcode: u8, a: &RegState, b: &RegState) -> Option<bool> {
    let (pkt, opcode) = match (a.ty, b.ty) {
        (_, RegType::PtrToPacketEnd) => (a, opcode),
        (RegType::PtrToPacketEnd, _) => (b, flip(opcode)),
        _ => return None,
    };
    match (opcode, pkt.range()) {
        (op::JLE | op::JGT, BEYOND_PKT_END) => Some(opcode == op::JGT),
        (op::JLT | op::JGE, BEYOND_PKT_END | AT_PKT_END) => Some(opcode == op::JGE),
        _ => None,
    }
}

/// Every pointer of the same origin may be read up to `ptr` (`find_good_pkt_pointers`).
fn find_good_pkt_pointers(state: &mut VerifierState, ptr: &RegState, right_open: bool) {
    if ptr.off < 0 || ptr.off == 0 && right_open {
        return;
    }
    let max = ptr.bounds.umax;
    let off = i64::from(ptr.off);
    if max > MAX_PACKET_OFF as u64 || max as i64 + off > MAX_PACKET_OFF {
        return;
    }
    let range = ptr.off + i32::from(right_open);
    let (ty, id) = (ptr.ty, ptr.id);
    state.for_each_reg(|reg| {
        if reg.ty == ty && reg.id == id {
            reg.aux = reg.range().max(range) as u32;
        }
    });
}

fn mark_pkt_end(state: &mut VerifierState, regno: u8, beyond: bool) {
    let reg = state.reg_mut(regno.into());
    if reg.ty == RegType::PtrToPacket {
        reg.aux = if beyond { BEYOND_PKT_END } else { AT_PKT_END } as u32;
    }
}

impl Verifier<'_> {
    /// What a comparison of a packet pointer with its end says (`try_match_pkt_pointers`); `other` is the state of the
    /// taken branch.
    pub(crate) fn learn_packet_range(
        &mut self,
        insn: Insn,
        dst: &RegState,
        src: &RegState,
        other: &mut VerifierState,
    ) {
        let Some(order) = bounded(dst, src) else { return };
        let (opcode, ptr, regno) = match order {
            Order::First => (insn.op(), dst, insn.dst),
            Order::Second => (flip(insn.op()), src, insn.src),
        };
        // From here on: pointer opcode end.
        let this = &mut self.cur;
        match opcode {
            op::JGT => {
                find_good_pkt_pointers(this, ptr, false);
                mark_pkt_end(other, regno, true);
            }
            op::JLT => {
                find_good_pkt_pointers(other, ptr, true);
                mark_pkt_end(this, regno, false);
            }
            op::JGE => {
                find_good_pkt_pointers(this, ptr, true);
                mark_pkt_end(other, regno, false);
            }
            op::JLE => {
                find_good_pkt_pointers(other, ptr, false);
                mark_pkt_end(this, regno, true);
            }
            _ => {}
        }
    }

    /// No pointer into the packet holds any more (`clear_all_pkt_pointers`).
    pub(crate) fn clear_all_pkt_pointers(&mut self) {
        self.cur.for_each_reg(|reg| {
            let slice = reg.ty == RegType::PtrToMem && reg.flags.0 & RegFlags::DYNPTR_PACKET.0 != 0;
            if slice || reg.is_pkt_pointer() || reg.ty == RegType::PtrToPacketEnd {
                *reg = RegState::unknown();
            }
        });
    }

    /// Finds the functions that move the packet, by themselves or by what they call (`mark_subprog_changes_pkt_data`).
    pub(crate) fn mark_subprogs_changing_packets(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for subprog in 0..self.subprogs.len() {
                let info = &self.subprogs[subprog];
                let finds = !info.changes_pkt_data
                    && (info.start..info.end).any(|i| self.insn_changes_packet(i));
                if finds {
                    self.subprogs[subprog].changes_pkt_data = true;
                    changed = true;
                }
            }
        }
    }

    fn insn_changes_packet(&self, i: u32) -> bool {
        let insn = self.insns[i as usize];
        if insn.is_pseudo_call() || insn.is_lddw() && insn.src == op::PSEUDO_FUNC {
            let start = i.wrapping_add(insn.imm as u32).wrapping_add(1);
            return self.find_subprog(start).is_some_and(|s| self.subprogs[s].changes_pkt_data);
        }
        if insn.is_kfunc_call() {
            let desc = self.kfuncs.get(&(insn.imm as u32));
            return desc.is_some_and(|k| kfunc_changes_pkt_data(k.name));
        }
        insn.is_helper_call() && changes_pkt_data(insn.imm as u32)
    }

    /// Whether this program type sees packets, and may change them; `helper` says that a helper does, and whether it is
    /// made for that (`may_access_direct_pkt_data`).
    pub(crate) fn may_access_packet(&self, dir: Dir, helper: Option<bool>) -> bool {
        match self.input.prog_type {
            ProgType::LWT_IN
            | ProgType::LWT_OUT
            | ProgType::LWT_SEG6LOCAL
            | ProgType::SK_REUSEPORT
            | ProgType::FLOW_DISSECTOR
            | ProgType::CGROUP_SKB => dir == Dir::Read && helper.unwrap_or(true),
            ProgType::SCHED_CLS
            | ProgType::SCHED_ACT
            | ProgType::XDP
            | ProgType::LWT_XMIT
            | ProgType::SK_SKB
            | ProgType::SK_MSG => helper.unwrap_or(true),
            ProgType::CGROUP_SOCKOPT => true,
            _ => false,
        }
    }

    /// The bytes are known to be in the packet.
    pub(crate) fn check_packet_access(
        &mut self,
        regno: u8,
        off: i32,
        size: u32,
        zero_ok: bool,
    ) -> Res<()> {
        let reg = *self.reg(regno.into());
        if reg.bounds.smin < 0 {
            return Err(Reject::acces(Kind::MinValueNegativeIndex { reg: regno }));
        }
        if reg.range() < 0 {
            return Err(Reject::inval(Kind::OutsidePacket { reg: regno }));
        }
        let size_ok = size > 0 || zero_ok;
        let end = i64::from(off) + i64::from(size);
        if off >= 0 && size_ok && end <= i64::from(reg.range()) {
            return Ok(());
        }
        let note = alloc::format!(
            "invalid access to packet, off={off} size={size}, R{regno}(id={},off={off},r={})",
            reg.id,
            reg.range()
        );
        let kind = Kind::OutsidePacket { reg: regno };
        Err(Reject::acces(Kind::Noted { note, kind: kind.into() }))
    }

    /// A field of a socket.
    pub(crate) fn check_sock_access(&mut self, reg: &RegState, off: i32, a: &Access) -> Res<()> {
        if a.dir == Dir::Write {
            let (reg, ty) = (a.regno, reg.type_name());
            return Err(Reject::acces(Kind::CannotWriteInto { reg, ty }));
        }
        if reg.bounds.smin < 0 {
            return Err(Reject::acces(Kind::MinValueNegativeIndex { reg: a.regno }));
        }
        let access = CtxAccess { off: off.into(), size: a.size, write: false, sign: a.sign };
        let ok = reg.sock_kind().is_some_and(|kind| self.cat.sock_access(kind, access));
        if !ok {
            let (reg, ty) = (a.regno, reg.type_name());
            return Err(Reject::acces(Kind::InvalidSockAccess { reg, ty, off, size: a.size }));
        }
        Ok(())
    }

    /// BPF_LD_ABS and BPF_LD_IND: a load from the packet of the context in R6, which ends the program when there is none
    /// (`check_ld_abs`).
    pub(crate) fn check_ld_abs(&mut self, insn: Insn) -> crate::env::Step {
        let prog_type = self.input.prog_type;
        if !matches!(prog_type, ProgType::SOCKET_FILTER | ProgType::SCHED_CLS | ProgType::SCHED_ACT)
        {
            return Err(Reject::inval(Kind::LdAbsNotAllowed));
        }
        const CTX_REG: u8 = 6;
        let reserved = insn.dst != 0
            || insn.off != 0
            || insn.access_size() == 8
            || insn.mode() == op::ABS && insn.src != 0;
        if reserved {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_LD_[ABS|IND]" }));
        }
        self.check_src(CTX_REG)?;
        self.check_resource_leak("BPF_LD_[ABS|IND]", true)?;
        let ctx = *self.reg(CTX_REG.into());
        if ctx.ty != RegType::PtrToCtx {
            return Err(Reject::inval(Kind::LdAbsNeedsSkb));
        }
        if insn.mode() == op::IND {
            self.check_src(insn.src)?;
        }
        self.check_ptr_off_reg(&ctx, CTX_REG, false)?;
        Self::clear_caller_saved(self.cur.cur_mut());
        *self.reg_mut(0) = RegState::unknown();
        if self.cur.curframe() == 0 {
            return Ok(crate::env::Flow::Next);
        }
        // A load outside of the packet leaves the function with 0.
        let inside = self.cur.clone();
        self.push_stack(inside, self.insn_idx + 1, self.insn_idx)?;
        *self.reg_mut(0) = RegState::known(0);
        self.prepare_func_exit()
    }
}
