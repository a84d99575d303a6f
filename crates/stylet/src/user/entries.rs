//! What may be put into maps of maps and program arrays: the verifier's proofs rest on it.

use stylet_object::MapSpec;
use stylet_uapi::{HelperId, MapType};
use stylet_verifier::VerifiedProg;

/// `BPF_F_INNER_MAP`: inner arrays of any size.
const F_INNER_MAP: u32 = 1 << 12;

/// Why `inner` cannot be an entry of `outer` (`bpf_map_meta_alloc`, `bpf_map_meta_equal`, kernel/bpf/map_in_map.c;
/// `array_map_meta_equal`, kernel/bpf/arraymap.c).
pub(super) fn inner_misfit(outer: &MapSpec, inner: &MapSpec) -> Option<&'static str> {
    let Some(template) = outer.inner.as_deref() else {
        return Some("the map of maps has no template for its inner maps");
    };
    let nests = matches!(
        inner.map_type,
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS | MapType::PROG_ARRAY
    );
    let sized = inner.map_type == MapType::ARRAY && inner.map_flags & F_INNER_MAP == 0;
    if nests {
        Some("maps of maps and program arrays can not be inner maps")
    } else if template.map_type != inner.map_type {
        Some("its type is not the template's")
    } else if template.key_size != inner.key_size || template.value_size != inner.value_size {
        Some("its key or value has another size than the template's")
    } else if template.map_flags != inner.map_flags {
        Some("its flags are not the template's")
    } else if sized && template.max_entries != inner.max_entries {
        Some("it has another number of entries than the template, which needs BPF_F_INNER_MAP")
    } else {
        None
    }
}

/// Why the programs that use program array `map` do not go together: those that call its entries, and the entries
/// (`bpf_prog_map_compatible`, kernel/bpf/core.c).
pub(super) fn progs_misfit<'p>(
    map: u32,
    entries: impl Iterator<Item = &'p VerifiedProg>,
    all: impl Iterator<Item = &'p VerifiedProg>,
) -> Option<&'static str> {
    let callers = all.filter(|p| calls_through(p, map));
    let mut owner = None;
    for prog in callers.chain(entries) {
        let kind = (prog.prog_type(), prog.expected_attach_type());
        if *owner.get_or_insert(kind) != kind {
            return Some("its programs, or those that call them, are of different types");
        }
        if prog.facts().helpers.contains(&HelperId::OVERRIDE_RETURN.0) {
            return Some("programs that call bpf_override_return can not be tail-called or do so");
        }
    }
    None
}

/// Whether the program makes a tail call through map `map`, or one whose map is not always the same.
fn calls_through(prog: &VerifiedProg, map: u32) -> bool {
    prog.insns().iter().zip(&prog.facts().insns).any(|(insn, fact)| {
        fact.seen
            && insn.is_helper_call()
            && insn.imm == HelperId::TAIL_CALL.0 as i32
            && fact.map.is_none_or(|m| m == map)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stylet_catalog::{Env, Release};
    use stylet_uapi::{AttachType, ProgType};
    use stylet_verifier::{MapDef, ProgInput, verify};

    fn array(value_size: u32, max_entries: u32, map_flags: u32) -> MapSpec {
        MapSpec {
            map_type: MapType::ARRAY,
            key_size: 4,
            value_size,
            max_entries,
            map_flags,
            ..MapSpec::default()
        }
    }

    fn outer(template: MapSpec) -> MapSpec {
        MapSpec {
            map_type: MapType::ARRAY_OF_MAPS,
            inner: Some(Box::new(template)),
            ..array(4, 1, 0)
        }
    }

    #[test]
    fn inner_maps_are_as_their_template() {
        let of = outer(array(8, 4, 0));
        assert_eq!(inner_misfit(&of, &array(8, 4, 0)), None);
        for other in [array(4, 4, 0), array(16, 4, 0), array(8, 4, 1 << 7), array(8, 1, 0)] {
            assert!(inner_misfit(&of, &other).is_some(), "{other:?}");
        }
        let hash = MapSpec { map_type: MapType::HASH, ..array(8, 4, 0) };
        assert!(inner_misfit(&of, &hash).is_some());
        assert_eq!(inner_misfit(&outer(hash.clone()), &MapSpec { max_entries: 9, ..hash }), None);
        assert!(inner_misfit(&array(8, 4, 0), &array(8, 4, 0)).is_some());
    }

    /// Any name is map 0.
    struct Zero;

    impl stylet_insn::Symbols for Zero {
        fn map(&self, _: &str) -> Option<i32> {
            Some(0)
        }
    }

    fn prog(attach: AttachType, text: &str) -> VerifiedProg {
        let insns = stylet_insn::assemble_with(text, &Zero).expect("assembles").insns;
        let maps = [MapDef {
            map_type: MapType::PROG_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 4,
            ..MapDef::default()
        }];
        let input = ProgInput {
            prog_type: ProgType::KPROBE,
            expected_attach_type: attach,
            license: "GPL",
            insns: &insns,
            maps: &maps,
            ..ProgInput::default()
        };
        verify(&Env::kernel(Release::V6_18), &input).expect("accepted")
    }

    #[test]
    fn tail_called_programs_are_of_their_callers_type() {
        const LEAF: &str = "r0 = 0\nexit";
        let one = AttachType(0);
        let multi = AttachType::TRACE_UPROBE_MULTI;
        let caller = prog(one, "r2 = map[m]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit");
        let (same, other) = (prog(one, LEAF), prog(multi, LEAF));
        let ends = prog(one, "r2 = 0\ncall bpf_override_return\nr0 = 0\nexit");
        let misfit = |map, entry| progs_misfit(map, [entry].into_iter(), [&caller].into_iter());
        assert_eq!(misfit(0, &same), None);
        assert!(misfit(0, &other).is_some());
        assert!(misfit(0, &ends).is_some());
        // Nobody calls through map 1.
        assert_eq!(misfit(1, &other), None);
        let mixed = [&same, &other].into_iter();
        assert!(progs_misfit(1, mixed, [&caller].into_iter()).is_some());
    }

    #[test]
    fn arrays_of_any_size_say_so() {
        let of = outer(array(8, 4, F_INNER_MAP));
        assert_eq!(inner_misfit(&of, &array(8, 1, F_INNER_MAP)), None);
        assert!(inner_misfit(&of, &array(8, 4, 0)).is_some());
    }

    #[test]
    fn what_has_entries_of_its_own_is_no_inner_map() {
        for map_type in [MapType::PROG_ARRAY, MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS] {
            let inner = MapSpec { map_type, ..array(4, 1, 0) };
            assert!(inner_misfit(&outer(inner.clone()), &inner).is_some(), "{map_type}");
        }
    }
}
