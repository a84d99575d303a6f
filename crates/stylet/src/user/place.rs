//! Code into the arena: compilation, placement, relocation.

use super::{LoadedProg, Session};
use crate::{Error, Object};
use stylet_agent_image as agent;
use stylet_btf::{Btf, Type};
use stylet_insn::opcode as op;
use stylet_jit::{Code, CpuFeatures, HelperImpl, Options, Sym};
use stylet_object::MapSpec;
use stylet_runtime::abi::run_ctx;
use stylet_runtime::host::{Arena, MapId, Part};
use stylet_runtime::map as arena_map;
use stylet_uapi::{HelperId, MapType};
use stylet_verifier::VerifiedProg;

/// Code is placed at multiples of this.
const CODE_ALIGN: u64 = 64;

/// Implementations for one kind of map, with the symbols that the agent image exports: numbered from here on, far from any
/// helper's number.
const SPECIAL: u32 = 1 << 16;
const SPECIAL_SYMBOLS: [&str; 4] = [
    "stylet_hash_lookup_4",
    "stylet_hash_lookup_8",
    "stylet_hash_update_4",
    "stylet_hash_update_8",
];
const HASH_LOOKUP_4: u32 = SPECIAL;
const HASH_LOOKUP_8: u32 = SPECIAL + 1;
const HASH_UPDATE_4: u32 = SPECIAL + 2;
const HASH_UPDATE_8: u32 = SPECIAL + 3;

/// How helper `id` is carried out when it is called with map `map`.
fn helper_impl(id: u32, map: Option<(&MapSpec, u32)>) -> HelperImpl {
    match (HelperId(id), map) {
        (HelperId::GET_ATTACH_COOKIE, _) => HelperImpl::LoadRunCtx64(run_ctx::COOKIE),
        (HelperId::GET_FUNC_IP, _) => HelperImpl::LoadRunCtx64(run_ctx::FUNC_IP),
        (HelperId::GET_SMP_PROCESSOR_ID, _) => HelperImpl::LoadRunCtx32(run_ctx::SLOT),
        (HelperId::TAIL_CALL, _) => HelperImpl::TailCall {
            values_off: arena_map::VALUES_OFF as i32,
            max_entries_off: arena_map::MAX_ENTRIES_OFF,
            count_off: run_ctx::TAIL_CALLS,
        },
        (HelperId::MAP_LOOKUP_ELEM, Some((spec, elem_size))) if spec.map_type == MapType::ARRAY => {
            HelperImpl::ArrayLookup {
                values_off: arena_map::VALUES_OFF as i32,
                elem_size,
                max_entries: spec.max_entries,
            }
        }
        (helper, Some((spec, _))) if spec.map_type == MapType::HASH => {
            match (helper, spec.key_size) {
                (HelperId::MAP_LOOKUP_ELEM, 4) => HelperImpl::CallAs(HASH_LOOKUP_4),
                (HelperId::MAP_LOOKUP_ELEM, 8) => HelperImpl::CallAs(HASH_LOOKUP_8),
                (HelperId::MAP_UPDATE_ELEM, 4) => HelperImpl::CallAs(HASH_UPDATE_4),
                (HelperId::MAP_UPDATE_ELEM, 8) => HelperImpl::CallAs(HASH_UPDATE_8),
                _ => HelperImpl::Call,
            }
        }
        _ => HelperImpl::Call,
    }
}

/// Where in the agent image the implementation is that `Sym::Helper(id)` stands for.
fn helper_offset(id: u32) -> Option<u32> {
    match id.checked_sub(SPECIAL) {
        Some(special) => agent::symbol(SPECIAL_SYMBOLS.get(special as usize)?),
        None => agent::symbol(&format!("stylet_helper_{id}")),
    }
}

/// Compiles a program whose maps are `maps`.
pub(super) fn compile(
    name: &str,
    verified: &VerifiedProg,
    maps: &[MapSpec],
) -> Result<Code, Error> {
    let helper = |id: u32, map: Option<u32>| {
        let spec = map.and_then(|m| maps.get(m as usize));
        helper_impl(id, spec.map(|s| (s, s.value_size.next_multiple_of(8))))
    };
    let options = Options { cpu: CpuFeatures::detect(), helper: &helper };
    stylet_jit::compile(verified, &options)
        .map_err(|source| Error::Jit { prog: name.to_owned(), source })
}

