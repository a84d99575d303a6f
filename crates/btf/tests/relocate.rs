//! CO-RE: what the compiled cases do not reach.

mod common;

use object::{Object, ObjectSection};
use stylet_btf::builder::{BtfBuilder, IntEncoding, MemberDef};
use stylet_btf::core_relo::{POISON_IMM, Poison, Relocator, relocate};
use stylet_btf::{Btf, CoreRelo, Error, Ext, ReloFault, ReloKind};
use stylet_insn::{Insn, opcode};

/// `struct s { int a; }` as type 2, and the access string `0:0` of its member at the returned offset.
fn local() -> (Btf, u32) {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    b.structure("s", 4, &[MemberDef::new("a", int, 0)]);
    let access = b.add_str("0:0");
    (b.build().expect("valid"), access)
}

fn target(offset: u32) -> Btf {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    b.structure("s", offset + 4, &[MemberDef::new("a", int, offset)]);
    b.build().expect("valid")
}

fn byte_off(access_str_off: u32, insn_off: u32) -> CoreRelo {
    CoreRelo { insn_off, type_id: 2, access_str_off, kind: ReloKind::FieldByteOffset }
}

const MOV: Insn = Insn::new(opcode::ALU64 | opcode::MOV | opcode::K, 1, 0, 0, 0);
const POISONED: Insn = Insn::new(opcode::JMP | opcode::CALL, 0, 0, 0, POISON_IMM);

