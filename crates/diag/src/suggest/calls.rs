//! Helpers, maps given to them, licence, sleeping.

use super::{Case, Rule};
use stylet_catalog::{Env, Features, HelperRefusal, Target};
use stylet_insn::opcode as op;
use stylet_uapi::{HelperId, MapType, ProgType};

pub(super) const RULES: &[Rule] = &[
    (&["cannot use helper"], helper_refused),
    (&["unrecognized bpf_ld_imm64 insn"], callback),
    (&["uses reserved fields"], newer_insn),
    (&["uses invalid atomic opcode"], newer_insn),
    (&["unknown func"], helper_refused),
    (&["invalid func"], helper_refused),
    (&["cannot call GPL-restricted"], licence),
    (&["might sleep"], sleeps),
    (&["cannot pass map_type"], map_type),
    (&["calling kernel function", "is not allowed"], kfunc),
    (&["global function", "not supported"], global_args),
    (&["arg#", "expected pointer to ctx"], ctx_argument),
    (&["missing btf func_info"], func_info),
    (&["tail_calls are not allowed"], tail_calls),
    (&["mixing of tail_calls and bpf-to-bpf calls"], tail_calls),
];

/// The address of a function is loaded, for a target that calls none back.
fn callback(case: &Case<'_>) -> Option<String> {
    case.insn().filter(|insn| insn.src == op::PSEUDO_FUNC)?;
    let since = Features::CALLBACKS.since().filter(|_| !case.env.has(Features::CALLBACKS))?;
    Some(format!("functions that helpers call back are there since Linux {since}"))
}

/// An instruction in a form that younger kernels have.
fn newer_insn(case: &Case<'_>) -> Option<String> {
    let insn = case.insn()?;
    let atomic = insn.class() == op::STX && insn.mode() == op::ATOMIC;
    let (feature, advice) = match (atomic, insn.imm) {
        (true, op::LOAD_ACQ | op::STORE_REL) => (Features::LOAD_ACQ_STORE_REL, "-mcpu=v3"),
        (true, _) => (Features::ATOMICS, "-mcpu=v2"),
        (false, _) => (Features::CPU_V4, "-mcpu=v3"),
    };
    let since = feature.since().filter(|_| !case.env.has(feature))?;
    Some(format!(
        "this instruction is there since Linux {since}: compile with {advice} for older ones"
    ))
}

/// Why the target has no such helper, and who has.
fn helper_refused(case: &Case<'_>) -> Option<String> {
    let insn = case.insn().filter(|i| i.is_helper_call())?;
    let id = u32::try_from(insn.imm).ok()?;
    let input = case.input;
    let ask = |env: &Env| {
        env.helper(id, input.prog_type, input.expected_attach_type, input.sleepable).err()
    };
    Some(match ask(case.env)? {
        HelperRefusal::Unknown { id } => format!("no kernel has a helper number {id}"),
        HelperRefusal::SinceRelease { name, since } => {
            format!("{name} is available to {} programs since Linux {since}", input.prog_type)
        }
        HelperRefusal::NotInProgType { name, prog_type } => {
            let (name, others) = (name, tracing_types_with(case.env, id));
            match others.as_str() {
                "" => format!(
                    "{name} is not for {prog_type} programs, nor for any other tracing program"
                ),
                others => {
                    format!("{name} is not for {prog_type} programs; {others} programs have it")
                }
            }
        }
        HelperRefusal::NotInUserBackend { name } => {
            format!(
                "{name} is not implemented in the user backend; load the program into the kernel (`--backend kernel`)"
            )
        }
        other => other.to_string(),
    })
}

