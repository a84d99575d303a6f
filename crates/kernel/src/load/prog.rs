//! Programs of an object.

use std::os::fd::{AsFd, BorrowedFd};

use stylet_btf::core_relo::{Outcome, POISON_IMM};
use stylet_insn::{Insn, opcode};
use stylet_object::{POISON_CALL_KFUNC_BASE, ProgSpec, SecFlags, Spec};
use stylet_uapi::flags::prog_flags;
use stylet_uapi::{AttachType, HelperId, MapType};

use super::{LoadOptions, names, raw};
use crate::Error;
use crate::feature::Feature;
use crate::kernel::Kernel;
use crate::map::Map;
use crate::prog::{Prog, ProgLoad};

/// Loads every program with `autoload`.
pub(super) fn load_all(
    kernel: &Kernel,
    spec: &Spec,
    btf: Option<BorrowedFd<'_>>,
    maps: &[Map],
    options: &LoadOptions<'_>,
) -> Result<Vec<Prog>, Error> {
    let btf = btf.filter(|_| kernel.has(Feature::BtfFunc));
    let autoload = spec.progs.iter().filter(|prog| prog.autoload);
    autoload.map(|prog| load(kernel, spec, prog, btf, maps, options)).collect()
}

fn load(
    kernel: &Kernel,
    spec: &Spec,
    prog: &ProgSpec,
    btf: Option<BorrowedFd<'_>>,
    maps: &[Map],
    options: &LoadOptions<'_>,
) -> Result<Prog, Error> {
    let mut insns = prog.insns.clone();
    name_maps(prog, &mut insns, maps)?;
    replace_helpers(kernel, &mut insns);
    let target = names::attach_target(kernel, prog)?;
    // Calls name a module by its place among all modules, where the place 0 is nobody's.
    let calls_modules = insns.iter().any(|insn| insn.is_kfunc_call() && insn.off != 0);
    let modules: Vec<BorrowedFd<'_>> = match calls_modules {
        true => kernel.modules().iter().map(AsFd::as_fd).collect(),
        false => Vec::new(),
    };
    let flags = [
        (SecFlags::SLEEPABLE, prog_flags::SLEEPABLE),
        (SecFlags::XDP_FRAGS, prog_flags::XDP_HAS_FRAGS),
    ];
    let prog_flags = flags
        .iter()
        .filter(|(sec, _)| prog.sec.flags.has(*sec))
        .fold(0, |all, (_, flag)| all | flag);
    let load = ProgLoad {
        name: &prog.name,
        prog_type: prog.sec.prog_type,
        attach_type: attach_type(kernel, prog),
        insns: &insns,
        license: &spec.license,
        prog_flags,
        btf,
        func_info: if btf.is_some() { &prog.func_info } else { &[] },
        line_info: if btf.is_some() { &prog.line_info } else { &[] },
        attach_btf_id: target.as_ref().map_or(0, |target| target.btf_id),
        attach_fd: target.as_ref().and_then(|target| target.module),
        fd_array: &modules,
        log_level: options.log_level,
    };
    let loaded = Prog::load(kernel, &load).map_err(|error| explain(spec, prog, error))?;
    Ok(Prog { section: prog.section.clone(), sec: prog.sec.clone(), ..loaded })
}

/// The verifier reports what the loader put in for something missing as a call of a helper that does not exist; says what
/// is missing instead (`fixup_verifier_log`).
fn explain(spec: &Spec, prog: &ProgSpec, error: Error) -> Error {
    let Error::Rejected { prog: name, errno, hint, log } = error else { return error };
    let found = unknown_call(&log).and_then(|(insn_idx, helper)| {
        if helper == POISON_IMM {
            let of_insn = |outcome: &&Outcome| outcome.slot == insn_idx as usize;
            let local = &prog.core_outcomes.iter().find(of_insn)?.local;
            return Some(format!(
                "the kernel has nothing for CO-RE relocation {local}{}",
                at(spec, prog, insn_idx)
            ));
        }
        let extern_idx = usize::try_from(helper.checked_sub(POISON_CALL_KFUNC_BASE)?).ok()?;
        let name = &spec.externs.get(extern_idx)?.name;
        Some(format!(
            "calls kfunc '{name}', which the kernel does not have{}",
            at(spec, prog, insn_idx)
        ))
    });
    Error::Rejected { prog: name, errno, hint: found.or(hint), log }
}

