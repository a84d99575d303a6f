//! Damaged and hostile objects: an error or a `Spec`, never a panic, and in bounded memory and time.

use std::path::{Path, PathBuf};
use std::{env, fs};

use stylet_btf::Btf;
use stylet_object::{Error, Spec, Target};

/// The prebuilt objects of the file tests.
fn objects() -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/object");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .expect("the folder of the file tests")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "o"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(&path).expect("a readable file")))
        .collect()
}

fn target() -> Btf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/object");
    let bytes = fs::read(dir.join("vmlinux.target.bpf.o")).expect("the target object");
    Spec::parse(&bytes).expect("the target parses").btf.expect("the target has BTF")
}

/// Parses and relocates; what comes of it does not matter.
fn exercise(bytes: &[u8], btf: &Btf) {
    let Ok(spec) = Spec::parse(bytes) else { return };
    let target = Target {
        btf: Some(btf),
        kconfig: &|_| Some("y".into()),
        ksym: &|_| Some(1),
        ..Target::default()
    };
    let Ok(relocated) = spec.relocate(&target) else { return };
    for prog in &relocated.progs {
        for idx in 0..prog.insns.len() as u32 {
            assert!(prog.func_at(idx).is_some());
            prog.line_at(idx);
        }
    }
}

#[test]
fn truncated() {
    let btf = target();
    for (_, bytes) in objects().iter().filter(|(_, bytes)| bytes.len() < 6000) {
        for len in (0..bytes.len()).step_by(7) {
            exercise(&bytes[..len], &btf);
        }
    }
}

#[test]
fn damaged() {
    let btf = target();
    let objects = objects();
    arbtest::arbtest(|u| {
        let (_, bytes) = u.choose(&objects)?;
        let mut bytes = bytes.clone();
        for _ in 0..u.int_in_range(1..=8)? {
            let at = u.int_in_range(0..=bytes.len() - 1)?;
            match u.int_in_range(0..=3)? {
                0 => bytes[at] = u.arbitrary()?,
                1 => bytes[at] ^= 1 << u.int_in_range(0..=7)?,
                2 => bytes[at] = 0xff,
                _ => {
                    let word: u32 = u.arbitrary()?;
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
                }
            }
        }
        exercise(&bytes, &btf);
        Ok(())
    })
    .budget_ms(3000);
}

/// An object of `data.bpf.o` with a field of the header of section `name` set.
fn with_section(name: &str, field: usize, value: u64) -> Vec<u8> {
    let (_, mut bytes) =
        objects().into_iter().find(|(path, _)| path.ends_with("data.bpf.o")).expect("data.bpf.o");
    let word = |bytes: &[u8], at: usize, len: usize| {
        (0..len).rev().fold(0u64, |sum, i| sum << 8 | u64::from(bytes[at + i])) as usize
    };
    let (table, count, strings) = (word(&bytes, 40, 8), word(&bytes, 60, 2), word(&bytes, 62, 2));
    let strings = word(&bytes, table + strings * 64 + 24, 8);
    let header = (0..count).map(|idx| table + idx * 64).find(|&at| {
        let start = strings + word(&bytes, at, 4);
        bytes[start..].starts_with(name.as_bytes()) && bytes[start + name.len()] == 0
    });
    let at = header.expect("the section") + field;
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn hostile_sections() {
    const OFFSET: usize = 24;
    const SIZE: usize = 32;
    let parse = |name, field, value| Spec::parse(&with_section(name, field, value)).map(|_| ());
    assert!(matches!(parse(".bss", SIZE, u64::MAX), Err(Error::Limit { .. })));
    assert!(matches!(parse(".bss", SIZE, 1 << 40), Err(Error::Limit { .. })));
    assert!(matches!(parse(".rodata", SIZE, u64::MAX), Err(Error::SectionHeader { .. })));
    assert!(matches!(parse(".rodata", OFFSET, u64::MAX - 8), Err(Error::SectionHeader { .. })));
    assert!(matches!(parse("kprobe/a", SIZE, 12), Err(Error::Func { .. })));
    assert!(matches!(parse(".relkprobe/a", SIZE, 12), Err(Error::Section { .. })));
    assert!(matches!(parse(".BTF", SIZE, 20), Err(Error::Btf { .. })));
    assert!(matches!(parse(".symtab", SIZE, 25), Err(Error::Elf { .. })));
    assert!(parse(".BTF", SIZE, 1 << 20).is_err());
}

#[test]
fn not_an_object() {
    assert_eq!(Spec::parse(b"").unwrap_err(), Error::NotElf { len: 0 });
    assert_eq!(Spec::parse(&[0; 64]).unwrap_err(), Error::NotElf { len: 64 });
    let (_, bytes) =
        objects().into_iter().find(|(path, _)| path.ends_with("data.bpf.o")).expect("data.bpf.o");
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        Spec::parse(&bytes).unwrap_err()
    };
    assert_eq!(with(4, 1), Error::Class { class: 1 });
    assert_eq!(with(5, 7), Error::ByteOrder { data: 7 });
    assert_eq!(with(16, 2), Error::FileType { e_type: 2 });
    assert_eq!(with(18, 62), Error::Machine { machine: 62 });
    // The section table is moved behind the end.
    assert!(matches!(with(40, 255), Error::CutOff { what: "the section table", .. }));
    let cut = |len: usize| Spec::parse(&bytes[..len]).unwrap_err();
    assert_eq!(cut(63), Error::CutOff { what: "the ELF header", end: 64, len: 63 });
    for len in [64, bytes.len() / 2, bytes.len() - 1] {
        let end = bytes.len() as u64;
        assert_eq!(cut(len), Error::CutOff { what: "the section table", end, len });
    }
}
