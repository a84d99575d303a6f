//! Pins: names in a BPF file system that keep objects alive.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Link;
use crate::Error;
use crate::sys::{self, Errno};

/// Where the BPF file system is mounted by custom.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC`
const BPFFS_MAGIC: u64 = 0xcafe_4a11;

impl Link {
    /// Pins the link: it stays attached until the pin is removed and every descriptor closed, whatever becomes of this
    /// process. Mounts the BPF file system at its usual place if it is not there and we may.
    ///
    /// # Errors
    /// [`Error::Pin`] for a path that exists, is in no BPF file system, or is not to be written; [`Error::LinkOp`] for
    /// what cannot be pinned.
    pub fn pin(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        if self.parts.iter().any(|part| !part.leftovers.is_empty()) {
            let why = "what it needs besides (a tracefs event, argument records of a USDT marker) is removed with this process";
            let link_type = self.link_type();
            return Err(Error::LinkOp { op: "pinned", link_type, errno: None, why: why.into() });
        }
        let link = self.kernel_link("pinned")?;
        if let Some(at) = &self.pinned {
            let why = format!("it is pinned at {} already", at.display());
            let link_type = self.link_type();
            return Err(Error::LinkOp { op: "pinned", link_type, errno: None, why });
        }
        let c_path = prepare(path)?;
        sys::pin(link, &c_path).map_err(|errno| refused(path, errno))?;
        self.pinned = Some(path.to_path_buf());
        Ok(())
    }

    /// Removes the pin; the link stays attached while `self` lives.
    ///
    /// # Errors
    /// [`Error::LinkOp`] if it is not pinned by this link; [`Error::Pin`] if the pin cannot be removed.
    pub fn unpin(&mut self) -> Result<(), Error> {
        let Some(path) = self.pinned.take() else {
            let why = "it is not pinned, or not by this link".into();
            let link_type = self.link_type();
            return Err(Error::LinkOp { op: "unpinned", link_type, errno: None, why });
        };
        std::fs::remove_file(&path).map_err(|error| refused(&path, error.into()))
    }

    /// Opens a pinned link.
    ///
    /// # Errors
    /// [`Error::Pin`] when there is none, when it is not ours to open, or when something else than a link is pinned there.
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Link, Error> {
        let path = path.as_ref();
        let (fd, kind) = pinned_object(path)?;
        if kind != "link" {
            let why = format!("a {kind} is pinned there, not a link");
            return Err(Error::Pin { path: path.to_path_buf(), errno: None, why });
        }
        let mut link = Link::from_link(fd);
        link.pinned = Some(path.to_path_buf());
        Ok(link)
    }
}

impl crate::Map {
    /// Pins the map: it stays until the pin is removed and nothing else holds it.
    ///
    /// # Errors
    /// [`Error::Pin`] for a path that exists, is in no BPF file system, or is not to be written.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let c_path = prepare(path)?;
        sys::pin(std::os::fd::AsFd::as_fd(self), &c_path).map_err(|errno| refused(path, errno))
    }
}

/// Opens what is pinned at a path; also says what it is: `link`, `prog`, `map`, or whatever the kernel calls it.
///
/// # Errors
/// [`Error::Pin`] when nothing is pinned there or it is not ours to open.
pub fn pinned_object(path: &Path) -> Result<(OwnedFd, String), Error> {
    let fd = sys::get_pinned(&c_string(path)?).map_err(|errno| refused(path, errno))?;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default();
    let name = name.to_string_lossy();
    // `anon_inode:bpf-map`, `anon_inode:bpf_link` or `bpf-link`.
    let kind = name
        .trim_start_matches("anon_inode:")
        .trim_start_matches("bpf")
        .trim_start_matches(['-', '_']);
    Ok((fd, kind.to_string()))
}

/// Whether a path is of something pinned: a file in a BPF file system.
pub fn is_pin(path: &Path) -> bool {
    path.is_file() && is_bpffs(path) == Ok(true)
}

/// Makes sure that `path` can be a pin: in a BPF file system, which is mounted if it can be.
fn prepare(path: &Path) -> Result<CString, Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.starts_with(BPFFS) {
        ensure_bpffs()?;
    }
    if !is_bpffs(parent).map_err(|errno| refused(path, errno))? {
        let why = format!("{} is in no BPF file system; pins go below {BPFFS}", parent.display());
        return Err(Error::Pin { path: path.to_path_buf(), errno: None, why });
    }
    c_string(path)
}

/// Mounts the BPF file system at `/sys/fs/bpf` unless it is there.
///
/// # Errors
/// [`Error::Pin`] that says how to mount it, when we may not.
pub fn ensure_bpffs() -> Result<(), Error> {
    let path = Path::new(BPFFS);
    if is_bpffs(path) == Ok(true) {
        return Ok(());
    }
    sys::mount("bpf", path, "bpf").map_err(|errno| Error::Pin {
        path: path.to_path_buf(),
        errno: Some(errno),
        why: format!("the BPF file system is not mounted there; as root: mount -t bpf bpf {BPFFS}"),
    })
}

fn is_bpffs(path: &Path) -> Result<bool, Errno> {
    sys::file_system(path).map(|magic| magic == BPFFS_MAGIC)
}

fn c_string(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Pin {
        path: path.to_path_buf(),
        errno: None,
        why: "a path has no NUL in it".into(),
    })
}

/// What a path's errno means.
fn refused(path: &Path, errno: Errno) -> Error {
    let why = match errno {
        Errno(libc::EEXIST) => {
            "something is pinned there already; remove it, or choose another name"
        }
        Errno(libc::ENOENT) => "there is no such pin, or no such directory",
        Errno(libc::EPERM)
            if path.file_name().is_some_and(|name| name.as_bytes().contains(&b'.')) =>
        {
            "names in a BPF file system have no dots"
        }
        Errno(libc::EPERM | libc::EACCES) => "it needs root, or rights on that directory",
        Errno(libc::EINVAL) => "it is in no BPF file system, or nothing that could be pinned",
        _ => "the kernel refuses",
    };
    let path: PathBuf = path.to_path_buf();
    Error::Pin { path, errno: Some(errno), why: why.into() }
}
