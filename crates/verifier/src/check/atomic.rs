//! Atomic operations (`check_atomic`).

use stylet_catalog::Features;
use stylet_insn::{Insn, opcode as op};

use super::mem::{Access, Dir, Value};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegState, RegType};
use crate::rejection::{Reject, Res};

impl Verifier<'_> {
    /// One atomic instruction.
    pub(crate) fn check_atomic(&mut self, insn: Insn) -> Res<()> {
        let base = insn.imm & !op::FETCH;
        let plain = [op::ADD, op::AND, op::OR, op::XOR].iter().any(|o| i32::from(*o) == base);
        let ordered = matches!(insn.imm, op::LOAD_ACQ | op::STORE_REL);
        if ordered && !self.cat.has(Features::LOAD_ACQ_STORE_REL) {
            return Err(Reject::inval(Kind::InvalidAtomicOpcode { imm: insn.imm }));
        }
        match insn.imm {
            op::LOAD_ACQ => {
                self.check_load(insn, true, false)?;
                self.check_atomic_ptr(insn.src, "loads from")
            }
            op::STORE_REL => {
                self.check_store(insn, true)?;
                self.check_atomic_ptr(insn.dst, "stores into")
            }
            imm if plain || imm == op::XCHG || imm == op::CMPXCHG => self.check_rmw(insn),
            imm => Err(Reject::inval(Kind::InvalidAtomicOpcode { imm })),
        }
    }

    /// Only plain memory takes atomics (`atomic_ptr_type_ok`).
    fn check_atomic_ptr(&self, regno: u8, verb: &'static str) -> Res<()> {
        let reg = self.reg(regno.into());
        let special = reg.is_pkt_pointer()
            || reg.sock_kind().is_some()
            || matches!(reg.ty, RegType::PtrToCtx | RegType::PtrToFlowKeys);
        if special {
            return Err(Reject::acces(Kind::AtomicOnPointer {
                verb,
                reg: regno,
                ty: reg.type_name(),
            }));
        }
        Ok(())
    }

    fn check_rmw(&mut self, insn: Insn) -> Res<()> {
        if insn.access_size() < 4 {
            return Err(Reject::inval(Kind::InvalidAtomicSize));
        }
        self.check_src(insn.src)?;
        self.check_src(insn.dst)?;
        if insn.imm == op::CMPXCHG {
            self.check_src(0)?;
        }
        self.check_atomic_ptr(insn.dst, "stores into")?;
        let class = self.ptr_class(insn.dst);
        let loaded = match insn.imm {
            op::CMPXCHG => Some(0),
            imm if imm & op::FETCH != 0 => Some(insn.src),
            _ => None,
        };
        if let Some(regno) = loaded {
            self.check_dst(regno)?;
            // The pointer itself may be overwritten; the accesses below are checked before that.
            if regno == insn.dst {
                return self.rmw_into_own_pointer(insn);
            }
            *self.reg_mut(regno.into()) = RegState::unknown();
        }
        self.rmw_accesses(insn, loaded)?;
        self.save_ptr_class(class, false)
    }

    fn rmw_accesses(&mut self, insn: Insn, loaded: Option<u8>) -> Res<()> {
        let access = |dir, value| Access {
            regno: insn.dst,
            off: insn.off.into(),
            size: insn.access_size(),
            dir,
            value,
            strict: true,
            sign: false,
        };
        self.check_mem_access(access(Dir::Read, Value::None))?;
        if let Some(regno) = loaded {
            self.check_mem_access(access(Dir::Read, Value::Reg(regno)))?;
        }
        self.check_mem_access(access(Dir::Write, Value::None))
    }

    /// `r1 = atomic_fetch_add(*(r1 + off), r1)`: the kernel forgets the pointer before it checks the
    /// access, and so refuses it.
    fn rmw_into_own_pointer(&mut self, insn: Insn) -> Res<()> {
        *self.reg_mut(insn.dst.into()) = RegState::unknown();
        self.rmw_accesses(insn, None)
    }
}