/// Tracing program types that may call a helper, joined by commas.
fn tracing_types_with(env: &Env, id: u32) -> String {
    let types = [
        ProgType::KPROBE,
        ProgType::TRACEPOINT,
        ProgType::PERF_EVENT,
        ProgType::RAW_TRACEPOINT,
        ProgType::RAW_TRACEPOINT_WRITABLE,
        ProgType::TRACING,
        ProgType::SYSCALL,
    ];
    let has = |t: &ProgType| {
        let attach = env.prog_info(*t).map_or(&[][..], |i| i.attach_types);
        attach.iter().any(|a| env.helper(id, *t, *a, true).is_ok())
    };
    types.iter().filter(|t| has(t)).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn licence(case: &Case<'_>) -> Option<String> {
    let licence = case.input.license;
    let now = if licence.is_empty() { "has none".to_string() } else { format!("is \"{licence}\"") };
    Some(format!(
        "this function is only for programs under a GPL-compatible licence, and the object's licence {now}: if that is right for the program, declare `char LICENSE[] SEC(\"license\") = \"GPL\";` (or \"Dual BSD/GPL\", \"Dual MIT/GPL\")"
    ))
}

fn sleeps(case: &Case<'_>) -> Option<String> {
    if case.input.sleepable {
        return Some("the call may sleep, which is forbidden here: leave the RCU, preemption or lock section first".into());
    }
    let kernel = matches!(case.env.target(), Target::Kernel(_));
    if case.input.prog_type == ProgType::KPROBE
        && kernel
        && !case.env.has(Features::SLEEPABLE_UPROBE)
    {
        let since = Features::SLEEPABLE_UPROBE.since()?;
        return Some(format!(
            "only sleepable programs may call it, and probes can be sleepable since Linux {since}"
        ));
    }
    Some(match case.input.prog_type {
        ProgType::KPROBE => "only sleepable programs may call it: a uprobe program is sleepable in section \"uprobe.s\" or \"uretprobe.s\" (a kprobe program cannot be)".into(),
        ProgType::TRACING => "only sleepable programs may call it: use section \"fentry.s\", \"fexit.s\", \"fmod_ret.s\" or \"iter.s\"".into(),
        other => format!("only sleepable programs may call it, and {other} programs are not sleepable here; bpf_probe_read_user() does not sleep"),
    })
}

fn map_type(case: &Case<'_>) -> Option<String> {
    let insn = case.insn().filter(|i| i.is_helper_call())?;
    let id = u32::try_from(insn.imm).ok()?;
    let given = MapType(u32::try_from(case.number("map_type ")?).ok()?);
    let helper = HelperId(id).name()?.to_ascii_lowercase();
    let fits = |m: &&(MapType, &str)| m.0 != MapType::UNSPEC && case.env.map_fits_helper(m.0, id);
    let fitting: Vec<&str> = MapType::ALL.iter().filter(fits).map(|(_, name)| *name).collect();
    Some(if fitting.len() <= 6 {
        format!("bpf_{helper} takes a map of type {}, not {given}", fitting.join(", "))
    } else {
        format!("a map of type {given} has its own functions; bpf_{helper} is not among them")
    })
}

fn kfunc(case: &Case<'_>) -> Option<String> {
    let prog_type = case.input.prog_type;
    Some(format!("the kernel does not register this function for {prog_type} programs"))
}

fn global_args(_: &Case<'_>) -> Option<String> {
    Some("a function that is not `static` is verified by itself from its C types: pass numbers, the context, or pointers to types of fixed size, or make it `static`".into())
}

fn ctx_argument(_: &Case<'_>) -> Option<String> {
    Some("this argument must be the context that the program itself was given".into())
}

fn func_info(_: &Case<'_>) -> Option<String> {
    Some("the kernel needs BTF for this: compile with -g".into())
}

fn tail_calls(case: &Case<'_>) -> Option<String> {
    let since = Features::TAIL_CALL_IN_SUBPROG.since()?;
    let _ = case;
    Some(format!(
        "tail calls and calls of functions go together since Linux {since}, on x86-64, and only in functions that return int: inline the function (`static __always_inline`)"
    ))
}
