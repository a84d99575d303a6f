//! From an opened object to what the verifier takes.

use crate::{Error, Object};
use stylet_insn::Names;
use stylet_object::{MapKind, MapSpec, ProgSpec, Spec};
use stylet_uapi::MapType;
use stylet_verifier::{FuncInfo, LineInfo, MapDef, ProgInput};

/// Names of an object's maps, for disassembly.
pub struct SpecNames<'a>(pub &'a Spec);

impl Names for SpecNames<'_> {
    fn map(&self, idx: i32) -> Option<&str> {
        let map = self.0.maps.get(usize::try_from(idx).ok()?)?;
        Some(&map.name)
    }
}

/// The source line of a slot: `file:line:column` and its text.
pub fn source_line(object: &Object, prog: &ProgSpec, insn_idx: u32) -> Option<(String, String)> {
    let btf = object.spec.btf.as_ref()?;
    let line = prog.line_at(insn_idx)?;
    let place = format!("{}:{}:{}", btf.name(line.file_name_off), line.line, line.col);
    Some((place, btf.name(line.line_off).to_owned()))
}

/// The object's BTF types as C.
///
/// # Errors
/// [`Error::NoBtf`] for an object without BTF.
pub fn types_as_c(object: &Object) -> Result<String, Error> {
    match &object.spec.btf {
        Some(btf) => stylet_btf::dump::c_source(btf)
            .map_err(|source| Error::Btf { object: object.path.clone(), source }),
        None => Err(Error::NoBtf { object: object.path.clone() }),
    }
}

/// A map as the verifier sees it.
pub(crate) fn map_def(map: &MapSpec) -> MapDef {
    let frozen = matches!(map.kind, MapKind::Rodata | MapKind::Kconfig);
    MapDef {
        name: map.name.clone(),
        map_type: map.map_type,
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: map.max_entries,
        map_flags: map.map_flags,
        map_extra: map.map_extra,
        frozen: frozen.then(|| map.contents.clone()),
        inner: map.inner.as_deref().map(|inner| Box::new(map_def(inner))),
        btf_key_type_id: map.btf_key_type_id,
        btf_value_type_id: map.btf_value_type_id,
    }
}

/// Functions and lines of a program in the verifier's shape.
pub(crate) struct Infos {
    func: Vec<FuncInfo>,
    line: Vec<LineInfo>,
}

impl Infos {
    pub fn new(prog: &ProgSpec) -> Infos {
        let func =
            |f: &stylet_object::FuncInfo| FuncInfo { insn_idx: f.insn_idx, type_id: f.type_id };
        let line = |l: &stylet_object::LineInfo| LineInfo {
            insn_idx: l.insn_idx,
            file_name_off: l.file_name_off,
            line_off: l.line_off,
            line: l.line,
            col: l.col,
        };
        Infos {
            func: prog.func_info.iter().map(func).collect(),
            line: prog.line_info.iter().map(line).collect(),
        }
    }

    /// The verifier's input for `prog` of `spec`.
    pub fn input<'a>(
        &'a self,
        spec: &'a Spec,
        prog: &'a ProgSpec,
        maps: &'a [MapDef],
        log_level: u32,
    ) -> ProgInput<'a> {
        ProgInput {
            name: &prog.name,
            prog_type: prog.sec.prog_type,
            expected_attach_type: prog.sec.expected_attach_type,
            sleepable: prog.sec.is_sleepable(),
            license: &spec.license,
            insns: &prog.insns,
            maps,
            btf: spec.btf.as_ref(),
            func_info: &self.func,
            line_info: &self.line,
            attach_btf_id: 0,
            log_level,
        }
    }
}

/// Fits a map to the machine as libbpf does when it creates it: ring buffers to a power of two of pages
/// (`adjust_ringbuf_sz`), perf event arrays without a size to the number of CPUs.
pub(crate) fn adjust(map: &mut MapSpec, cpus: u32) {
    const PAGE: u32 = 4096;
    match map.map_type {
        MapType::RINGBUF | MapType::USER_RINGBUF if map.max_entries != 0 => {
            map.max_entries =
                map.max_entries.max(PAGE).checked_next_power_of_two().unwrap_or(1 << 31);
        }
        MapType::PERF_EVENT_ARRAY if map.max_entries == 0 => map.max_entries = cpus,
        _ => {}
    }
}
