//! From an object to code and maps in the arena.

use super::Session;
use super::{entries, place};
use crate::prepare::{self, Infos};
use crate::session::LoadOptions;
use crate::{Error, Object};
use std::path::Path;
use stylet_catalog::Env;
use stylet_diag::Finding;
use stylet_object::{AttachTarget, MapSpec, ProgSpec, SlotValue};
use stylet_runtime::host::MapId;
use stylet_runtime::map::MapDef as ArenaMapDef;
use stylet_uapi::ProgType;
use stylet_verifier::{MapDef, VerifiedProg, verify};

/// An object whose programs passed the verifier and whose code and maps are in the arena.
pub struct Loaded {
    pub(crate) object: Object,
    pub(crate) maps: Vec<MapId>,
    pub(crate) progs: Vec<LoadedProg>,
}

/// A program in the arena.
pub struct LoadedProg {
    /// Index into the object's `Spec::progs`.
    pub(crate) spec: usize,
    /// The proof.
    pub(crate) verified: VerifiedProg,
    /// What code generation found out.
    pub(crate) code: stylet_jit::Code,
    /// Window offset of its entry.
    pub(crate) code_off: u64,
    /// Number in the arena's program table.
    pub(crate) id: u32,
}

impl Loaded {
    /// The object as it was loaded: relocated, maps sized.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Its programs.
    pub fn progs(&self) -> impl Iterator<Item = (&LoadedProg, &ProgSpec)> {
        self.progs.iter().map(|p| (p, &self.object.spec.progs[p.spec]))
    }

    /// Identifiers of its maps, in the order of `Spec::maps`.
    pub fn map_ids(&self) -> &[MapId] {
        &self.maps
    }
}

impl LoadedProg {
    /// What the verifier found out.
    pub fn verified(&self) -> &VerifiedProg {
        &self.verified
    }

    /// The machine code.
    pub fn code(&self) -> &stylet_jit::Code {
        &self.code
    }
}

impl Session {
    /// Relocates an object against this backend, verifies the programs to be loaded, creates the maps and places the code.
    /// Returns its number in [`Session::objects`].
    ///
    /// # Errors
    /// [`Error::Object`], [`Error::Unsupported`], [`Error::Rejected`], [`Error::WriteNotAllowed`], [`Error::Runtime`].
    pub fn load(&mut self, object: &Object, options: &LoadOptions) -> Result<usize, Error> {
        if options.btf.is_some() {
            return Err(Error::Unsupported {
                object: object.path.clone(),
                what: "a kernel's BTF".into(),
                advice: "it needs --backend kernel",
            });
        }
        let mut object = relocate(object, &self.env_btf)?;
        for map in &mut object.spec.maps {
            prepare::adjust(map, self.arena.nslots());
        }
        self.check_kinds(&object)?;
        let verified = self.verify_all(&object, options)?;
        let maps = self.create_maps(&object)?;
        let mut progs = Vec::new();
        for (spec, verified) in verified {
            progs.push(self.place_prog(&object, spec, verified, &maps)?);
        }
        self.fill_prog_arrays(&object, &maps, &progs)?;
        self.objects.push(Loaded { object, maps, progs });
        Ok(self.objects.len() - 1)
    }

    /// Program and map types that exist here.
    fn check_kinds(&self, object: &Object) -> Result<(), Error> {
        let refuse = |what: String, advice| {
            Err(Error::Unsupported { object: object.path.clone(), what, advice })
        };
        for prog in object.autoload_progs() {
            let describe = format!("program '{}' (SEC(\"{}\"))", prog.name, prog.section);
            match &prog.sec.target {
                AttachTarget::Kprobe { func, .. } => {
                    let what = format!("{describe}: a probe of the kernel function '{func}'");
                    return refuse(what, "only --backend kernel can probe kernel functions");
                }
                _ if prog.sec.prog_type == ProgType::KPROBE => {}
                _ => {
                    let what = format!("{describe}: a {} program", prog.sec.prog_type);
                    return refuse(what, "it needs --backend kernel");
                }
            }
        }
        for map in &object.spec.maps {
            if !self.env.has_map_type(map.map_type) {
                return refuse(format!("map '{}': type {}", map.name, map.map_type), "");
            }
        }
        Ok(())
    }

    fn verify_all(
        &self,
        object: &Object,
        options: &LoadOptions,
    ) -> Result<Vec<(usize, VerifiedProg)>, Error> {
        let maps: Vec<MapDef> = object.spec.maps.iter().map(prepare::map_def).collect();
        let mut all = Vec::new();
        for (index, prog) in object.spec.progs.iter().enumerate().filter(|(_, p)| p.autoload) {
            let verified = verify_one(&self.env, object, prog, &maps, options.log_level)?;
            if !options.allow_write {
                check_writes(&object.path, prog, &verified)?;
            }
            all.push((index, verified));
        }
        Ok(all)
    }

