//! Maps that are pinned by name (`LIBBPF_PIN_BY_NAME`): shared by every object that declares them.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use stylet_object::MapSpec;
use stylet_uapi::MapType;
use stylet_uapi::flags::map_flags;

use crate::Error;
use crate::kernel::Kernel;
use crate::link::ensure_bpffs;
use crate::map::Map;
use crate::sys::{self, Errno};

/// `BPF_FS_MAGIC`
const BPFFS_MAGIC: u64 = 0xcafe_4a11;

/// Pins made so far; dropped without [`Pins::keep`], they are removed again.
#[derive(Debug, Default)]
pub(super) struct Pins {
    made: Vec<PathBuf>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        for path in &self.made {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Pins {
    /// Everything went well: the pins stay.
    pub(super) fn keep(mut self) {
        self.made.clear();
    }

    /// The map that is pinned under this name, if there is one.
    ///
    /// # Errors
    /// [`Error::PinIncompatible`] when it is not what the object declares.
    pub(super) fn open(
        &self,
        kernel: &Kernel,
        spec: &MapSpec,
        root: &Path,
    ) -> Result<Option<Map>, Error> {
        let path = path_of(spec, root);
        let fd = match sys::get_pinned(&c_path(&path)?) {
            Ok(fd) => fd,
            Err(Errno(libc::ENOENT)) => return Ok(None),
            Err(errno) => return Err(refused(kernel, spec, &path, "BPF_OBJ_GET", errno)),
        };
        // A program or a link has a pin too, and no shape of a map.
        let shape = sys::map_info(fd.as_fd())
            .map_err(|errno| refused(kernel, spec, &path, "BPF_OBJ_GET_INFO_BY_FD", errno))?;
        let difference = difference(spec, &shape);
        if !difference.is_empty() {
            return Err(Error::PinIncompatible { map: spec.name.clone(), path, difference });
        }
        let map = Map::from_fd(fd)
            .map_err(|errno| refused(kernel, spec, &path, "BPF_OBJ_GET_INFO_BY_FD", errno))?;
        Ok(Some(Map { name: spec.name.clone(), ..map }))
    }

    /// Pins a map that was just made. If another loader was faster, its map is taken instead.
    pub(super) fn pin(
        &mut self,
        kernel: &Kernel,
        spec: &MapSpec,
        map: Map,
        root: &Path,
    ) -> Result<Map, Error> {
        let path = path_of(spec, root);
        ensure_folder(root)?;
        match sys::pin(map.as_fd(), &c_path(&path)?) {
            Ok(()) => {
                self.made.push(path);
                Ok(map)
            }
            Err(errno @ Errno(libc::EEXIST)) => self
                .open(kernel, spec, root)?
                .ok_or_else(|| refused(kernel, spec, &path, "BPF_OBJ_PIN", errno)),
            Err(errno) => Err(refused(kernel, spec, &path, "BPF_OBJ_PIN", errno)),
        }
    }
}

/// `.` may not occur in names of a bpffs (`sanitize_pin_path`).
fn path_of(spec: &MapSpec, root: &Path) -> PathBuf {
    root.join(spec.name.replace('.', "_"))
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::sys("open", path.display().to_string())(Errno(libc::EINVAL)))
}

fn refused(
    kernel: &Kernel,
    spec: &MapSpec,
    path: &Path,
    call: &'static str,
    errno: Errno,
) -> Error {
    let what = format!("map '{}': pin {}", spec.name, path.display());
    match errno {
        Errno(libc::EPERM) => kernel.denied(&what, errno),
        _ => Error::Sys { call, errno, what },
    }
}

/// What differs between a declaration and a pinned map, in words; empty when nothing does (`map_is_reuse_compat`).
fn difference(spec: &MapSpec, map: &sys::MapInfo) -> String {
    // The kernel adds this flag to such maps by itself.
    let own = match spec.map_type {
        MapType::DEVMAP | MapType::DEVMAP_HASH => map_flags::RDONLY_PROG,
        _ => 0,
    };
    let pairs = [
        ("key_size", u64::from(spec.key_size), u64::from(map.key_size)),
        ("value_size", u64::from(spec.value_size), u64::from(map.value_size)),
        ("max_entries", u64::from(spec.max_entries), u64::from(map.max_entries)),
        ("map_flags", u64::from(spec.map_flags & !own), u64::from(map.map_flags & !own)),
        ("map_extra", spec.map_extra, map.map_extra),
    ];
    let of_type = (spec.map_type.0 != map.map_type)
        .then(|| format!("type {} instead of {}", MapType(map.map_type), spec.map_type));
    let others = pairs
        .into_iter()
        .filter(|(_, wanted, found)| wanted != found)
        .map(|(name, wanted, found)| format!("{name} {found} instead of {wanted}"));
    of_type.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

/// Makes the folder in a bpffs; mounts one at `/sys/fs/bpf` when nothing is mounted there.
///
/// # Errors
/// [`Error::Pin`]
fn ensure_folder(folder: &Path) -> Result<(), Error> {
    let failed = |errno, why: &str| Error::Pin { path: folder.into(), errno, why: why.into() };
    if folder.starts_with("/sys/fs/bpf") {
        ensure_bpffs()?;
    }
    // The mount point is there even if the folder in it is not yet.
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    if sys::file_system(existing) != Ok(BPFFS_MAGIC) {
        return Err(failed(None, "in no BPF file system; mount one: mount -t bpf bpf /sys/fs/bpf"));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed(Some(error.into()), "the folder for pins can not be made"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let spec = MapSpec {
            map_type: MapType::HASH,
            key_size: 4,
            value_size: 8,
            max_entries: 10,
            ..MapSpec::default()
        };
        let same = sys::MapInfo {
            map_type: MapType::HASH.0,
            key_size: 4,
            value_size: 8,
            max_entries: 10,
            ..sys::MapInfo::default()
        };
        assert_eq!(difference(&spec, &same), "");
        let other = sys::MapInfo { map_type: MapType::ARRAY.0, value_size: 16, ..same };
        assert_eq!(
            difference(&spec, &other),
            "type ARRAY instead of HASH, value_size 16 instead of 8"
        );
    }

    #[test]
    fn dots_are_no_part_of_a_pin() {
        let spec = MapSpec { name: "obj.rodata".into(), ..MapSpec::default() };
        assert_eq!(
            path_of(&spec, Path::new("/sys/fs/bpf/x")),
            Path::new("/sys/fs/bpf/x/obj_rodata")
        );
    }
}
