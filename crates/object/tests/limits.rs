//! Small files that ask for much: bounds of memory, time and stack hold.

use stylet_insn::Insn;
use stylet_object::{Error, Spec};

/// A section of a file under construction.
struct Section<'a> {
    name: &'a str,
    kind: u32,
    flags: u64,
    link: u32,
    info: u32,
    entsize: u64,
    data: Vec<u8>,
}

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const REL: u32 = 9;
const EXEC: u64 = 6;

fn code<'a>(name: &'a str, insns: &[Insn]) -> Section<'a> {
    let data = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    Section { name, kind: PROGBITS, flags: EXEC, link: 0, info: 0, entsize: 0, data }
}

/// A symbol: name offset, `st_info`, section, value, size.
type Sym = (u32, u8, u16, u64, u64);
/// `STB_GLOBAL`, `STT_FUNC`
const GLOBAL_FUNC: u8 = 0x12;

/// An object: the given sections from index 1 on, then symbols, their names and the sections' names.
fn elf(mut sections: Vec<Section<'_>>, symbols: &[Sym], names: &[u8]) -> Vec<u8> {
    let first = sections.len() as u32 + 1;
    let mut data = vec![0; 24];
    for &(name, info, shndx, value, size) in symbols {
        data.extend(name.to_le_bytes());
        data.extend([info, 0]);
        data.extend(shndx.to_le_bytes());
        data.extend(value.to_le_bytes());
        data.extend(size.to_le_bytes());
    }
    let table = |name, kind, link, entsize, data| Section {
        name,
        kind,
        flags: 0,
        link,
        info: 1,
        entsize,
        data,
    };
    sections.push(table(".symtab", SYMTAB, first + 1, 24, data));
    sections.push(table(".strtab", STRTAB, 0, 0, names.to_vec()));
    sections.push(table(".shstrtab", STRTAB, 0, 0, Vec::new()));
    let mut strings = vec![0];
    let offsets: Vec<u32> = sections
        .iter()
        .map(|section| {
            let offset = strings.len() as u32;
            strings.extend(section.name.as_bytes());
            strings.push(0);
            offset
        })
        .collect();
    sections.last_mut().expect("the section names").data = strings;
    let mut bytes = vec![0; 64];
    let mut headers = vec![0u8; 64];
    for (section, name) in sections.iter().zip(offsets) {
        let mut header = Vec::new();
        header.extend(name.to_le_bytes());
        header.extend(section.kind.to_le_bytes());
        header.extend(section.flags.to_le_bytes());
        header.extend(0u64.to_le_bytes());
        header.extend((bytes.len() as u64).to_le_bytes());
        header.extend((section.data.len() as u64).to_le_bytes());
        header.extend(section.link.to_le_bytes());
        header.extend(section.info.to_le_bytes());
        header.extend(8u64.to_le_bytes());
        header.extend(section.entsize.to_le_bytes());
        headers.extend(header);
        bytes.extend(&section.data);
    }
    let count = sections.len() as u16 + 1;
    let shoff = bytes.len() as u64;
    bytes.extend(headers);
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    bytes[16..18].copy_from_slice(&1u16.to_le_bytes());
    bytes[18..20].copy_from_slice(&247u16.to_le_bytes());
    bytes[20..24].copy_from_slice(&1u32.to_le_bytes());
    bytes[40..48].copy_from_slice(&shoff.to_le_bytes());
    bytes[52..54].copy_from_slice(&64u16.to_le_bytes());
    bytes[58..60].copy_from_slice(&64u16.to_le_bytes());
    bytes[60..62].copy_from_slice(&count.to_le_bytes());
    bytes[62..64].copy_from_slice(&(count - 1).to_le_bytes());
    bytes
}

const EXIT: Insn = Insn::new(0x95, 0, 0, 0, 0);

fn call(imm: i32) -> Insn {
    Insn::new(0x85, 0, 1, 0, imm)
}

