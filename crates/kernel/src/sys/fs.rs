//! File systems: which one a path is in, and mounting one.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Errno;

fn c_string(bytes: &[u8]) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno(libc::EINVAL))
}

/// The magic number of the file system that a path is in (`statfs.f_type`).
pub fn file_system(path: &Path) -> Result<u64, Errno> {
    let path = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: all zeros is a value of this plain struct.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a NUL-terminated string and a live struct of the right type.
    let ret = unsafe { libc::statfs(path.as_ptr(), &raw mut found) };
    if ret < 0 { Err(Errno::last()) } else { Ok(found.f_type as u64 & 0xffff_ffff) }
}

/// Mounts a file system without options.
pub fn mount(source: &str, at: &Path, fs_type: &str) -> Result<(), Errno> {
    let (source, fs_type) = (c_string(source.as_bytes())?, c_string(fs_type.as_bytes())?);
    let at = c_string(at.as_os_str().as_bytes())?;
    // SAFETY: three NUL-terminated strings; there is no data.
    let ret =
        unsafe { libc::mount(source.as_ptr(), at.as_ptr(), fs_type.as_ptr(), 0, std::ptr::null()) };
    if ret < 0 { Err(Errno::last()) } else { Ok(()) }
}
