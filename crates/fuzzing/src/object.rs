//! Object files from hostile bytes: parsed or refused, relocated or refused.

use arbitrary::{Result, Unstructured};
use stylet_btf::Btf;
use stylet_insn::{assemble, listing};
use stylet_object::{Spec, Target};

use crate::mutate::mutate;
use crate::{btf, seeds};

/// Parses a hostile object, fits it to a hostile target, and looks at every program.
pub fn bytes(u: &mut Unstructured<'_>) -> Result<()> {
    let Some(spec) = hostile(u)? else { return Ok(()) };
    check(&spec);
    let target = btf::hostile(u)?;
    if let Ok(fitted) = fit(&spec, target.as_ref()) {
        check(&fitted);
    }
    Ok(())
}

/// Fits an object to a target that has every kconfig name and symbol.
pub fn fit(spec: &Spec, btf: Option<&Btf>) -> core::result::Result<Spec, stylet_object::Error> {
    spec.relocate(&Target {
        btf,
        kconfig: &|name| Some(if name.len() % 2 == 0 { "y".into() } else { "42".into() }),
        ksym: &|name| (name.len() % 3 != 0).then_some(0xffff_ffff_8100_0000),
        ..Target::default()
    })
}

/// An object that parses, from a changed real one, rarely from nothing.
pub fn hostile(u: &mut Unstructured<'_>) -> Result<Option<Spec>> {
    let mut raw = u.choose(seeds::OBJECTS)?.to_vec();
    let regions = seeds::regions(&raw);
    if u.ratio(1, 20u8)? {
        raw.truncate(64);
        raw.extend(u.arbitrary::<Vec<u8>>()?);
    }
    mutate(u, &mut raw, &regions, 6)?;
    Ok(Spec::parse(&raw).ok())
}

/// What holds of every parsed object.
fn check(spec: &Spec) {
    for map in &spec.maps {
        assert!(
            map.contents.is_empty() || map.contents.len() == map.value_size as usize,
            "{}",
            map.name
        );
    }
    for prog in &spec.progs {
        let slots = prog.insns.len();
        let total: usize = prog.funcs.iter().map(|func| func.len as usize).sum();
        assert_eq!(total, slots, "functions cover the program {}", prog.name);
        assert!(prog.func_info.iter().all(|info| (info.insn_idx as usize) < slots));
        assert!(prog.line_info.iter().all(|info| (info.insn_idx as usize) < slots));
        assert!(prog.core_relos.iter().all(|relo| (relo.insn_idx as usize) < slots));
        assert!(prog.extern_relos.iter().all(|relo| (relo.insn_idx as usize) < slots));
        assert_eq!(assemble(&listing(&prog.insns, &())).as_deref(), Ok(&prog.insns[..]));
    }
}
