//! The context (`check_ctx_access`, the program types' `is_valid_access`).

use stylet_btf::Kind as BtfKind;
use stylet_catalog::{CtxAccess, CtxKind, CtxLoad, ProgTypeInfo};

use stylet_uapi::ProgType;

use super::mem::{Access, Dir, Value};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::verified::MemKind;

/// `offsetof(struct bpf_perf_event_data, sample_period)` on x86-64.
const PERF_SAMPLE_PERIOD: i64 = 168;

fn loaded_type(load: CtxLoad) -> (RegType, RegFlags) {
    let plain = RegFlags::NONE;
    match load {
        CtxLoad::Scalar => (RegType::Scalar, plain),
        CtxLoad::Packet => (RegType::PtrToPacket, plain),
        CtxLoad::PacketEnd => (RegType::PtrToPacketEnd, plain),
        CtxLoad::PacketMeta => (RegType::PtrToPacketMeta, plain),
        CtxLoad::FlowKeys => (RegType::PtrToFlowKeys, plain),
        CtxLoad::Socket => (RegType::PtrToSocket, plain),
        CtxLoad::SocketOrNull => (RegType::PtrToSocket, RegFlags::MAYBE_NULL),
        CtxLoad::SockCommonOrNull => (RegType::PtrToSockCommon, RegFlags::MAYBE_NULL),
    }
}

impl Verifier<'_> {
    /// A pointer that must not have moved (`__check_ptr_off_reg`).
    pub(crate) fn check_ptr_off_reg(&self, reg: &RegState, regno: u8, fixed_ok: bool) -> Res<()> {
        if reg.off < 0 {
            return Err(Reject::acces(Kind::NegativeOffsetPointer {
                ty: reg.type_name(),
                reg: regno,
                off: reg.off,
            }));
        }
        if !fixed_ok && reg.off != 0 {
            return Err(Reject::acces(Kind::ModifiedPointer {
                ty: reg.type_name(),
                reg: regno,
                off: reg.off,
            }));
        }
        if reg.bounds.const_value() != Some(0) {
            return Err(Reject::acces(Kind::VariableAccess {
                ty: reg.type_name(),
                var_off: reg.bounds.var_off,
            }));
        }
        Ok(())
    }

    /// An access of the context.
    pub(crate) fn check_ctx_mem(&mut self, reg: &RegState, off: i32, a: &Access) -> Res<()> {
        self.check_ptr_off_reg(reg, a.regno, false)?;
        if self.attached.is_some() {
            return self.check_btf_ctx(off, a);
        }
        if self.input.prog_type == ProgType::NETFILTER {
            return self.check_netfilter_ctx(off, a);
        }
        let Some((loaded, flags)) = self.ctx_access(i64::from(off), a) else {
            return Err(Reject::acces(Kind::InvalidCtxAccess { off, size: a.size as i32 }));
        };
        self.note_mem(MemKind::Ctx);
        self.note_ctx(off as u32, a);
        if let (Dir::Read, Value::Reg(dst)) = (a.dir, a.value) {
            let mut value = match loaded {
                RegType::Scalar => RegState::unknown(),
                ty => RegState::pointer(ty, flags),
            };
            if value.maybe_null() {
                value.id = self.new_id();
            }
            *self.reg_mut(dst.into()) = value;
        }
        Ok(())
    }

    /// A load of the hook's state or of the packet (`nf_is_valid_access`).
    fn check_netfilter_ctx(&mut self, off: i32, a: &Access) -> Res<()> {
        let invalid = Kind::InvalidCtxAccess { off, size: a.size as i32 };
        let name = match (off, a.size, a.dir) {
            (0, 8, Dir::Read) => "nf_hook_state",
            (8, 8, Dir::Read) => "sk_buff",
            _ => return Err(Reject::acces(invalid)),
        };
        let btf = self.cat.btf.as_ref();
        let id = btf.and_then(|btf| btf.find_by_name_kind(name, BtfKind::Struct));
        let Some(aux) = id else {
            return Err(Reject::unsupported(alloc::format!("struct {name}, which the BTF lacks")));
        };
        self.note_mem(MemKind::Ctx);
        self.note_ctx(off as u32, a);
        if let Value::Reg(dst) = a.value {
            let object = RegState::pointer(RegType::PtrToBtfId, RegFlags::TRUSTED);
            *self.reg_mut(dst.into()) = RegState { aux, ..object };
        }
        Ok(())
    }

    /// An access of the arguments of what the program attaches to.
    fn check_btf_ctx(&mut self, off: i32, a: &Access) -> Res<()> {
        let value = self.btf_ctx_access(off.into(), a).map_err(|note| {
            let kind = Kind::InvalidCtxAccess { off, size: a.size as i32 };
            Reject::acces(match note.is_empty() {
                true => kind,
                false => Kind::Noted { note, kind: kind.into() },
            })
        })?;
        self.note_mem(MemKind::Ctx);
        self.note_ctx(off as u32, a);
        if let (Dir::Read, Value::Reg(dst)) = (a.dir, a.value) {
            *self.reg_mut(dst.into()) = value;
        }
        Ok(())
    }

    /// Type of what is at `off` of the context; `None` when it may not be accessed so.
    fn ctx_access(&self, off: i64, a: &Access) -> Option<(RegType, RegFlags)> {
        let info = self.cat.prog_info(self.input.prog_type)?;
        if info.ctx == CtxKind::Fields {
            let access = CtxAccess { off, size: a.size, write: a.dir == Dir::Write, sign: a.sign };
            let (prog_type, attach) = (self.input.prog_type, self.input.expected_attach_type);
            return self.cat.ctx_access(prog_type, attach, access).map(loaded_type);
        }
        Some((self.plain_ctx_access(info, off, a)?, RegFlags::NONE))
    }

    /// The same where all of the context may be read.
    fn plain_ctx_access(&self, info: &ProgTypeInfo, off: i64, a: &Access) -> Option<RegType> {
        let (size, end) = (i64::from(a.size), off + i64::from(a.size));
        if off < i64::from(info.ctx_start) || off >= i64::from(info.ctx_size) || off % size != 0 {
            return None;
        }
        if a.dir == Dir::Write && !info.ctx_writable(self.cat.features) {
            return None;
        }
        match info.ctx {
            CtxKind::PtRegs if end > i64::from(info.ctx_size) => None,
            CtxKind::RawArgsWritable if off == 0 => (size == 8).then_some(RegType::PtrToTpBuffer),
            // The record of a perf event may be read in part, its registers only in full.
            CtxKind::PerfEvent if off < PERF_SAMPLE_PERIOD && size != 8 => None,
            CtxKind::BtfArgs | CtxKind::Netfilter => None,
            _ => Some(RegType::Scalar),
        }
    }

    fn note_ctx(&mut self, off: u32, a: &Access) {
        let last = (off + a.size - 1) / 8;
        if last > 63 {
            self.facts.ctx_escapes = true;
            return;
        }
        let mask = match a.dir {
            Dir::Read => &mut self.facts.ctx_read,
            Dir::Write => &mut self.facts.ctx_written,
        };
        *mask |= (off / 8..=last).fold(0, |m, bit| m | 1 << bit);
    }
}