    fn create_maps(&self, object: &Object) -> Result<Vec<MapId>, Error> {
        let mut ids = Vec::new();
        for map in &object.spec.maps {
            ids.push(self.create_map(map)?);
        }
        for (map, id) in object.spec.maps.iter().zip(&ids) {
            let fail = |source| Error::Runtime { what: format!("map '{}'", map.name), source };
            for (slot, value) in &map.values {
                let SlotValue::Map(inner) = value else { continue };
                let index = *inner as usize;
                let (Some(&inner), Some(spec)) = (ids.get(index), object.spec.maps.get(index))
                else {
                    continue;
                };
                entries::inner_misfit(map, spec)
                    .map_or(Ok(()), |reason| Err(bad_entry(object, map, *slot, reason)))?;
                let inner = self.arena.map(inner).map_err(fail)?;
                let outer = self.arena.map(*id).map_err(fail)?;
                outer.update_inner(&slot.to_le_bytes(), &inner, 0).map_err(fail)?;
            }
        }
        Ok(ids)
    }

    fn create_map(&self, map: &MapSpec) -> Result<MapId, Error> {
        let fail = |source| Error::Runtime { what: format!("map '{}'", map.name), source };
        let def = ArenaMapDef {
            map_type: map.map_type.0,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            map_flags: map.map_flags,
            map_extra: map.map_extra,
            seed: place::seed(),
            ..ArenaMapDef::default()
        };
        let id = self.arena.add_map(&def).map_err(fail)?;
        if map.kind.is_internal() {
            let key = 0u32.to_le_bytes();
            self.arena.map(id).map_err(fail)?.update(&key, &map.contents, 0).map_err(fail)?;
        }
        Ok(id)
    }

    fn fill_prog_arrays(
        &self,
        object: &Object,
        maps: &[MapId],
        progs: &[LoadedProg],
    ) -> Result<(), Error> {
        for (index, (map, id)) in object.spec.maps.iter().zip(maps).enumerate() {
            let fail = |source| Error::Runtime { what: format!("map '{}'", map.name), source };
            let entry = |(slot, value): &(u32, SlotValue)| {
                let SlotValue::Prog(index) = value else { return None };
                Some((*slot, progs.iter().find(|p| p.spec == *index as usize)?))
            };
            let all: Vec<(u32, &LoadedProg)> = map.values.iter().filter_map(entry).collect();
            for (n, (slot, prog)) in all.iter().enumerate() {
                let so_far = all[..=n].iter().map(|(_, p)| &p.verified);
                let loaded = progs.iter().map(|p| &p.verified);
                if let Some(reason) = entries::progs_misfit(index as u32, so_far, loaded) {
                    return Err(bad_entry(object, map, *slot, reason));
                }
                let array = self.arena.map(*id).map_err(fail)?;
                array.update_prog(*slot, prog.code_off).map_err(fail)?;
            }
        }
        Ok(())
    }
}

fn bad_entry(object: &Object, map: &MapSpec, slot: u32, reason: &'static str) -> Error {
    Error::MapEntry { object: object.path.clone(), map: map.name.clone(), slot, reason }
}

/// Verifies one program of a relocated object.
pub(super) fn verify_one(
    env: &Env,
    object: &Object,
    prog: &ProgSpec,
    maps: &[MapDef],
    log_level: u32,
) -> Result<VerifiedProg, Error> {
    let infos = Infos::new(prog);
    let input = infos.input(&object.spec, prog, maps, log_level);
    verify(env, &input).map_err(|rejection| Error::Rejected {
        object: object.path.clone(),
        prog: prog.name.clone(),
        report: Box::new(stylet_diag::explain(env, &input, &Finding::from(&rejection))),
        rejection: Box::new(rejection),
    })
}

/// The object fitted to this backend's BTF.
pub(super) fn relocate(object: &Object, btf: &stylet_btf::Btf) -> Result<Object, Error> {
    let rules = Env::USER_RULES;
    let target = stylet_object::Target {
        btf: Some(btf),
        kernel_version: u32::from(rules.major) << 16 | u32::from(rules.minor) << 8,
        has_bpf_cookie: true,
        ..stylet_object::Target::default()
    };
    let spec = object
        .spec
        .relocate(&target)
        .map_err(|source| Error::Object { path: object.path.clone(), source: Box::new(source) })?;
    Ok(Object { path: object.path.clone(), spec })
}

/// Refuses a program that calls a helper with effects on the traced process.
fn check_writes(path: &Path, prog: &ProgSpec, verified: &VerifiedProg) -> Result<(), Error> {
    match crate::effects::EFFECTS.iter().find(|(id, _)| verified.facts().helpers.contains(&id.0)) {
        Some((_, what)) => Err(Error::WriteNotAllowed {
            object: path.to_path_buf(),
            prog: prog.name.clone(),
            what,
        }),
        None => Ok(()),
    }
}