/// Whether a run of the program must hold a CPU slot from its start to its end: it is told its slot, gets pointers to values
/// that belong to a slot, or makes ring buffer records, which takes two calls. Other helpers take a slot for the call.
pub(super) fn needs_slot(verified: &VerifiedProg, maps: &[MapSpec]) -> bool {
    let helpers = &verified.facts().helpers;
    let by_map = maps_named(verified, maps).any(|m| arena_map::ops::needs_slot(m.map_type));
    // The program that a tail call goes to has its own needs, which are not known here.
    const WHOLE: [HelperId; 3] =
        [HelperId::RINGBUF_RESERVE, HelperId::RINGBUF_RESERVE_DYNPTR, HelperId::TAIL_CALL];
    helpers.iter().any(|&id| match HelperId(id) {
        HelperId::MAP_LOOKUP_ELEM | HelperId::MAP_UPDATE_ELEM | HelperId::FOR_EACH_MAP_ELEM => {
            by_map
        }
        id => WHOLE.contains(&id) || stylet_runtime::helpers::needs_slot(id.0),
    })
}

/// The maps that the program names, and what those hold.
fn maps_named<'a>(
    verified: &'a VerifiedProg,
    maps: &'a [MapSpec],
) -> impl Iterator<Item = &'a MapSpec> {
    let loads = verified.insns().iter().filter(|i| i.is_lddw() && i.src == op::PSEUDO_MAP_IDX);
    let named = loads.filter_map(|i| maps.get(usize::try_from(i.imm).ok()?));
    named.flat_map(|m| [Some(m), m.inner.as_deref()]).flatten()
}

impl Session {
    /// Compiles a verified program and puts it into the arena's text.
    pub(super) fn place_prog(
        &mut self,
        object: &Object,
        spec: usize,
        verified: VerifiedProg,
        maps: &[MapId],
    ) -> Result<LoadedProg, Error> {
        let prog = &object.spec.progs[spec];
        let mut code = compile(&prog.name, &verified, &object.spec.maps)?;
        if !code.fixups.is_empty() {
            return Err(Error::Unsupported {
                object: object.path.clone(),
                what: format!(
                    "program '{}': loads through pointers that may be invalid",
                    prog.name
                ),
                advice: "",
            });
        }
        let fail = |source| Error::Runtime { what: format!("code of '{}'", prog.name), source };
        let code_off =
            self.arena.alloc(Part::Text, code.text.len() as u64, CODE_ALIGN).map_err(fail)?;
        link(&mut code, code_off, &self.arena, maps, &self.env_btf)
            .ok_or_else(|| Error::Link { prog: prog.name.clone() })?;
        self.arena.write(code_off, &code.text).map_err(fail)?;
        let id = self.next_prog;
        self.next_prog += 1;
        Ok(LoadedProg { spec, verified, code, code_off, id })
    }
}

/// Fills in the relocations of code placed at `code_off`; `None` when it refers to what is not there.
fn link(code: &mut Code, code_off: u64, arena: &Arena, maps: &[MapId], btf: &Btf) -> Option<()> {
    let map_off = |index: u32| Some(arena.map(*maps.get(index as usize)?).ok()?.offset());
    for reloc in &code.relocs {
        let target = match reloc.sym {
            Sym::Map(index) => map_off(index)?,
            Sym::MapValue(index) => map_off(index)? + u64::from(arena_map::VALUES_OFF),
            Sym::Helper(id) => u64::from(helper_offset(id)?),
            Sym::Kfunc(id) => {
                u64::from(agent::symbol(&format!("stylet_kfunc_{}", kfunc(btf, id)?))?)
            }
        };
        let field = code_off + u64::from(reloc.at) + 4;
        let value = target as i64 + i64::from(reloc.addend) - field as i64;
        let value = i32::try_from(value).ok()?;
        let at = reloc.at as usize;
        code.text.get_mut(at..at + 4)?.copy_from_slice(&value.to_le_bytes());
    }
    Some(())
}

/// Name of the function with this id.
fn kfunc(btf: &Btf, id: u32) -> Option<&str> {
    match btf.type_by_id(id)? {
        Type::Func(func) => Some(btf.name(func.name_off)),
        _ => None,
    }
}

/// A seed for a hash map, unlike from run to run.
pub(super) fn seed() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}
