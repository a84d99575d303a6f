//! Memory that a helper reads or writes (`check_helper_mem_access`).

use stylet_catalog::{CtxKind, Features};

use super::helper::CallMeta;
use super::mem::{Access, Dir, Value};
use super::stack_read::slot_of;
use super::stack_write::scrub;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::SlotType;

/// Longest piece of memory that a helper may be given (`BPF_MAX_VAR_SIZ`).
const MAX_VAR_SIZ: u64 = 1 << 29;

impl Verifier<'_> {
    /// `size` bytes behind `regno` may be read or written by a helper. `meta` is there when the
    /// helper may be given uninitialised stack.
    pub(crate) fn check_helper_mem_access(
        &mut self,
        regno: u8,
        size: u32,
        dir: Dir,
        zero_ok: bool,
        meta: Option<&mut CallMeta>,
    ) -> Res<()> {
        let reg = *self.reg(regno.into());
        let plain = !reg.maybe_null();
        match reg.ty {
            RegType::PtrToMapKey if plain => {
                if dir == Dir::Write {
                    return Err(Reject::acces(Kind::CannotWriteInto {
                        reg: regno,
                        ty: reg.type_name(),
                    }));
                }
                self.check_mem_region(regno, reg.off, size, self.map_of(&reg).key_size, false)
            }
            RegType::PtrToMapValue if plain => {
                self.check_map_access_type(&reg, reg.off, size, dir)?;
                self.check_map_access(regno, reg.off, size, zero_ok, false).map(drop)
            }
            RegType::PtrToMem if plain && !reg.flags.has(RegFlags::UNTRUSTED) => {
                if reg.flags.has(RegFlags::RDONLY) && dir == Dir::Write {
                    return Err(Reject::acces(Kind::CannotWriteInto {
                        reg: regno,
                        ty: reg.type_name(),
                    }));
                }
                self.check_mem_region(regno, reg.off, size, reg.aux, zero_ok)
            }
            RegType::PtrToPacket | RegType::PtrToPacketMeta if plain => {
                self.check_packet_access(regno, reg.off, size, zero_ok)
            }
            RegType::PtrToStack if plain => {
                self.check_stack_range_initialized(regno, reg.off, size, zero_ok, dir, meta)
            }
            RegType::PtrToBuf if plain => self.check_sized_buffer(regno, &reg, reg.off, size, dir),
            RegType::PtrToBtfId => {
                let access = Access { size, dir: Dir::Read, ..Access::helper_byte(regno, 0) };
                self.check_btf_access(&reg, reg.off, &access)
            }
            RegType::PtrToCtx if plain && self.ctx_size_unknown() => {
                self.check_ctx_as_mem(regno, size, dir, zero_ok)
            }
            _ => {
                if zero_ok && size == 0 && reg.is_null() {
                    return Ok(());
                }
                Err(Reject::acces(Kind::HelperMemType { reg: regno, ty: reg.type_name() }))
            }
        }
    }

    /// Program types whose context is not rewritten may pass it as memory.
    fn ctx_size_unknown(&self) -> bool {
        self.cat
            .prog_info(self.input.prog_type)
            .is_some_and(|info| !matches!(info.ctx, CtxKind::PerfEvent | CtxKind::Fields))
    }

    fn check_ctx_as_mem(&mut self, regno: u8, size: u32, dir: Dir, zero_ok: bool) -> Res<()> {
        let Some(last) = size.checked_sub(1) else {
            return if zero_ok { Ok(()) } else { Err(Reject::acces(Kind::Silent)) };
        };
        self.facts.ctx_escapes = true;
        self.check_mem_access(Access {
            regno,
            off: last as i32,
            size: 1,
            dir,
            value: Value::None,
            strict: false,
            sign: false,
        })
    }

    /// The stack bytes may be read by a helper; what it writes is unknown afterwards.
    pub(crate) fn check_stack_range_initialized(
        &mut self,
        regno: u8,
        off: i32,
        size: u32,
        zero_ok: bool,
        dir: Dir,
        meta: Option<&mut CallMeta>,
    ) -> Res<()> {
        let reg = *self.reg(regno.into());
        if size == 0 && !zero_ok {
            return Err(Reject::acces(Kind::ZeroSizedStackRead { reg: regno }));
        }
        self.check_stack_within_bounds(regno, off, size, dir)?;
        let (min, max) = match reg.bounds.const_value() {
            Some(value) => (value as i64 + i64::from(off), value as i64 + i64::from(off)),
            None => (reg.bounds.smin + i64::from(off), reg.bounds.smax + i64::from(off)),
        };
        if let Some(meta) = meta.filter(|m| m.raw_mode && min == max) {
            (meta.access_size, meta.raw_regno) = (size, regno);
            return self.check_no_dynptrs(reg.frameno(), min, min + i64::from(size));
        }
        let (frame, end) = (reg.frameno(), max + i64::from(size));
        if min >= end {
            return Ok(());
        }
        self.check_no_objects(regno, &reg, (min, end), size)?;
        self.mark_stack_read(frame, slot_of(end - 1).0, slot_of(min).0);
        if dir == Dir::Write {
            self.clobber_stack(frame, min, end);
        }
        Ok(())
    }

    /// A helper may not fill a dynptr byte by byte.
    fn check_no_dynptrs(&self, frame: usize, min: i64, end: i64) -> Res<()> {
        for off in min..end {
            let (spi, byte) = slot_of(off);
            if self.cur.frames[frame].stack[spi].types[byte] == SlotType::Dynptr {
                return Err(Reject::acces(Kind::WriteToDynptr { off }));
            }
        }
        Ok(())
    }

    /// A helper may not see the bytes of dynptrs, iterators and flags.
    fn check_no_objects(
        &self,
        regno: u8,
        reg: &RegState,
        (min, end): (i64, i64),
        size: u32,
    ) -> Res<()> {
        let uninit = self.cat.has(Features::UNINIT_STACK_READ);
        let stack = &self.cur.frames[reg.frameno()].stack;
        for off in min..end {
            let (spi, byte) = slot_of(off);
            let ty = stack[spi].types[byte];
            if matches!(ty, SlotType::Dynptr | SlotType::Iter | SlotType::IrqFlag)
                || (ty == SlotType::Invalid && !uninit)
            {
                let (at, var_off) = ((off - min) as u32, reg.bounds.var_off);
                return Err(Reject::acces(if reg.is_const() {
                    Kind::InvalidHelperStackRead { reg: regno, off: min, at, size }
                } else {
                    Kind::InvalidVarHelperStackRead { reg: regno, var_off, at, size }
                }));
            }
        }
        Ok(())
    }

    fn clobber_stack(&mut self, frame: usize, min: i64, end: i64) {
        let func = self.cur.frame_mut(frame);
        for at in min..end {
            let (spi, byte) = slot_of(at);
            let slot = &mut func.stack[spi];
            match slot.types[byte] {
                SlotType::Misc | SlotType::Dynptr | SlotType::Iter | SlotType::IrqFlag => {}
                SlotType::Zero | SlotType::Invalid => slot.types[byte] = SlotType::Misc,
                SlotType::Spill => {
                    slot.spilled = RegState::unknown();
                    scrub(slot);
                }
            }
        }
    }

    /// A size argument and the memory argument before it (`check_mem_size_reg`).
    pub(crate) fn check_mem_size_reg(
        &mut self,
        regno: u8,
        dir: Dir,
        zero_ok: bool,
        meta: &mut CallMeta,
    ) -> Res<()> {
        let reg = *self.reg(regno.into());
        let b = reg.bounds;
        meta.msize_max = b.umax;
        if b.smin < 0 {
            return Err(Reject::acces(Kind::SizeMinNegative { reg: regno }));
        }
        if b.umin == 0 && !zero_ok {
            return Err(Reject::acces(Kind::InvalidZeroSizedRead {
                reg: regno,
                umin: b.umin,
                umax: b.umax,
            }));
        }
        if b.umax >= MAX_VAR_SIZ {
            return Err(Reject::acces(Kind::SizeUnbounded { reg: regno }));
        }
        let meta = b.is_const().then_some(meta);
        self.check_helper_mem_access(regno - 1, b.umax as u32, dir, zero_ok, meta)?;
        self.mark_reg_precise(regno.into())
    }
}
