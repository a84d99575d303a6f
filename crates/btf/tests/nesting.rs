//! Types nested too deeply, or in themselves, are refused, so that nothing later recurses without bound.

use stylet_btf::{Btf, Error, Fault, limits};

/// BTF of an `int` with id 1 and the types whose words `make` gives for ids 2 to `last`.
fn parse(last: u32, make: impl Fn(u32) -> Vec<u32>) -> Result<Btf, Error> {
    let mut types = vec![1, 1 << 24, 4, 0x20];
    (2..=last).for_each(|id| types.extend(make(id)));
    let strings = b"\0int\0";
    let len = types.len() as u32 * 4;
    let mut raw = vec![0x9f, 0xeb, 1, 0];
    raw.extend([24, 0, len, len, strings.len() as u32].iter().flat_map(|word| word.to_le_bytes()));
    raw.extend(types.iter().flat_map(|word| word.to_le_bytes()));
    raw.extend(strings);
    Btf::parse(&raw)
}

/// Each struct has the one before as its member: no path is long when the ids are followed upwards.
fn structs(last: u32) -> Result<Btf, Error> {
    parse(last, |id| vec![0, 4 << 24 | 1, 4, 0, id - 1, 0])
}

fn arrays(last: u32) -> Result<Btf, Error> {
    parse(last, |id| vec![0, 3 << 24, 0, id - 1, 1, 1])
}

#[test]
fn chains_of_known_types_are_bounded() {
    for chain in [structs, arrays] {
        let longest = chain(limits::MAX_NESTING).expect("the longest chain");
        let last = longest.len() - 1;
        assert_eq!(longest.align_of(last), Ok(4));
        assert!(!stylet_btf::value::decode(&longest, last, &[1; 4]).to_string().is_empty());
        for too_long in [limits::MAX_NESTING + 1, 100_000] {
            let refused = chain(too_long).map(|btf| btf.len());
            assert!(
                matches!(
                    refused,
                    Err(Error::Type { fault: Fault::Depth { depth: limits::MAX_NESTING }, .. })
                ),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn the_kernel_stays_below() {
    match std::fs::read("/sys/kernel/btf/vmlinux") {
        Ok(raw) => assert!(Btf::parse(&raw).is_ok()),
        Err(err) => eprintln!("skipped: no BTF of the kernel: {err}"),
    }
}

#[test]
fn sections_within_their_variables() {
    // 2: VAR of the section 3, which holds it
    let refused = parse(3, |id| match id {
        2 => vec![1, 14 << 24, 3, 0],
        _ => vec![1, 15 << 24 | 1, 4, 2, 0, 4],
    });
    assert!(
        matches!(refused, Err(Error::Type { fault: Fault::Loop, .. })),
        "{:?}",
        refused.map(|btf| btf.len())
    );
}
