//! What a comparison with NULL says about every copy of a pointer (`mark_ptr_or_null_regs`).

use alloc::collections::BTreeMap;

use crate::fields::{FieldKind, MapBtf, Record};
use crate::input::ProgInput;
use crate::regs::{NO_MAP, RegFlags, RegState, RegType};
use crate::state::{RefKind, VerifierState};
use stylet_uapi::MapType;

/// Index of the template of the inner maps of `map`.
pub(crate) fn inner_map(input: &ProgInput<'_>, map: u32) -> Option<u32> {
    input.maps.get(map as usize)?.inner.as_ref()?;
    let before = input.maps.iter().take(map as usize).filter(|m| m.inner.is_some()).count();
    Some((input.maps.len() + before) as u32)
}

/// Type of a map, or of a template of inner maps.
fn map_type(input: &ProgInput<'_>, map: u32) -> Option<MapType> {
    let own = input.maps.get(map as usize).map(|m| m.map_type);
    let inner = || {
        let at = (map as usize).checked_sub(input.maps.len())?;
        let mut templates = input.maps.iter().filter_map(|m| m.inner.as_ref());
        templates.nth(at).map(|m| m.map_type)
    };
    own.or_else(inner)
}

/// The pointer is not NULL: a lookup in a map of maps becomes a map, one in a map of sockets a socket.
pub(crate) fn mark_ptr_not_null(known: &Known<'_>, reg: &mut RegState) {
    reg.flags = reg.flags.without(RegFlags::MAYBE_NULL);
    if reg.ty != RegType::PtrToMapValue {
        return;
    }
    if let Some(inner) = inner_map(known.input, reg.map) {
        reg.ty = RegType::ConstPtrToMap;
        reg.map = inner;
        // A timer and the map that it is set up with must come from the same lookup.
        let record = &known.maps[inner as usize].record;
        if [FieldKind::Timer, FieldKind::Workqueue, FieldKind::TaskWork]
            .iter()
            .any(|k| record.has(*k))
        {
            reg.map_uid = reg.id;
        }
        return;
    }
    let socket = match map_type(known.input, reg.map) {
        Some(MapType::XSKMAP) => RegType::PtrToXdpSock,
        Some(MapType::SOCKMAP | MapType::SOCKHASH) => RegType::PtrToSocket,
        _ => return,
    };
    (reg.ty, reg.map, reg.map_uid) = (socket, NO_MAP, 0);
}

/// The object may hold a lock, which is told from others by the pointer's id (`reg_may_point_to_spin_lock`).
pub(crate) fn may_point_to_lock(known: &Known<'_>, reg: &RegState) -> bool {
    if reg.ty == RegType::PtrToBtfId && reg.flags.has(RegFlags::ALLOC) {
        return known.objects.get(&reg.aux).is_some_and(|r| r.has_lock());
    }
    reg.ty == RegType::PtrToMapValue && known.maps[reg.map as usize].record.has_lock()
}

/// Maps and types that comparisons ask about.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub input: &'a ProgInput<'a>,
    pub maps: &'a [MapBtf],
    pub objects: &'a BTreeMap<u32, Record>,
}

fn mark_one(known: &Known<'_>, reg: &mut RegState, id: u32, is_null: bool) {
    if !reg.maybe_null() || reg.id != id || id == 0 {
        return;
    }
    // Arithmetic on a pointer that may be NULL is refused, so the offset is still 0; nodes of lists and trees are found with
    // theirs.
    let own = reg.ty == RegType::PtrToBtfId && reg.flags.has(RegFlags::ALLOC);
    if reg.bounds.const_value() != Some(0) || reg.off != 0 && !own {
        return;
    }
    if is_null {
        *reg = RegState::known(0);
        return;
    }
    mark_ptr_not_null(known, reg);
    if !may_point_to_lock(known, reg) {
        reg.id = 0;
    }
}

/// In `state`, register `regno` of the running frame was found to be NULL or not.
pub(crate) fn mark_ptr_or_null_regs(
    known: &Known<'_>,
    state: &mut VerifierState,
    regno: usize,
    is_null: bool,
) {
    let (id, ref_obj_id) = (state.reg(regno).id, state.reg(regno).ref_obj_id);
    if is_null && ref_obj_id != 0 && ref_obj_id == id {
        state.refs.retain(|r| r.kind != RefKind::Ptr || r.id != id);
    }
    state.for_each_reg(|reg| mark_one(known, reg, id, is_null));
}
