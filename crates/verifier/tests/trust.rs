//! What the verifier does not believe of a map's definition, although a caller gives it.

use stylet_catalog::{Env, Release};
use stylet_insn::{Symbols, assemble_with};
use stylet_uapi::{MapType, ProgType};
use stylet_verifier::{MapDef, ProgInput, RejectionKind, verify};

const F_RDONLY_PROG: u32 = 1 << 7;
const F_INNER_MAP: u32 = 1 << 12;

/// The only map.
struct One;

impl Symbols for One {
    fn map(&self, _: &str) -> Option<i32> {
        Some(0)
    }
}

fn verdict(map: MapDef, text: &str) -> Result<(), RejectionKind> {
    let insns = assemble_with(text, &One).expect("assembles").insns;
    let maps = [map];
    let input = ProgInput {
        prog_type: ProgType::KPROBE,
        license: "GPL",
        insns: &insns,
        maps: &maps,
        ..ProgInput::default()
    };
    verify(&Env::kernel(Release::V6_18), &input).map(|_| ()).map_err(|r| r.kind)
}

fn array(map_type: MapType, map_flags: u32) -> MapDef {
    MapDef { map_type, key_size: 4, value_size: 8, max_entries: 4, map_flags, ..MapDef::default() }
}

fn map_of(inner: MapDef) -> MapDef {
    MapDef { value_size: 4, inner: Some(Box::new(inner)), ..array(MapType::ARRAY_OF_MAPS, 0) }
}

/// Key 3 of the map in entry 0 of a map of maps, not compared with NULL.
const INNER_UNCHECKED: &str = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[m]\n\
    call bpf_map_lookup_elem\nif r0 == 0 goto out\nr1 = r0\n*(u32 *)(r10 -8) = 3\nr2 = r10\nr2 += -8\n\
    call bpf_map_lookup_elem\nr0 = *(u64 *)(r0 +0)\nout:\nr0 = 0\nexit";

#[test]
fn a_constant_key_is_present_only_where_the_template_binds() {
    assert!(verdict(map_of(array(MapType::ARRAY, 0)), INNER_UNCHECKED).is_ok());
    for template in [array(MapType::ARRAY, F_INNER_MAP), array(MapType::PERCPU_ARRAY, 0)] {
        let got = verdict(map_of(template), INNER_UNCHECKED);
        assert!(matches!(got, Err(RejectionKind::InvalidMemAccess { reg: 0, .. })), "{got:?}");
    }
}

#[test]
fn contents_are_constant_only_if_programs_cannot_write_them() {
    let text = "r1 = map[m][0]+0 ll\nr2 = *(u8 *)(r1 +0)\nr1 += r2\nr0 = *(u8 *)(r1 +0)\nexit";
    for (flags, ok) in [(F_RDONLY_PROG, true), (0, false)] {
        let map = MapDef {
            max_entries: 1,
            frozen: Some(vec![7, 0, 0, 0, 0, 0, 0, 0]),
            ..array(MapType::ARRAY, flags)
        };
        assert_eq!(verdict(map, text).is_ok(), ok, "flags {flags:#x}");
    }
}
