//! Every access of every context that is made of fields, against the kernel of this machine: each offset, size and
//! direction. Needs root and BPF: skipped with a reason otherwise.

mod common;

use common::Case;
use common::kernel::{load, obstacle};
use stylet_catalog::{Env, Release};
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::{AttachType as A, ProgType};
use stylet_verifier::{ProgInput, verify};

/// Program type, attach type, size of the context.
const CONTEXTS: [(ProgType, A, i16); 26] = [
    (ProgType::SOCKET_FILTER, A(0), 192),
    (ProgType::SCHED_CLS, A(0), 192),
    (ProgType::SCHED_ACT, A(0), 192),
    (ProgType::CGROUP_SKB, A::CGROUP_INET_INGRESS, 192),
    (ProgType::LWT_IN, A(0), 192),
    (ProgType::LWT_XMIT, A(0), 192),
    (ProgType::LWT_SEG6LOCAL, A(0), 192),
    (ProgType::SK_SKB, A(0), 192),
    (ProgType::FLOW_DISSECTOR, A(0), 192),
    (ProgType::XDP, A(0), 24),
    (ProgType::XDP, A::XDP_DEVMAP, 24),
    (ProgType::SOCK_OPS, A(0), 224),
    (ProgType::SK_MSG, A(0), 80),
    (ProgType::SK_REUSEPORT, A::SK_REUSEPORT_SELECT, 56),
    (ProgType::SK_LOOKUP, A::SK_LOOKUP, 72),
    (ProgType::CGROUP_DEVICE, A(0), 12),
    (ProgType::CGROUP_SYSCTL, A(0), 8),
    (ProgType::CGROUP_SOCK, A::CGROUP_INET_SOCK_CREATE, 80),
    (ProgType::CGROUP_SOCK, A::CGROUP_INET4_POST_BIND, 80),
    (ProgType::CGROUP_SOCK, A::CGROUP_INET6_POST_BIND, 80),
    (ProgType::CGROUP_SOCK_ADDR, A::CGROUP_INET4_BIND, 72),
    (ProgType::CGROUP_SOCK_ADDR, A::CGROUP_INET6_CONNECT, 72),
    (ProgType::CGROUP_SOCK_ADDR, A::CGROUP_UDP4_SENDMSG, 72),
    (ProgType::CGROUP_SOCK_ADDR, A::CGROUP_UDP6_SENDMSG, 72),
    (ProgType::CGROUP_SOCKOPT, A::CGROUP_SETSOCKOPT, 40),
    (ProgType::CGROUP_SOCKOPT, A::CGROUP_GETSOCKOPT, 40),
];

const CODES: [u8; 9] = [
    op::LDX | op::MEM | op::B,
    op::LDX | op::MEM | op::H,
    op::LDX | op::MEM | op::W,
    op::LDX | op::MEM | op::DW,
    op::STX | op::MEM | op::B,
    op::STX | op::MEM | op::H,
    op::STX | op::MEM | op::W,
    op::STX | op::MEM | op::DW,
    op::LDX | op::MEMSX | op::W,
];

/// Bytes of an access.
fn width(code: u8) -> i16 {
    Insn { code, ..Insn::default() }.access_size() as i16
}

fn program(code: u8, off: i16) -> Vec<Insn> {
    let mov = |dst, imm| Insn { code: op::ALU64 | op::MOV, dst, imm, ..Insn::default() };
    let (dst, src) = if code & 7 == op::LDX { (2, 1) } else { (1, 2) };
    vec![
        mov(2, 0),
        Insn { code, dst, src, off, imm: 0 },
        mov(0, 1),
        Insn { code: op::JMP | op::EXIT, ..Insn::default() },
    ]
}

#[test]
fn every_field_of_every_context() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let env = Env::kernel(Release::V6_18);
    let (mut tried, mut wrong) = (0, Vec::new());
    for (prog_type, attach, size) in CONTEXTS {
        for code in CODES {
            // Unaligned accesses are one rule, seen at the first fields.
            let step = |off: &i16| *off < 16 || off % width(code) == 0;
            for off in (-8..size + 8).filter(step) {
                let insns = program(code, off);
                let input = ProgInput {
                    prog_type,
                    expected_attach_type: attach,
                    license: "GPL",
                    insns: &insns,
                    ..ProgInput::default()
                };
                let ours = verify(&env, &input).map(drop).map_err(|r| r.message());
                let license = "GPL".to_owned();
                let case = Case { prog_type, attach: attach.0, license, insns, ..Case::default() };
                let (kernel, log) = load(&case).expect("no maps to make");
                tried += 1;
                if ours.is_ok() != kernel.is_ok() {
                    wrong.push(format!("{prog_type} {attach} {code:#x} {off}: {ours:?}\n{log}"));
                }
            }
        }
    }
    println!("{tried} accesses");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}