/// Instruction and number of the helper in a log's last `12: (85) call unknown#195896080`.
fn unknown_call(log: &str) -> Option<(u32, i32)> {
    let is_call = |line: &&str| line.contains(": (85) call unknown#");
    let (insn, call) = log.lines().rev().find(is_call)?.split_once(": (85) call unknown#")?;
    let end = call.find(|c: char| !c.is_ascii_digit()).unwrap_or(call.len());
    Some((insn.trim().parse().ok()?, call[..end].parse().ok()?))
}

/// Source line of an instruction, in brackets.
fn at(spec: &Spec, prog: &ProgSpec, insn_idx: u32) -> String {
    let line = prog.line_at(insn_idx).zip(spec.btf.as_ref());
    line.map_or_else(String::new, |(line, btf)| {
        let (file, text) = (btf.name(line.file_name_off), btf.name(line.line_off).trim());
        format!(" ({file}:{}: {text})", line.line)
    })
}

/// The expected attach type as this kernel wants it (`libbpf_prepare_prog_load`).
fn attach_type(kernel: &Kernel, prog: &ProgSpec) -> AttachType {
    let attach_type = prog.sec.expected_attach_type;
    if prog.sec.flags.has(SecFlags::EXP_ATTACH_OPT) && !kernel.has(Feature::ExpectedAttachType) {
        return AttachType(0);
    }
    // A marker's places are attached by one link where there are such links.
    if prog.sec.flags.has(SecFlags::USDT) && kernel.has(Feature::UprobeMulti) {
        return AttachType::TRACE_UPROBE_MULTI;
    }
    attach_type
}

/// Puts descriptors where the object has indices of maps.
fn name_maps(prog: &ProgSpec, insns: &mut [Insn], maps: &[Map]) -> Result<(), Error> {
    let mut at = 0;
    while at < insns.len() {
        let insn = &mut insns[at];
        if !insn.is_lddw() {
            at += 1;
            continue;
        }
        let src = match insn.src {
            opcode::PSEUDO_MAP_IDX => Some(opcode::PSEUDO_MAP_FD),
            opcode::PSEUDO_MAP_IDX_VALUE => Some(opcode::PSEUDO_MAP_VALUE),
            _ => None,
        };
        if let Some(src) = src {
            let map = usize::try_from(insn.imm).ok().and_then(|idx| maps.get(idx));
            let map = map.ok_or_else(|| Error::Bug {
                what: format!("program '{}': instruction {at} names no map", prog.name),
            })?;
            // The kernel has no descriptor for an arena's address but the map itself.
            debug_assert!(map.map_type() != MapType::UNSPEC);
            insn.src = src;
            insn.imm = raw(map);
        }
        at += 2;
    }
    Ok(())
}

/// Helpers by their older names, on kernels that have only those (`bpf_object__sanitize_prog`).
fn replace_helpers(kernel: &Kernel, insns: &mut [Insn]) {
    let older = |id: i32| match HelperId(id as u32) {
        HelperId::PROBE_READ_KERNEL | HelperId::PROBE_READ_USER => Some(HelperId::PROBE_READ),
        HelperId::PROBE_READ_KERNEL_STR | HelperId::PROBE_READ_USER_STR => {
            Some(HelperId::PROBE_READ_STR)
        }
        _ => None,
    };
    let calls = |insn: &Insn| insn.is_helper_call() && older(insn.imm).is_some();
    if !insns.iter().any(calls) || kernel.has(Feature::ProbeReadKernel) {
        return;
    }
    let mut at = 0;
    while at < insns.len() {
        let insn = &mut insns[at];
        if insn.is_helper_call()
            && let Some(id) = older(insn.imm)
        {
            insn.imm = id.0 as i32;
        }
        at += if insn.is_lddw() { 2 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::unknown_call;

    #[test]
    fn calls_in_a_log() {
        let log = "0: R1=ctx() R10=fp0\n; return x; @ a.c:3\n12: (85) call unknown#195896080\n\
                   invalid func unknown#195896080\nprocessed 13 insns\n";
        assert_eq!(unknown_call(log), Some((12, 195_896_080)));
        assert_eq!(unknown_call("12: (85) call bpf_probe_read#4\n"), None);
        assert_eq!(unknown_call(""), None);
    }
}
