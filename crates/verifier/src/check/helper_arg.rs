//! Arguments of helpers (`check_func_arg`).

use stylet_catalog::{ArgBase, ArgFlags, ArgType, Features, FuncProto};
use stylet_uapi::{HelperId, MapType};

use super::dynptr::{DYNPTR_SLOTS, DynptrUse};
use super::helper::CallMeta;
use super::mem::{Access, Dir, Value};
use super::region::{F_INNER_MAP, constant_contents};
use super::stack_read::slot_of;
use crate::backtrack::Backtrack;
use crate::env::Verifier;
use crate::fields::FieldKind;
use crate::kind::RejectionKind as Kind;
use crate::regs::{DynptrType, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::{REG_SIZE, RefKind, SlotType};

fn dir_of(flags: ArgFlags) -> Dir {
    if flags.contains(ArgFlags::MEM_WRITE) { Dir::Write } else { Dir::Read }
}

impl Verifier<'_> {
    /// Argument `n` of a call.
    pub(crate) fn check_func_arg(
        &mut self,
        n: usize,
        proto: &FuncProto,
        meta: &mut CallMeta,
    ) -> Res<()> {
        let arg = proto.args[n];
        let regno = n as u8 + 1;
        if arg.base == ArgBase::DontCare {
            return Ok(());
        }
        self.check_src(regno)?;
        if arg.base == ArgBase::Anything {
            if self.reg(regno.into()).ty == RegType::PtrToCtx {
                self.facts.ctx_escapes = true;
            }
            return Ok(());
        }
        if self.reg(regno.into()).is_pkt_pointer()
            && !self.may_access_packet(Dir::Read, Some(proto.pkt_access))
        {
            return Err(Reject::acces(Kind::HelperPacketAccess));
        }
        let mut arg = arg;
        if arg.base == ArgBase::PtrToMapValue {
            self.resolve_map_arg_type(&mut arg, meta)?;
        }
        let reg = *self.reg(regno.into());
        if !(reg.is_null() && arg.flags.contains(ArgFlags::PTR_MAYBE_NULL)) {
            if HelperId(meta.id) == HelperId::KPTR_XCHG && regno == 2 {
                self.check_kptr_source(&reg, regno, meta)?;
            } else {
                self.check_reg_type(&reg, regno, &arg, proto)?;
            }
            self.check_func_arg_reg_off(&reg, regno, &arg)?;
        }
        if arg.flags.contains(ArgFlags::OBJ_RELEASE) {
            if arg.base == ArgBase::PtrToDynptr {
                self.check_dynptr_release(&reg, regno)?;
            } else if reg.ref_obj_id == 0 && !reg.is_null() {
                return Err(Reject::inval(Kind::MustBeReferenced { reg: regno }));
            }
            meta.release_regno = regno;
        }
        if reg.ref_obj_id != 0 && !matches!(arg.base, ArgBase::PtrToDynptr | ArgBase::KptrXchgDest)
        {
            if meta.ref_obj_id != 0 {
                return Err(Reject::acces(Kind::TwoReferences {
                    reg: regno,
                    id: reg.ref_obj_id,
                    other: meta.ref_obj_id,
                }));
            }
            meta.ref_obj_id = reg.ref_obj_id;
        }
        self.check_arg_value(regno, &reg, &arg, proto, meta)
    }

    fn resolve_map_arg_type(&self, arg: &mut ArgType, meta: &CallMeta) -> Res<()> {
        let Some(map) = meta.map else {
            return Err(Reject::acces(Kind::InvalidMapPtr { what: "value" }));
        };
        match self.maps[map as usize].map_type {
            MapType::SOCKMAP | MapType::SOCKHASH => {
                if arg.flags.contains(ArgFlags::PTR_MAYBE_NULL) {
                    return Err(Reject::inval(Kind::SockmapArg));
                }
                arg.base = ArgBase::PtrToBtfIdSockCommon;
                Ok(())
            }
            MapType::BLOOM_FILTER if meta.id == HelperId::MAP_PEEK_ELEM.0 => {
                arg.flags = ArgFlags::NONE;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether an offset is allowed for this pointer (`check_func_arg_reg_off`).
    fn check_func_arg_reg_off(&self, reg: &RegState, regno: u8, arg: &ArgType) -> Res<()> {
        if arg.flags.contains(ArgFlags::OBJ_RELEASE) {
            if arg.base == ArgBase::PtrToDynptr && reg.ty == RegType::PtrToStack {
                return Ok(());
            }
            if reg.off != 0 {
                return Err(Reject::inval(Kind::ReleaseWithOffset { reg: regno }));
            }
            return self.check_ptr_off_reg(reg, regno, false);
        }
        match reg.ty {
            RegType::PtrToStack
            | RegType::PtrToPacket
            | RegType::PtrToPacketMeta
            | RegType::PtrToMapKey
            | RegType::PtrToMapValue
            | RegType::PtrToMem
            | RegType::PtrToBuf
            | RegType::Scalar => Ok(()),
            RegType::PtrToBtfId => self.check_ptr_off_reg(reg, regno, reg.may_have_offset()),
            _ => self.check_ptr_off_reg(reg, regno, false),
        }
    }

    fn check_arg_value(
        &mut self,
        regno: u8,
        reg: &RegState,
        arg: &ArgType,
        proto: &FuncProto,
        meta: &mut CallMeta,
    ) -> Res<()> {
        let uninit = arg.flags.contains(ArgFlags::MEM_UNINIT);
        match arg.base {
            ArgBase::ConstMapPtr => {
                if let Some(map) = meta.map
                    && (map != reg.map || meta.map_uid != reg.map_uid)
                {
                    return Err(Reject::inval(Kind::OtherMapForField {
                        what: "timer",
                        reg: 1,
                        uid: meta.map_uid,
                        map_reg: 2,
                        map_uid: reg.map_uid,
                    }));
                }
                (meta.map, meta.map_uid) = (Some(reg.map), reg.map_uid);
            }
            ArgBase::KptrXchgDest => return self.process_kptr_func(regno, reg, meta),
            ArgBase::PtrToSpinLock => {
                if self.in_rbtree_cb() {
                    return Err(Reject::acces(Kind::LockInRbtreeCb));
                }
                let lock = HelperId(meta.id) == HelperId::SPIN_LOCK;
                return self.process_spin_lock(regno, lock, RefKind::Lock);
            }
            ArgBase::PtrToTimer => {
                self.check_map_field_pointer(reg, regno, FieldKind::Timer)?;
                (meta.map, meta.map_uid) = (Some(reg.map), reg.map_uid);
            }
            ArgBase::PtrToMapKey => return self.check_map_key_arg(regno, meta),
            ArgBase::PtrToMapValue => {
                if reg.is_null() && arg.flags.contains(ArgFlags::PTR_MAYBE_NULL) {
                    return Ok(());
                }
                let Some(map) = meta.map else {
                    return Err(Reject::acces(Kind::InvalidMapPtr { what: "value" }));
                };
                let size = self.maps[map as usize].value_size;
                meta.raw_mode = uninit;
                return self.check_helper_mem_access(
                    regno,
                    size,
                    dir_of(arg.flags),
                    false,
                    Some(meta),
                );
            }
            ArgBase::PtrToFunc => meta.subprog = Some(reg.aux as usize),
            ArgBase::PtrToMem => {
                meta.raw_mode = uninit;
                if arg.flags.contains(ArgFlags::MEM_FIXED_SIZE) {
                    self.check_helper_mem_access(
                        regno,
                        arg.size,
                        dir_of(arg.flags),
                        false,
                        Some(meta),
                    )?;
                    if arg.flags.contains(ArgFlags::MEM_ALIGNED) {
                        self.check_arg_alignment(reg, regno, arg.size)?;
                    }
                }
            }
            ArgBase::ConstSize | ArgBase::ConstSizeOrZero => {
                let before = proto.args[usize::from(regno) - 2];
                let zero_ok = arg.base == ArgBase::ConstSizeOrZero;
                return self.check_mem_size_reg(regno, dir_of(before.flags), zero_ok, meta);
            }
            ArgBase::ConstAllocSizeOrZero => {
                let Some(size) = reg.const_value() else {
                    return Err(Reject::acces(Kind::NotKnownConstant { reg: regno }));
                };
                meta.mem_size = size as u32;
                return self.mark_reg_precise(regno.into());
            }
            ArgBase::PtrToPercpuBtfId => meta.percpu_type = Some(reg.aux),
            ArgBase::PtrToConstStr => return self.check_reg_const_str(reg, regno),
            ArgBase::PtrToCtx => self.facts.ctx_escapes = true,
            ArgBase::PtrToDynptr => return self.check_dynptr_arg(regno, reg, arg, meta),
            _ => {}
        }
        Ok(())
    }

    /// Only what was made on the stack and holds a reference can be released.
    fn check_dynptr_release(&self, reg: &RegState, regno: u8) -> Res<()> {
        if reg.ty != RegType::PtrToStack {
            return Err(Reject::inval(Kind::ReleasesConstDynptr));
        }
        let spot = self.stack_object(reg, "dynptr", DYNPTR_SLOTS);
        match &spot {
            Ok(Some((frame, spi)))
                if self.cur.frames[*frame].stack[*spi].spilled.ref_obj_id != 0 =>
            {
                Ok(())
            }
            _ => Err(Reject::inval(Kind::UnacquiredDynptr { reg: regno }).after(spot.err())),
        }
    }

    fn check_dynptr_arg(
        &mut self,
        regno: u8,
        reg: &RegState,
        arg: &ArgType,
        meta: &mut CallMeta,
    ) -> Res<()> {
        let ty = if arg.flags.contains(ArgFlags::DYNPTR_TYPE_LOCAL) {
            Some(DynptrType::Local)
        } else if arg.flags.contains(ArgFlags::DYNPTR_TYPE_RINGBUF) {
            Some(DynptrType::Ringbuf)
        } else {
            None
        };
        if arg.flags.contains(ArgFlags::MEM_UNINIT) {
            let Some(ty) = ty else { return Err(Reject::unsupported("dynptrs of this kind")) };
            return self.process_dynptr_func(regno, DynptrUse::Init { ty, clone_ref: 0 });
        }
        let rdonly = arg.flags.contains(ArgFlags::MEM_RDONLY);
        self.process_dynptr_func(regno, DynptrUse::Use { ty, rdonly })?;
        meta.dynptr = self.dynptr_arg(reg)?;
        Ok(())
    }

    fn check_arg_alignment(&self, reg: &RegState, regno: u8, size: u32) -> Res<()> {
        let at = reg.bounds.var_off.add(crate::tnum::Tnum::known(reg.off as i64 as u64));
        if reg.ty != RegType::PtrToMem && !at.is_aligned(size.into()) {
            let access = Access {
                regno,
                off: 0,
                size,
                dir: Dir::Read,
                value: Value::None,
                strict: true,
                sign: false,
            };
            return super::mem::check_alignment(reg, &access);
        }
        Ok(())
    }

    /// Whether a constant key below `max_entries` always has a value: keys are indices, and the map at run
    /// time has as many as its definition says. Inner per-CPU arrays may have fewer than their template;
    /// the kernel overlooks that.
    fn can_elide_nullness(&self, map: u32) -> bool {
        let def = self.maps[map as usize];
        match def.map_type {
            MapType::ARRAY => def.map_flags & F_INNER_MAP == 0,
            MapType::PERCPU_ARRAY => (map as usize) < self.input.maps.len(),
            _ => false,
        }
    }

    fn check_map_key_arg(&mut self, regno: u8, meta: &mut CallMeta) -> Res<()> {
        let Some(map) = meta.map else {
            return Err(Reject::acces(Kind::InvalidMapPtr { what: "key" }));
        };
        let key_size = self.maps[map as usize].key_size;
        self.check_helper_mem_access(regno, key_size, Dir::Read, false, None)?;
        if self.can_elide_nullness(map) && self.cat.has(Features::CONST_MAP_KEY) {
            meta.const_key = self.constant_map_key(regno, key_size)?;
        }
        Ok(())
    }

    /// The key, when it is a constant on the stack (`get_constant_map_key`).
    fn constant_map_key(&mut self, regno: u8, key_size: u32) -> Res<Option<u64>> {
        let ptr = *self.reg(regno.into());
        let Some(value) = ptr.bounds.const_value().filter(|_| ptr.ty == RegType::PtrToStack) else {
            return Ok(None);
        };
        let (spi, byte) = slot_of((value as i64).wrapping_add(ptr.off.into()));
        let slot = self.cur.frames[ptr.frameno()].stack[spi];
        let run =
            |want: SlotType| slot.types[..=byte].iter().rev().take_while(|t| **t == want).count();
        if run(SlotType::Zero) >= key_size as usize {
            return Ok(Some(0));
        }
        if !slot.is_spilled_scalar()
            || run(SlotType::Spill) != key_size as usize
            || byte + 1 != REG_SIZE
        {
            return Ok(None);
        }
        let Some(key) = slot.spilled.const_value() else { return Ok(None) };
        let mut bt = Backtrack::new(self.cur.curframe());
        bt.set_frame_slot(ptr.frameno(), spi);
        self.mark_precise(bt)?;
        // Only the spilled bytes are the key.
        let bits = key_size * 8;
        Ok(Some(if bits >= 64 { key } else { key & ((1 << bits) - 1) }))
    }

    /// A format string: constant, in a frozen read-only map, and ended by a zero.
    pub(super) fn check_reg_const_str(&mut self, reg: &RegState, regno: u8) -> Res<()> {
        let map = self.map_of(reg);
        if constant_contents(map).is_none() {
            return Err(Reject::acces(Kind::NotReadOnlyMap { reg: regno }));
        }
        if !reg.is_const() {
            return Err(Reject::acces(Kind::NotConstantAddress { reg: regno }));
        }
        if map.map_type != MapType::ARRAY {
            return Err(Reject::acces(Kind::NoDirectValueAccess));
        }
        let size = (map.value_size as i64 - i64::from(reg.off)).max(0) as u32;
        self.check_map_access(regno, reg.off, size, false, false)?;
        match self.const_str(reg) {
            Some(_) => Ok(()),
            None => Err(Reject::inval(Kind::StringNotTerminated)),
        }
    }

    /// The bytes of a string in a frozen map, without the final zero.
    pub(crate) fn const_str(&self, reg: &RegState) -> Option<&[u8]> {
        let contents = constant_contents(self.maps[reg.map as usize])?;
        let at = i64::from(reg.off).checked_add(reg.bounds.const_value()? as i64)?;
        let tail = contents.get(usize::try_from(at).ok()?..)?;
        let end = tail.iter().position(|b| *b == 0)?;
        Some(&tail[..end])
    }
}
