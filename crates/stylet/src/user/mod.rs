//! The user backend: BPF programs inside ordinary processes.
//!
//! A [`Session`] owns one arena. Objects are loaded into it, processes are attached to it, and programs are attached to
//! functions of those processes; events and maps are read from it live.

mod attach;
mod entries;
mod events;
mod kfuncs;
mod load;
mod map;
mod place;
mod target;
mod usdt;
pub mod vmlinux;

pub use load::{Loaded, LoadedProg};

use crate::{Error, Object};

use stylet_agent_image as agent;
use stylet_btf::Btf;
use stylet_catalog::Env;
use stylet_object::ProgSpec;
use stylet_runtime::helpers::SUPPORTED_HELPERS;
use stylet_runtime::host::{Arena, Options, Part};
use stylet_runtime::map::SUPPORTED_MAP_TYPES;
use stylet_uapi::HelperId;

/// Helpers that generated code carries out itself.
const INLINE_HELPERS: [u32; 2] = [HelperId::TAIL_CALL.0, HelperId::GET_SMP_PROCESSOR_ID.0];

/// One arena with everything that is loaded into it and attached to it.
pub struct Session {
    arena: Arena,
    env: Env,
    env_btf: Btf,
    objects: Vec<Loaded>,
    targets: Vec<target::TargetState>,
    usdt: usdt::Records,
    next_prog: u32,
    last_repair: std::time::Instant,
    last_clock: std::time::Instant,
    /// Programs read the time without a system call.
    clock_set: bool,
}

/// What this backend offers to programs.
///
/// # Errors
/// [`Error::Bug`] when the backend's own BTF can not be written.
pub fn env() -> Result<(Env, Btf), Error> {
    let mut helpers = SUPPORTED_HELPERS.to_vec();
    helpers.extend(INLINE_HELPERS);
    helpers.sort_unstable();
    helpers.dedup();
    let btf = vmlinux::btf(&helpers, SUPPORTED_MAP_TYPES)
        .map_err(|e| Error::Bug { what: format!("the user backend's BTF: {e}") })?;
    let env = Env::user(&helpers, SUPPORTED_MAP_TYPES).with_btf(btf.clone());
    Ok((env, btf))
}

impl Session {
    /// A new arena with the agent in it.
    ///
    /// # Errors
    /// [`Error::Runtime`] when memory can not be had.
    pub fn new() -> Result<Session, Error> {
        let fail = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Runtime { what, source }
        };
        let arena = Arena::new(&Options::default()).map_err(fail("the arena"))?;
        let image = agent::IMAGE;
        let off = arena.alloc(Part::Text, image.len() as u64, 4096).map_err(fail("the agent"))?;
        if off != 0 {
            return Err(Error::Bug { what: format!("the agent image was placed at {off:#x}") });
        }
        arena.write(off, image).map_err(fail("the agent"))?;
        let (env, env_btf) = env()?;
        arena.refresh_clock();
        Ok(Session {
            arena,
            env,
            env_btf,
            objects: Vec::new(),
            targets: Vec::new(),
            usdt: usdt::Records::default(),
            next_prog: 0,
            last_repair: std::time::Instant::now(),
            last_clock: std::time::Instant::now(),
            clock_set: false,
        })
    }

    /// Objects loaded so far.
    pub fn objects(&self) -> &[Loaded] {
        &self.objects
    }

    /// The arena, for reading maps.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }
}

/// The object fitted to this backend: CO-RE applied, externs resolved.
///
/// # Errors
/// [`Error::Object`].
pub fn relocate(object: &Object) -> Result<Object, Error> {
    load::relocate(object, &env()?.1)
}

/// Verifies and compiles one program of a relocated object, without placing it anywhere: relocations are open.
///
/// # Errors
/// [`Error::Rejected`], [`Error::Jit`].
pub fn compile_for_inspection(object: &Object, prog: &ProgSpec) -> Result<stylet_jit::Code, Error> {
    let (env, _) = env()?;
    let maps: Vec<_> = object.spec.maps.iter().map(crate::prepare::map_def).collect();
    let verified = load::verify_one(&env, object, prog, &maps, 0)?;
    place::compile(&prog.name, &verified, &object.spec.maps)
}
