//! From a [`Spec`] to maps and programs in the kernel.
//!
//! The order and the rules are libbpf's (`bpf_object_load`): externs and CO-RE against the kernel, BTF as far as the
//! kernel understands it, maps with their contents, programs, and last the slots of program arrays.

mod btf;
mod global;
mod map;
mod names;
mod pin;
mod prog;
mod target;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use stylet_btf::Btf;
use stylet_object::{MapKind, ProgSpec, SlotValue, Spec};
use stylet_uapi::{MapType, ProgType};

use crate::feature::Feature;
use crate::kernel::Kernel;
use crate::map::Map;
use crate::prog::Prog;
use crate::{Error, sys};

/// How an object is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions<'a> {
    /// Types that CO-RE takes for the kernel's, instead of what the running kernel says.
    pub core_btf: Option<&'a Btf>,
    /// Lines of a `.config` that go before the running kernel's own.
    pub kconfig: &'a str,
    /// Folder in a bpffs for maps that are pinned by name.
    pub pin_root: PathBuf,
    /// Verifier's log level for programs that are accepted: 0 none, 1 and 2 verbose, 4 statistics.
    pub log_level: u32,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        let pin_root = PathBuf::from("/sys/fs/bpf");
        LoadOptions { core_btf: None, kconfig: "", pin_root, log_level: 0 }
    }
}

/// An object in the kernel. Dropped, it goes, except for what is pinned or attached.
#[derive(Debug)]
pub struct Loaded {
    /// Maps, in the order of [`Spec::maps`].
    pub maps: Vec<Map>,
    /// Programs with `autoload`, in the order of [`Spec::progs`].
    pub progs: Vec<Prog>,
    /// The object as it was loaded: relocated against the kernel. Its BTF describes maps and events.
    pub spec: Spec,
    /// The object's BTF in the kernel, where it has any and the kernel takes it.
    pub btf: Option<OwnedFd>,
}

impl Loaded {
    /// The map of that name; data sections also answer to their section's name.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.get(self.spec.map_idx(name)?)
    }

    /// The program of that name.
    pub fn prog(&self, name: &str) -> Option<&Prog> {
        self.progs.iter().find(|prog| prog.name == name)
    }
}

/// Loads an object: all its maps, and the programs whose `autoload` is set.
///
/// `spec` is as it was parsed, or relocated by the caller against this kernel. Sizes of maps, contents of `.rodata`,
/// `autoload` and the like are changed in it before.
///
/// # Errors
/// [`Error::Denied`] without the rights; [`Error::Missing`] for what this kernel does not have; [`Error::Rejected`] for
/// what its verifier refuses; the other variants for what is wrong with the object. Nothing is left in the kernel then.
pub fn load(kernel: &Kernel, spec: &Spec, options: &LoadOptions<'_>) -> Result<Loaded, Error> {
    check_supported(spec)?;
    kernel.require(Feature::ProgType(ProgType::SOCKET_FILTER))?;
    let spec = target::relocate(kernel, spec, options)?;
    let btf = btf::load(kernel, &spec)?;
    let btf_fd = btf.as_ref().map(std::os::fd::AsFd::as_fd);
    let mut pins = pin::Pins::default();
    let maps = map::create_all(kernel, &spec, btf_fd, options, &mut pins)?;
    let progs = prog::load_all(kernel, &spec, btf_fd, &maps, options)?;
    for (map_spec, map) in spec.maps.iter().zip(&maps) {
        if map_spec.map_type == MapType::PROG_ARRAY {
            fill_slots(map, &map_spec.values, |value| match value {
                SlotValue::Prog(idx) => {
                    let name = &spec.progs.get(idx as usize)?.name;
                    progs.iter().find(|prog| prog.name == *name).map(raw)
                }
                SlotValue::Map(_) => None,
            })?;
        }
    }
    bind_rodata(kernel, &spec, &maps, &progs);
    pins.keep();
    Ok(Loaded { maps, progs, spec, btf })
}

/// What no kernel could make of this object, or what this loader does not do.
fn check_supported(spec: &Spec) -> Result<(), Error> {
    let is_struct_ops = |prog: &&ProgSpec| {
        prog.autoload
            && (prog.sec.prog_type == ProgType::STRUCT_OPS
                || prog.section.starts_with("struct_ops"))
    };
    if let Some(map) = spec.maps.iter().find(|map| map.map_type == MapType::STRUCT_OPS) {
        return Err(Error::Unsupported { what: format!("map '{}': struct_ops", map.name) });
    }
    if let Some(prog) = spec.progs.iter().find(is_struct_ops) {
        let what = format!("program '{}' (SEC(\"{}\")): struct_ops", prog.name, prog.section);
        return Err(Error::Unsupported { what });
    }
    Ok(())
}

/// Writes initial slots of a map of maps or of a program array.
fn fill_slots(
    map: &Map,
    values: &[(u32, SlotValue)],
    fd: impl Fn(SlotValue) -> Option<i32>,
) -> Result<(), Error> {
    for &(slot, value) in values {
        let entry = |errno| Error::MapEntry { map: map.name.clone(), slot, errno };
        let fd = fd(value).ok_or_else(|| entry(None))?;
        map.fd
            .update(&slot.to_ne_bytes(), &fd.to_ne_bytes(), 0)
            .map_err(|errno| entry(Some(errno)))?;
    }
    Ok(())
}

/// Programs keep the constants alive that their messages point into (`bpf_object_load_prog`).
fn bind_rodata(kernel: &Kernel, spec: &Spec, maps: &[Map], progs: &[Prog]) {
    use std::os::fd::AsFd;
    let mut rodata =
        spec.maps.iter().zip(maps).filter(|(spec, _)| spec.kind == MapKind::Rodata).peekable();
    if rodata.peek().is_none() || !kernel.has(Feature::ProgBindMap) {
        return;
    }
    for (_, map) in rodata {
        for prog in progs {
            // A map that the program uses anyway is bound already.
            let _ = sys::prog_bind_map(prog.as_fd(), map.as_fd());
        }
    }
}

fn raw(fd: &impl std::os::fd::AsFd) -> i32 {
    use std::os::fd::AsRawFd;
    fd.as_fd().as_raw_fd()
}
