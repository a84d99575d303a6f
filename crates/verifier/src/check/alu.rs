//! Arithmetic on numbers (`check_alu_op`, `adjust_reg_min_max_vals`).

use stylet_catalog::Features;
use stylet_insn::{Insn, opcode as op};

use crate::bounds::{AluOp, Bounds};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{ADD_CONST, ADD_CONST32, ADD_CONST64, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::FP;

/// Number of low bits that may be set (`get_reg_width`).
pub(crate) fn reg_width(reg: &RegState) -> u32 {
    reg.bounds.width()
}

impl Verifier<'_> {
    /// The register may be read (`check_reg_arg` with `SRC_OP`).
    pub(crate) fn check_src(&self, regno: u8) -> Res<()> {
        self.check_regno(regno)?;
        if self.reg(regno.into()).ty == RegType::NotInit {
            return Err(Reject::acces(Kind::NotReadOk { reg: regno }));
        }
        Ok(())
    }

    /// The register may be written (`DST_OP_NO_MARK`).
    pub(crate) fn check_dst(&self, regno: u8) -> Res<()> {
        self.check_regno(regno)?;
        if usize::from(regno) == FP {
            return Err(Reject::acces(Kind::FramePointerReadOnly));
        }
        Ok(())
    }

    fn check_regno(&self, regno: u8) -> Res<()> {
        if regno >= op::MAX_BPF_REG {
            return Err(Reject::inval(Kind::InvalidRegister { reg: regno }));
        }
        Ok(())
    }

    /// One arithmetic instruction.
    pub(crate) fn check_alu_op(&mut self, insn: Insn) -> Res<()> {
        match insn.op() {
            op::END | op::NEG => self.check_unary(insn)?,
            op::MOV => self.check_mov(insn)?,
            op if AluOp::from_opcode(op).is_none() => {
                return Err(Reject::inval(Kind::InvalidAluOpcode { opcode: op }));
            }
            _ => self.check_binary(insn)?,
        }
        let reg = self.reg_mut(insn.dst.into());
        if reg.is_scalar() && reg.bounds.is_violated() {
            reg.bounds = Bounds::unknown();
        }
        Ok(())
    }

    fn check_unary(&mut self, insn: Insn) -> Res<()> {
        if insn.op() == op::NEG {
            if insn.is_src_reg() || insn.src != 0 || insn.off != 0 || insn.imm != 0 {
                return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_NEG" }));
            }
        } else {
            let size = matches!(insn.imm, 16 | 32 | 64);
            let swap = insn.class() != op::ALU64 || !insn.is_src_reg();
            if insn.src != 0 || insn.off != 0 || !size || !swap {
                return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_END" }));
            }
        }
        self.check_src(insn.dst)?;
        self.check_dst(insn.dst)?;
        let is_64 = insn.class() == op::ALU64;
        let neg_range = self.cat.has(Features::NEG_RANGE);
        let end_bits = self.cat.has(Features::END_BITS);
        let reg = self.reg_mut(insn.dst.into());
        if insn.op() == op::NEG && reg.is_scalar() && neg_range {
            let zero = Bounds::known(0);
            reg.bounds = if is_64 {
                reg.bounds.alu64(AluOp::Neg, &zero)
            } else {
                reg.bounds.alu32(AluOp::Neg, &zero)
            };
            reg.id = 0;
            reg.off = 0;
        } else if insn.op() == op::END && reg.is_scalar() && end_bits {
            let size = insn.imm as u32 / 8;
            let swap = is_64 || insn.is_src_reg();
            if swap {
                reg.bounds.byte_swap(size);
            } else {
                reg.bounds.coerce_to_size(size);
            }
            // `le64` leaves the value what it was.
            if swap || size != 8 {
                (reg.id, reg.off) = (0, 0);
            }
        } else {
            *reg = RegState::unknown();
        }
        Ok(())
    }

    fn check_mov(&mut self, insn: Insn) -> Res<()> {
        let is_64 = insn.class() == op::ALU64;
        if insn.is_src_reg() {
            if is_64 && insn.off == 1 {
                return Err(Reject::unsupported("addr_space_cast"));
            }
            let off_ok = if is_64 {
                matches!(insn.off, 0 | 8 | 16 | 32)
            } else {
                matches!(insn.off, 0 | 8 | 16)
            };
            let known = insn.off == 0 || self.cat.has(Features::CPU_V4);
            if !off_ok || !known || insn.imm != 0 {
                return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_MOV" }));
            }
            self.check_src(insn.src)?;
        } else if insn.src != 0 || insn.off != 0 {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_MOV" }));
        }
        self.check_dst(insn.dst)?;
        if !insn.is_src_reg() {
            let value = if is_64 { insn.imm as i64 as u64 } else { u64::from(insn.imm as u32) };
            *self.reg_mut(insn.dst.into()) = RegState::known(value);
            return Ok(());
        }
        self.mov_reg(insn, is_64);
        Ok(())
    }

    fn mov_reg(&mut self, insn: Insn, is_64: bool) {
        let src = *self.reg(insn.src.into());
        if is_64 && insn.off == 0 {
            self.assign_scalar_id_before_mov(insn.src.into());
            *self.reg_mut(insn.dst.into()) = *self.reg(insn.src.into());
            return;
        }
        if !src.is_scalar() {
            let reg = self.reg_mut(insn.dst.into());
            *reg = RegState::unknown();
            if !is_64 {
                reg.bounds.zext32();
            }
            return;
        }
        // The copy keeps the id only if the value is surely the same.
        let same = if insn.off == 0 {
            reg_width(&src) <= 32
        } else {
            src.bounds.umax < 1 << (insn.off - 1)
        };
        if same {
            self.assign_scalar_id_before_mov(insn.src.into());
        }
        let mut copy = *self.reg(insn.src.into());
        if !same {
            (copy.id, copy.off) = (0, 0);
        }
        match (is_64, insn.off) {
            (_, 0) => {}
            (true, off) => copy.bounds.sext(off as u32 / 8),
            (false, off) => copy.bounds.sext32(off as u32 / 8),
        }
        if !is_64 {
            copy.bounds.zext32();
        }
        *self.reg_mut(insn.dst.into()) = copy;
    }

    /// Gives a varying number an id, so that the copy about to be made learns what the original
    /// learns (`assign_scalar_id_before_mov`).
    pub(crate) fn assign_scalar_id_before_mov(&mut self, regno: usize) {
        let mut reg = *self.reg(regno);
        self.assign_scalar_id(&mut reg);
        if reg != *self.reg(regno) {
            *self.reg_mut(regno) = reg;
        }
    }

    /// The same for a register anywhere.
    pub(crate) fn assign_scalar_id(&mut self, reg: &mut RegState) {
        if !reg.is_scalar() {
            return;
        }
        if reg.id & ADD_CONST != 0 {
            (reg.id, reg.off) = (0, 0);
        }
        if reg.id == 0 && !reg.is_const() {
            reg.id = self.new_id();
        }
    }

    fn check_binary(&mut self, insn: Insn) -> Res<()> {
        let signed_div = insn.off == 1 && matches!(insn.op(), op::MOD | op::DIV);
        let off_ok = insn.off == 0 || (signed_div && self.cat.has(Features::CPU_V4));
        let operand_ok = if insn.is_src_reg() { insn.imm == 0 } else { insn.src == 0 };
        if !off_ok || !operand_ok {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_ALU" }));
        }
        if insn.is_src_reg() {
            self.check_src(insn.src)?;
        }
        self.check_src(insn.dst)?;
        if !insn.is_src_reg() {
            if matches!(insn.op(), op::MOD | op::DIV) && insn.imm == 0 {
                return Err(Reject::inval(Kind::DivByZero));
            }
            let bits = if insn.class() == op::ALU64 { 64 } else { 32 };
            if matches!(insn.op(), op::LSH | op::RSH | op::ARSH) && !(0..bits).contains(&insn.imm) {
                return Err(Reject::inval(Kind::InvalidShift { shift: insn.imm }));
            }
        }
        self.check_dst(insn.dst)?;
        self.adjust_reg_min_max_vals(insn)
    }

    fn adjust_reg_min_max_vals(&mut self, insn: Insn) -> Res<()> {
        let (dst, src) = (usize::from(insn.dst), usize::from(insn.src));
        let dst_is_ptr = !self.reg(dst).is_scalar();
        let operand = if insn.is_src_reg() {
            if !self.reg(src).is_scalar() {
                if dst_is_ptr {
                    if insn.op() != op::SUB {
                        return Err(Reject::acces(Kind::PointerOpPointer {
                            reg: insn.dst,
                            op: alu_symbol(insn.op()),
                        }));
                    }
                    *self.reg_mut(dst) = RegState::unknown();
                    return Ok(());
                }
                self.mark_reg_precise(dst)?;
                return self.adjust_ptr_min_max_vals(insn, *self.reg(src), *self.reg(dst), true);
            }
            if dst_is_ptr || self.reg(dst).precise {
                self.mark_reg_precise(src)?;
            }
            *self.reg(src)
        } else {
            RegState::known(insn.imm as i64 as u64)
        };
        if dst_is_ptr {
            return self.adjust_ptr_min_max_vals(insn, *self.reg(dst), operand, false);
        }
        self.adjust_scalar(insn, &operand)
    }

    fn adjust_scalar(&mut self, insn: Insn, operand: &RegState) -> Res<()> {
        let Some(alu_op) = AluOp::from_opcode(insn.op()) else { return Ok(()) };
        let is_64 = insn.class() == op::ALU64;
        if !Bounds::is_computable(alu_op, &operand.bounds, !is_64) {
            *self.reg_mut(insn.dst.into()) = RegState::unknown();
            return Ok(());
        }
        if matches!(alu_op, AluOp::And | AluOp::Or) && operand.bounds.is_const() {
            self.maybe_fork_scalars(insn.dst.into())?;
        }
        let links = self.cat.has(Features::LINKED_CONST);
        let subs = self.cat.has(Features::LINKED_SUB);
        let reg = self.reg_mut(insn.dst.into());
        let before = reg.bounds.umax;
        let result = if is_64 {
            reg.bounds.alu64(alu_op, &operand.bounds)
        } else {
            reg.bounds.alu32(alu_op, &operand.bounds)
        };
        reg.bounds = result;
        let same = insn.is_src_reg() && insn.src == insn.dst;
        let delta = link_delta(alu_op, &operand.bounds, !is_64).filter(|_| !same);
        let forward = alu_op == AluOp::Add && is_64;
        let delta = delta.filter(|d| links && (subs || (forward && *d >= 0)));
        let upper = before > u32::MAX.into() && !is_64;
        match delta {
            Some(delta) if reg.id != 0 && reg.id & ADD_CONST == 0 && !upper => {
                reg.id |= if is_64 { ADD_CONST64 } else { ADD_CONST32 };
                reg.off = delta;
            }
            _ => (reg.id, reg.off) = (0, 0),
        }
        Ok(())
    }

    /// Walks this instruction once with -1 and once with 0 when it is one of the two.
    fn maybe_fork_scalars(&mut self, regno: usize) -> Res<()> {
        let forked = self.reg(regno).bounds.fork_minus_one_or_zero();
        let Some((ones, zero)) = forked.filter(|_| self.cat.has(Features::FORK_SCALARS)) else {
            return Ok(());
        };
        let mut queued = self.cur.clone();
        queued.reg_mut(regno).bounds = zero;
        self.reg_mut(regno).bounds = ones;
        self.push_stack(queued, self.insn_idx, self.insn_idx)
    }
}

/// The constant by which `r1 = r2; r1 += 8` makes the two differ: what is learnt of one later holds
/// for the other as well.
fn link_delta(alu_op: AluOp, operand: &Bounds, is_32: bool) -> Option<i32> {
    let value = if is_32 {
        operand.const_value32()? as i32
    } else {
        i32::try_from(operand.const_value()? as i64).ok()?
    };
    match alu_op {
        AluOp::Add => Some(value),
        AluOp::Sub => value.checked_neg(),
        _ => None,
    }
}

/// As the log prints the operator (`bpf_alu_string`).
pub(crate) fn alu_symbol(opcode: u8) -> &'static str {
    match opcode {
        op::ADD => "+=",
        op::SUB => "-=",
        op::MUL => "*=",
        op::DIV => "/=",
        op::OR => "|=",
        op::AND => "&=",
        op::LSH => "<<=",
        op::RSH => ">>=",
        op::MOD => "%=",
        op::XOR => "^=",
        op::ARSH => "s>>=",
        _ => "?",
    }
}