fn refused(insns: &[Insn], insn_off: u32) -> ReloFault {
    let (local, access) = local();
    let mut insns = insns.to_vec();
    match relocate(&mut insns, 0, &[byte_off(access, insn_off)], &local, &[&target(8)]) {
        Err(Error::Relo { relo, fault, .. }) => {
            assert_eq!(relo, "<byte_off> [2] struct s.a (0:0 @ offset 0)");
            fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn report() {
    let (local, access) = local();
    let relos = [byte_off(access, 0), byte_off(access, 24), byte_off(access, 32)];
    let mut insns = [MOV, MOV];
    let target = target(8);
    let report = relocate(&mut insns, 3, &relos, &local, &[&target]).expect("relocates");
    assert_eq!(insns.map(|i| i.imm), [8, 8]);
    assert_eq!(report.outcomes.len(), 2, "the first relocation lies in front of the program");
    let first = &report.outcomes[0];
    assert_eq!((first.index, first.slot, first.orig, first.new), (1, 0, 0, 8));
    assert_eq!(first.local, "<byte_off> [2] struct s.a (0:0 @ offset 0)");
    assert_eq!(first.target.as_deref(), Some("<byte_off> [2] struct s.a (0:0 @ offset 8)"));
}

#[test]
fn modules_are_searched_after_the_kernel() {
    let (local, access) = local();
    let mut kernel = BtfBuilder::new();
    let int = kernel.int("int", 4, IntEncoding::Signed);
    let kernel = kernel.build().expect("valid");
    let module = |offset| {
        let mut b = BtfBuilder::split(&kernel);
        b.structure("s", offset + 4, &[MemberDef::new("a", int, offset)]);
        b.build().expect("valid")
    };
    let (one, same, other) = (module(16), module(16), module(24));
    let offset = |targets: &[&Btf]| {
        let mut insns = [MOV];
        relocate(&mut insns, 0, &[byte_off(access, 0)], &local, targets).map(|_| insns[0])
    };
    assert_eq!(offset(&[&kernel, &one]).map(|i| i.imm), Ok(16));
    assert_eq!(offset(&[&kernel, &one, &same]).map(|i| i.imm), Ok(16));
    assert_eq!(offset(&[&target(8), &one]).map(|i| i.imm), Ok(8));
    assert_eq!(offset(&[&kernel]), Ok(POISONED));
    assert_eq!(offset(&[]), Ok(POISONED));
    let ambiguous = ReloFault::OffsetAmbiguity { first: 192, second: 128 };
    let refused = offset(&[&kernel, &one, &other]);
    assert!(matches!(refused, Err(Error::Relo { fault, .. }) if fault == ambiguous));
}

#[test]
fn both_halves_are_poisoned() {
    let (local, access) = local();
    let lddw = Insn { code: opcode::LDDW, ..Insn::default() };
    let mut insns = [lddw, Insn::default(), MOV];
    let relos = [byte_off(access, 0)];
    let report = relocate(&mut insns, 0, &relos, &local, &[]).expect("relocates");
    assert_eq!(insns, [POISONED, POISONED, MOV]);
    assert_eq!(report.outcomes[0].poison, Some(Poison::NotFound));
}

#[test]
fn instructions_that_cannot_be_patched() {
    let lddw = Insn { code: opcode::LDDW, ..Insn::default() };
    assert_eq!(refused(&[lddw], 0), ReloFault::BadLddw { slot: 0 });
    let pseudo = Insn { src: opcode::PSEUDO_MAP_FD, ..lddw };
    assert_eq!(refused(&[pseudo, Insn::default()], 0), ReloFault::BadLddw { slot: 0 });
    assert_eq!(refused(&[MOV], 4), ReloFault::Unaligned { insn_off: 4 });
    let (class, got, expected, new) = ("ALU/ALU64", 5, 0, 8);
    let unexpected = ReloFault::Unexpected { slot: 0, class, got, expected, new };
    assert_eq!(refused(&[Insn { imm: 5, ..MOV }], 0), unexpected);
    let register = Insn { code: opcode::ALU64 | opcode::MOV | opcode::X, ..MOV };
    for insn in [register, Insn { code: opcode::JMP | opcode::EXIT, ..Insn::default() }] {
        assert!(matches!(refused(&[insn], 0), ReloFault::Unrecognized { slot: 0, .. }));
    }
}

#[test]
fn broken_relocations() {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    b.structure("s", 4, &[MemberDef::new("a", int, 0)]);
    let anonymous = b.structure("", 4, &[MemberDef::new("a", int, 0)]);
    let mut access = |text: &str| b.add_str(text);
    let (good, texts) =
        (access("0:0"), ["", ":0", "0:", "x", "0:-1", "0::0", "0:0:0", "0:1"].map(&mut access));
    let too_long = access(&["0"; 65].join(":"));
    let local = b.build().expect("valid");
    let fault = |relo: CoreRelo| match relocate(&mut [MOV], 0, &[relo], &local, &[&local]) {
        Err(Error::Relo { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    for text in texts.into_iter().chain([too_long]) {
        let fault = fault(byte_off(text, 0));
        let expected = matches!(
            fault,
            ReloFault::BadSpec { .. } | ReloFault::BadIndex { .. } | ReloFault::NotComposite { .. }
        );
        assert!(expected, "{fault:?}");
    }
    let relo = byte_off(good, 0);
    assert_eq!(fault(CoreRelo { kind: ReloKind::Unknown(13), ..relo }), ReloFault::UnknownKind);
    assert_eq!(fault(CoreRelo { type_id: 99, ..relo }), ReloFault::BadType { type_id: 99 });
    let no_name = ReloFault::Anonymous { type_id: anonymous };
    assert_eq!(fault(CoreRelo { type_id: anonymous, ..relo }), no_name);
}

/// Broken types on either side end in an error or in a patched program.
#[test]
fn mutations() {
    for case in ["matches", "arrays", "bitfields"] {
        let local = common::section(&format!("{case}.bpf.o"), ".BTF");
        let target = common::section(&format!("{case}.target.o"), ".BTF");
        let object =
            std::fs::read(common::filetests().join(format!("{case}.bpf.o"))).expect("object");
        let elf = object::File::parse(&*object).expect("ELF");
        let code = elf.section_by_name("raw_tp").expect("programs");
        let slots = code.data().expect("data").chunks_exact(Insn::SIZE);
        let insns: Vec<Insn> =
            slots.map(|slot| Insn::from_bytes(slot.try_into().expect("8 bytes"))).collect();
        let ext = common::section(&format!("{case}.bpf.o"), ".BTF.ext");
        let btf = Btf::parse(&local).expect("valid");
        let relos = Ext::parse(&ext, &btf).expect("valid").core_relo[0].records.clone();
        arbtest::arbtest(|u| {
            let (mut local, mut target) = (local.clone(), target.clone());
            for bytes in [&mut local, &mut target] {
                for _ in 0..u.int_in_range(0..=3)? {
                    let at = u.choose_index(bytes.len())?;
                    bytes[at] = u.arbitrary()?;
                }
            }
            let (Ok(local), Ok(target)) = (Btf::parse(&local), Btf::parse(&target)) else {
                return Ok(());
            };
            let targets = [&target];
            let mut relocator = Relocator::new(&local, &targets);
            for relo in &relos {
                let _ = relocator.relocate(&mut insns.clone(), 0, &[*relo]);
            }
            Ok(())
        })
        .budget_ms(300);
    }
}
