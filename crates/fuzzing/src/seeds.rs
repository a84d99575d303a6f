//! Real inputs to start from.

use stylet_btf::Btf;
use stylet_object::Spec;

/// Object files, as clang made them.
pub const OBJECTS: &[&[u8]] = &[
    include_bytes!("../../../examples/malloc.bpf.o"),
    include_bytes!("../../../examples/funclatency.bpf.o"),
    include_bytes!("../../../examples/opens.bpf.o"),
    include_bytes!("../../../examples/stacks.bpf.o"),
    include_bytes!("../../../examples/rewrite.bpf.o"),
];

/// Parts of an ELF file that are worth changing: its header, the section headers, each section.
pub fn regions(elf: &[u8]) -> Vec<(usize, usize)> {
    let at = |off: usize, len: usize| -> usize {
        let bytes = elf.get(off..off + len).unwrap_or(&[]);
        bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    let (shoff, shentsize, shnum) = (at(0x28, 8), at(0x3a, 2), at(0x3c, 2));
    let mut regions = vec![(0, 64), (shoff, shentsize * shnum)];
    for header in (0..shnum).map(|n| shoff + n * shentsize) {
        regions.push((at(header + 0x18, 8), at(header + 0x20, 8)));
    }
    regions.retain(|(off, len)| *len > 0 && off + len <= elf.len());
    regions
}

/// BTF of a seed object: the section's bytes.
pub fn btf(seed: usize) -> Option<Vec<u8>> {
    let spec = Spec::parse(OBJECTS[seed % OBJECTS.len()]).ok()?;
    spec.btf.as_ref().map(Btf::to_bytes)
}
