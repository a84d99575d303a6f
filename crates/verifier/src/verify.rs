//! From a program to the proof or the refusal (`bpf_check`).

use alloc::string::ToString;
use alloc::vec::Vec;

use stylet_catalog::{CtxKind, Env, Release};
use stylet_uapi::{ProgType, errno};

use crate::env::{CallMap, Verifier};
use crate::input::ProgInput;
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Rejection, Res};
use crate::verified::{Facts, Stats, Subprog, VerifiedProg};

/// Verifies a program by the rules of `env`.
///
/// # Errors
/// A [`Rejection`] with the errno and message that the kernel would give, or with
/// [`RejectionKind::NotSupportedYet`](crate::RejectionKind::NotSupportedYet).
pub fn verify(env: &Env, input: &ProgInput<'_>) -> Result<VerifiedProg, Rejection> {
    let mut v = Verifier::new(env, input);
    match v.run() {
        Ok(()) => Ok(v.into_proof()),
        Err(reject) => Err(v.into_rejection(*reject)),
    }
}

/// Greatest type id that a load may name (`BTF_MAX_TYPE`).
const MAX_BTF_ID: u32 = 0xf_ffff;

/// What BPF_PROG_LOAD looks at before the verifier does.
fn check_load(env: &Env, input: &ProgInput<'_>) -> Res<()> {
    let count = input.insns.len();
    if count == 0 || count > env.limits.max_insns as usize {
        return Err(Reject::new(errno::E2BIG, Kind::InsnCount { count: count as u32 }));
    }
    let prog_type = input.prog_type;
    if !env.has_prog_type(prog_type) {
        return Err(Reject::inval(Kind::NoProgType { prog_type }));
    }
    use ProgType as P;
    let attaches = matches!(prog_type, P::TRACING | P::LSM | P::STRUCT_OPS | P::EXT);
    let btf_id = input.attach_btf_id;
    if btf_id != 0 && !attaches || btf_id > MAX_BTF_ID {
        return Err(Reject::inval(Kind::AttachesByNoId { prog_type, id: btf_id }));
    }
    let known = env.prog_info(prog_type);
    // How far objects were trusted before is not modelled.
    let known = known.filter(|i| i.ctx != CtxKind::BtfArgs || env.release() >= Release::V6_12);
    let Some(info) = known else {
        return Err(Reject::unsupported(alloc::format!("programs of type {prog_type}")));
    };
    let by_target = info.ctx == CtxKind::BtfArgs;
    if !by_target && !info.takes_attach_type(input.expected_attach_type) {
        return Err(Reject::inval(Kind::NoAttachType {
            prog_type,
            attach_type: input.expected_attach_type,
        }));
    }
    if input.sleepable && info.sleepable_since.is_none_or(|since| since > env.release()) {
        return Err(Reject::inval(Kind::CannotSleep));
    }
    if prog_type == ProgType::SYSCALL && !input.sleepable {
        return Err(Reject::inval(Kind::SyscallNotSleepable));
    }
    Ok(())
}

impl Verifier<'_> {
    fn run(&mut self) -> Res<()> {
        check_load(self.cat, self.input)?;
        self.add_subprogs()?;
        self.check_subprogs()?;
        self.check_abnormal_return()?;
        self.resolve_pseudo_ldimm64()?;
        self.check_used_maps()?;
        self.check_cfg()?;
        self.check_attach()?;
        self.compute_postorder();
        self.compute_scc();
        self.mark_subprogs_might_sleep();
        self.mark_subprogs_changing_packets();
        self.compute_live_registers();
        self.find_global_funcs();
        self.do_check_common(0)?;
        self.do_check_subprogs()?;
        self.check_max_stack_depth()?;
        self.check_missing_kfuncs()
    }

    /// Verifies each global function that is called by a verified one.
    fn do_check_subprogs(&mut self) -> Res<()> {
        let mut done = alloc::vec![false; self.subprogs.len()];
        // It is presumed to be called.
        if let Some(cb) = self.exception_cb {
            self.subprogs[cb].called = true;
        }
        loop {
            let next = (1..self.subprogs.len())
                .find(|i| self.subprogs[*i].is_global && self.subprogs[*i].called && !done[*i]);
            let Some(next) = next else { return Ok(()) };
            done[next] = true;
            self.do_check_common(next)?;
        }
    }

    fn into_proof(mut self) -> VerifiedProg {
        for (i, fact) in self.facts.insns.iter_mut().enumerate() {
            fact.map = match self.aux[i].call_map {
                CallMap::One(map) => Some(map),
                CallMap::Unseen | CallMap::Many => None,
            };
            fact.branch = match self.branches_seen[i] {
                1 => Some(false),
                2 => Some(true),
                _ => None,
            };
        }
        let facts = Facts {
            insn_processed: self.insn_processed,
            peak_states: self.explorer.peak,
            total_states: self.explorer.total,
            max_states_per_insn: self.explorer.max_per_insn,
            ..core::mem::take(&mut self.facts)
        };
        let subprogs = self.subprogs.iter().map(|s| Subprog {
            start: s.start,
            end: s.end,
            stack_depth: s.stack_depth,
            is_cb: s.is_cb,
            has_tail_call: s.has_tail_call,
        });
        VerifiedProg {
            prog_type: self.input.prog_type,
            expected_attach_type: self.input.expected_attach_type,
            insns: self.insns.to_vec(),
            subprogs: subprogs.collect::<Vec<_>>(),
            facts,
            log: core::mem::take(&mut self.log).into_text(),
        }
    }

    fn into_rejection(self, reject: Reject) -> Rejection {
        let insn_idx =
            reject.insn_idx.unwrap_or(self.insn_idx.min(self.insns.len().saturating_sub(1) as u32));
        let stats = Stats {
            insn_processed: self.insn_processed,
            total_states: self.explorer.total,
            peak_states: self.explorer.peak,
            max_states_per_insn: self.explorer.max_per_insn,
        };
        let log = self.log.finish(&reject.kind.to_string(), &stats).into();
        Rejection {
            errno: reject.errno,
            kind: reject.kind,
            insn_idx,
            path: self.path,
            stats: stats.into(),
            log,
        }
    }
}
