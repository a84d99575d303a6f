//! CO-RE: fitting instructions to the types of the kernel (or user backend) they will run on.
//!
//! The rules are libbpf's (src/relo_core.c). For the local type of a relocation all types of the same
//! essential name and kind are candidates; the relocation's path is followed in each of them; all that have
//! it must give the same value, which then replaces the one the compiler put into the instruction. Where
//! none has it, questions of existence answer 0 and the instruction is poisoned otherwise.

mod calc;
mod compat;
mod matching;
mod patch;
mod spec;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hashbrown::HashMap;
use stylet_insn::Insn;

use crate::ext::{CoreRelo, ReloKind};
use crate::types::*;
use crate::{Btf, Error, ReloFault};

use calc::Value;
use compat::Steps;
use spec::Spec;

/// `imm` of the helper call that replaces an instruction whose relocation failed.
pub const POISON_IMM: i32 = 0x0bad_2310;

/// What became of each relocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each relocation that lies in the program, in order.
    pub outcomes: Vec<Outcome>,
}

/// What became of one relocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Position in the list of relocations.
    pub index: usize,
    /// Slot of the instruction in the given slice.
    pub slot: usize,
    /// The relocation as libbpf prints it, `<byte_off> [12] struct s.f (0:1 @ offset 4)`.
    pub local: String,
    /// What it met in the target, printed the same way; `None` when nothing matches.
    pub target: Option<String>,
    /// Value that the compiler is expected to have left.
    pub orig: u64,
    /// Value in the target.
    pub new: u64,
    /// Why the instruction was poisoned, if it was.
    pub poison: Option<Poison>,
}

/// Why an instruction was replaced by a call of helper [`POISON_IMM`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// The target has no such type, field or enumerator.
    NotFound,
    /// The field's size differs, and loading it with another size would change its value:
    /// it is neither a pointer nor an unsigned integer in both.
    MemSize,
}

/// A target type that a local type may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cand {
    /// Which of the targets.
    target: usize,
    id: TypeId,
}

/// What a relocation comes to.
struct Resolved {
    local: Spec,
    target: Option<(usize, Spec)>,
    value: Value,
}

/// Relocates the programs of an object against a target. Candidates found for a local type are kept for
/// its further relocations, and narrowed down by each of them as in libbpf.
#[derive(Debug)]
pub struct Relocator<'a> {
    local: &'a Btf,
    targets: &'a [&'a Btf],
    cands: HashMap<TypeId, Vec<Cand>>,
}

/// Relocates one program: see [`Relocator::relocate`].
///
/// # Errors
/// [`Error::Relo`].
pub fn relocate(
    insns: &mut [Insn],
    base_slot: usize,
    relos: &[CoreRelo],
    local: &Btf,
    targets: &[&Btf],
) -> Result<Report, Error> {
    Relocator::new(local, targets).relocate(insns, base_slot, relos)
}

/// Whether a target type may stand for a local one (`bpf_core_types_are_compat`): the check for kernel
/// variables and functions that an object names.
///
/// # Errors
/// [`ReloFault`] for ids that do not exist and types nested too deeply.
pub fn types_are_compat(
    local: &Btf,
    local_id: TypeId,
    target: &Btf,
    target_id: TypeId,
) -> Result<bool, ReloFault> {
    let at = |btf, id| compat::At { btf, id };
    compat::types_are_compat(
        at(local, local_id),
        at(target, target_id),
        compat::MAX_LEVEL,
        &mut Steps::new(),
    )
}

