//! Which helpers programs of each type may call, as this machine's kernel says. Skipped without the rights to load
//! programs, and on a kernel of another release than the rules that we follow.

use std::os::fd::AsFd;

use stylet_catalog::{Env, Release};
use stylet_insn::Insn;
use stylet_kernel::sys::{self, ProgAttr};
use stylet_uapi::{AttachType, HelperId, ProgType};
use stylet_verifier::{ProgInput, verify};

/// Both say so of a helper that is not for the type.
const NOT_FOR_TYPE: &str = "program of this type cannot use helper";

/// Helpers that a kernel's configuration or lockdown leaves out: their absence says nothing of the rules.
const CONFIGURED: &[HelperId] = &[HelperId::PROBE_WRITE_USER, HelperId::OVERRIDE_RETURN];

/// Types that are verified without something to attach to, each with an attach type that the kernel loads it with.
const PROG_TYPES: &[(ProgType, AttachType)] = &[
    (ProgType::SOCKET_FILTER, AttachType(0)),
    (ProgType::KPROBE, AttachType(0)),
    (ProgType::SCHED_CLS, AttachType(0)),
    (ProgType::SCHED_ACT, AttachType(0)),
    (ProgType::TRACEPOINT, AttachType(0)),
    (ProgType::XDP, AttachType(0)),
    (ProgType::PERF_EVENT, AttachType(0)),
    (ProgType::CGROUP_SKB, AttachType::CGROUP_INET_INGRESS),
    (ProgType::CGROUP_SOCK, AttachType::CGROUP_INET_SOCK_CREATE),
    (ProgType::LWT_IN, AttachType(0)),
    (ProgType::LWT_OUT, AttachType(0)),
    (ProgType::LWT_XMIT, AttachType(0)),
    (ProgType::SOCK_OPS, AttachType(0)),
    (ProgType::SK_SKB, AttachType(0)),
    (ProgType::CGROUP_DEVICE, AttachType(0)),
    (ProgType::CGROUP_DEVICE, AttachType::CGROUP_DEVICE),
    (ProgType::SK_MSG, AttachType(0)),
    (ProgType::RAW_TRACEPOINT, AttachType(0)),
    (ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET4_CONNECT),
    (ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_UDP6_SENDMSG),
    (ProgType::LWT_SEG6LOCAL, AttachType(0)),
    (ProgType::SK_REUSEPORT, AttachType::SK_REUSEPORT_SELECT),
    (ProgType::FLOW_DISSECTOR, AttachType(0)),
    (ProgType::CGROUP_SYSCTL, AttachType::CGROUP_SYSCTL),
    (ProgType::RAW_TRACEPOINT_WRITABLE, AttachType(0)),
    (ProgType::CGROUP_SOCKOPT, AttachType::CGROUP_GETSOCKOPT),
    (ProgType::CGROUP_SOCKOPT, AttachType::CGROUP_SETSOCKOPT),
    (ProgType::SK_LOOKUP, AttachType::SK_LOOKUP),
    (ProgType::SYSCALL, AttachType(0)),
];

/// A call that is refused at its first argument if the helper exists and takes one.
fn kernel_has(prog_type: ProgType, attach_type: AttachType, insns: &[Insn]) -> Option<bool> {
    let slots: Vec<[u8; 8]> = insns.iter().map(|insn| insn.to_bytes()).collect();
    let attr = ProgAttr {
        prog_type,
        attach_type,
        name: "helper",
        insns: &slots,
        license: c"GPL",
        // only SYSCALL programs must be sleepable
        prog_flags: if prog_type == ProgType::SYSCALL { 1 << 4 } else { 0 },
        log_level: 1,
        ..ProgAttr::default()
    };
    let mut log = vec![0; 1 << 16];
    match sys::prog_load(&attr, &mut log) {
        Ok(prog) => {
            assert!(std::os::fd::AsRawFd::as_raw_fd(&prog.as_fd()) >= 0);
            Some(true)
        }
        Err(_) => {
            let end = log.iter().position(|b| *b == 0).unwrap_or(0);
            let text = String::from_utf8_lossy(&log[..end]);
            // nothing was verified: the type is not there, or no rights
            (!text.is_empty()).then(|| !text.contains(NOT_FOR_TYPE))
        }
    }
}

fn ours_has(
    env: &Env,
    prog_type: ProgType,
    expected_attach_type: AttachType,
    insns: &[Insn],
) -> bool {
    let input = ProgInput {
        name: "helper",
        prog_type,
        expected_attach_type,
        sleepable: prog_type == ProgType::SYSCALL,
        license: "GPL",
        insns,
        ..ProgInput::default()
    };
    match verify(env, &input) {
        Ok(_) => true,
        Err(rejection) => !rejection.message().contains(NOT_FOR_TYPE),
    }
}

#[test]
fn each_type_has_the_helpers_of_the_kernel() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !release.starts_with("6.18.") {
        println!("skipped: we follow Linux 6.18, this is {}", release.trim());
        return;
    }
    let exit = [Insn::mov64_imm(0, 0), Insn::exit()];
    if kernel_has(ProgType::KPROBE, AttachType(0), &exit).is_none() {
        println!("skipped: no rights to load programs");
        return;
    }
    let env = Env::kernel(Release::V6_18);
    let mut wrong = Vec::new();
    for &(prog_type, attach_type) in PROG_TYPES {
        for (id, name) in env.helpers() {
            let insns = [Insn::call(HelperId(id)), exit[0], exit[1]];
            let Some(kernel) = kernel_has(prog_type, attach_type, &insns) else {
                println!("skipped: this kernel has no programs of type {prog_type}");
                break;
            };
            let ours = ours_has(&env, prog_type, attach_type, &insns);
            let left_out = !kernel && CONFIGURED.contains(&HelperId(id));
            if kernel != ours && !left_out {
                wrong.push(format!("{prog_type}\t{name}\tkernel {kernel}, ours {ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