/// Functions of `.text`, each calling the next, and `progs` programs that call the first.
fn chain(funcs: usize, progs: usize, name: &[u8]) -> Vec<u8> {
    let mut insns: Vec<Insn> = (1..funcs).flat_map(|_| [call(1), EXIT]).collect();
    insns.push(EXIT);
    let text = code(".text", &insns);
    let mains: Vec<Insn> = (0..progs).flat_map(|_| [call(-1), EXIT]).collect();
    let mut rel = Vec::new();
    for prog in 0..progs as u64 {
        rel.extend((prog * 16).to_le_bytes());
        // R_BPF_64_32 against the first symbol.
        rel.extend((1u64 << 32 | 10).to_le_bytes());
    }
    let rel = Section {
        name: ".relkprobe/a",
        kind: REL,
        flags: 0,
        link: 4,
        info: 2,
        entsize: 16,
        data: rel,
    };
    let mut symbols: Vec<Sym> = (0..funcs as u64)
        .map(|idx| (1, GLOBAL_FUNC, 1, idx * 16, if idx + 1 < funcs as u64 { 16 } else { 8 }))
        .collect();
    symbols.extend((0..progs as u64).map(|idx| (1, GLOBAL_FUNC, 2, idx * 16, 16)));
    let mut names = vec![0];
    names.extend(name);
    names.push(0);
    elf(vec![text, code("kprobe/a", &mains), rel], &symbols, &names)
}

#[test]
fn deep_calls_need_no_stack() {
    let spec = Spec::parse(&chain(30_000, 1, b"f")).expect("a long chain of calls");
    assert_eq!(spec.progs[0].funcs.len(), 30_001);
    assert_eq!(spec.progs[0].insns.len(), 2 + 2 * 30_000 - 1);
    // Each call is of the function behind it.
    assert!(spec.progs[0].insns.chunks(2).rev().skip(1).all(|pair| pair[0] == call(1)));
}

#[test]
fn copies_are_bounded() {
    let err = Spec::parse(&chain(3000, 3000, b"f")).expect_err("9 million copies");
    assert!(matches!(err, Error::Limit { .. }), "{err}");
    // Long names count as well.
    let err = Spec::parse(&chain(300, 300, &[b'n'; 1000])).expect_err("90 MB of names");
    assert!(matches!(err, Error::Limit { .. }), "{err}");
    let err = Spec::parse(&chain(2, 2, &[b'n'; 2000])).expect_err("a name of 2000 bytes");
    assert!(matches!(err, Error::Symbol { .. }), "{err}");
    let insns = vec![EXIT; 1_000_001];
    let bytes = elf(
        vec![code("kprobe/a", &insns)],
        &[(1, GLOBAL_FUNC, 1, 0, 8 * insns.len() as u64)],
        b"\0f\0",
    );
    let err = Spec::parse(&bytes).expect_err("more slots than a kernel takes");
    assert!(matches!(err, Error::Limit { what: "instructions of a program", .. }), "{err}");
}

#[test]
fn sections_cannot_share_bytes() {
    let mut bytes = chain(100, 100, b"f");
    let shoff = u64::from_le_bytes(bytes[40..48].try_into().expect("8 bytes")) as usize;
    // The program's section is made to lie over the whole file.
    let header = shoff + 2 * 64;
    let len = shoff as u64;
    bytes[header + 24..header + 32].copy_from_slice(&0u64.to_le_bytes());
    bytes[header + 32..header + 40].copy_from_slice(&len.to_le_bytes());
    let err = Spec::parse(&bytes).expect_err("overlapping sections");
    assert!(matches!(err, Error::Elf { what: "section table", .. }), "{err}");
}

#[test]
fn functions_cannot_share_bytes() {
    let symbols: [Sym; 2] = [(1, GLOBAL_FUNC, 1, 0, 16), (1, GLOBAL_FUNC, 1, 8, 8)];
    let bytes = elf(vec![code("kprobe/a", &[EXIT, EXIT])], &symbols, b"\0f\0");
    let err = Spec::parse(&bytes).expect_err("overlapping functions");
    assert!(matches!(err, Error::Func { reason: "overlaps another function", .. }), "{err}");
}