impl<'a> Relocator<'a> {
    /// `local` is the object's BTF. The first target is the kernel's; the others, its modules' (split
    /// BTF on top of it), are searched where the first has no candidate.
    pub fn new(local: &'a Btf, targets: &'a [&'a Btf]) -> Relocator<'a> {
        Relocator { local, targets, cands: HashMap::new() }
    }

    /// Patches `insns`, the slots of a section from `base_slot` on, by the relocations `relos` of the
    /// section. Relocations of other slots are left out.
    ///
    /// # Errors
    /// [`Error::Relo`] where libbpf refuses the object: broken or ambiguous relocations, instructions
    /// that do not hold what the compiler must have put there. `insns` is then partly patched.
    pub fn relocate(
        &mut self,
        insns: &mut [Insn],
        base_slot: usize,
        relos: &[CoreRelo],
    ) -> Result<Report, Error> {
        let mut report = Report::default();
        for (index, relo) in relos.iter().enumerate() {
            let error = |relo: String, fault| Error::Relo { index, relo, fault };
            if !(relo.insn_off as usize).is_multiple_of(Insn::SIZE) {
                let fault = ReloFault::Unaligned { insn_off: relo.insn_off };
                return Err(error(spec::describe(self.local, relo), fault));
            }
            let slot = (relo.insn_off as usize / Insn::SIZE).checked_sub(base_slot);
            let Some(slot) = slot.filter(|&slot| slot < insns.len()) else { continue };
            let resolved = self.resolve(relo);
            let found = resolved.map_err(|fault| error(spec::describe(self.local, relo), fault))?;
            let local = found.local.to_text(self.local);
            let poison = patch::patch(insns, slot, &found.value)
                .map_err(|fault| error(local.clone(), fault))?;
            report.outcomes.push(Outcome {
                index,
                slot,
                local,
                target: found.target.map(|(t, spec)| spec.to_text(self.targets[t])),
                orig: found.value.orig,
                new: found.value.new,
                poison,
            });
        }
        Ok(report)
    }

    /// Follows the relocation in all candidates (`bpf_core_calc_relo_insn`).
    fn resolve(&mut self, relo: &CoreRelo) -> Result<Resolved, ReloFault> {
        let local_btf = self.local;
        let t = local_btf.type_by_id(relo.type_id);
        let t = t.ok_or(ReloFault::BadType { type_id: relo.type_id })?;
        let local = Spec::parse(local_btf, relo)?;
        if relo.kind == ReloKind::TypeIdLocal {
            let value = Value::local_id(relo.type_id);
            return Ok(Resolved { local, target: None, value });
        }
        if local_btf.name(t.name_off()).is_empty() {
            return Err(ReloFault::Anonymous { type_id: relo.type_id });
        }
        let mut steps = Steps::new();
        let mut kept = Vec::new();
        let mut first: Option<(usize, Spec, Value)> = None;
        for cand in self.candidates(relo.type_id, &t) {
            let target_btf = self.targets[cand.target];
            let Some(spec) =
                matching::match_spec(local_btf, &local, target_btf, cand.id, &mut steps)?
            else {
                continue;
            };
            let value = Value::calc(local_btf, &local, Some((target_btf, &spec)))?;
            kept.push(cand);
            match &first {
                None => first = Some((cand.target, spec, value)),
                Some((_, one, agreed)) => agree((one, agreed), (&spec, &value))?,
            }
        }
        let Some((target, spec, value)) = first else {
            let value = Value::calc(local_btf, &local, None)?;
            return Ok(Resolved { local, target: None, value });
        };
        self.cands.insert(relo.type_id, kept);
        Ok(Resolved { local, target: Some((target, spec)), value })
    }

    /// Types of the same essential name and kind (`bpf_core_find_cands`).
    fn candidates(&mut self, id: TypeId, t: &Type<'_>) -> Vec<Cand> {
        if let Some(cands) = self.cands.get(&id) {
            return cands.clone();
        }
        let name = self.local.name(t.name_off());
        let mut cands = Vec::new();
        for (target, btf) in self.targets.iter().enumerate() {
            // A module's base is the first target, which has been searched.
            let start = if target == 0 { 1 } else { btf.start_id() };
            let same_kind =
                |id: &TypeId| btf.kind(*id).is_some_and(|k| compat::kinds_are_compat(t.kind(), k));
            let found = btf.find_by_essential_name(name).filter(|&id| id >= start);
            cands.extend(found.filter(same_kind).map(|id| Cand { target, id }));
            if target == 0 && !cands.is_empty() {
                break;
            }
        }
        self.cands.insert(id, cands.clone());
        cands
    }
}

/// All candidates must come to the same place and value: picking one of them would be a guess.
fn agree(one: (&Spec, &Value), other: (&Spec, &Value)) -> Result<(), ReloFault> {
    let (first, second) = (one.0.bit_offset, other.0.bit_offset);
    if first != second {
        return Err(ReloFault::OffsetAmbiguity { first: second, second: first });
    }
    let (first, second) = (one.1, other.1);
    if first.poison != second.poison || first.new != second.new {
        let text = |v: &Value| {
            let word = if v.poison { "failure " } else { "success " };
            word.to_string() + &v.new.to_string()
        };
        return Err(ReloFault::ValueAmbiguity { first: text(second), second: text(first) });
    }
    Ok(())
}
