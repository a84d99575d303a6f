//! Which file is meant by the name of a library or a program.

use crate::{Error, Result};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories that libbpf searches for libraries after LD_LIBRARY_PATH, and for programs after PATH
/// (`resolve_full_path`); distributions' own directory for the architecture between them.
const LIBRARY_DIRS: [&str; 5] =
    ["/usr/lib64", "/usr/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64"];
const PROGRAM_DIRS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// Finds the file that `name` means: a path as it is; a library (`libc.so.6`) in LD_LIBRARY_PATH and the system's
/// directories; a program in PATH and the system's; then both, and bare names (`libc`, `c`), in the dynamic linker's cache.
///
/// `root` is put before absolute candidates when files are opened (`/proc/PID/root`), not into the answer.
pub fn search(name: &str, root: Option<&Path>) -> Result<PathBuf> {
    let mut searched = Vec::new();
    for path in candidates(name) {
        let open = under(root, &path);
        if open.is_file() && (name.contains('/') || is_shared(name) || executable(&open)) {
            return Ok(path);
        }
        searched.push(path.display().to_string());
    }
    if !name.contains('/') {
        let cache = under(root, Path::new(CACHE));
        if let Some(path) = std::fs::read(cache).ok().and_then(|bytes| in_cache(&bytes, name)) {
            return Ok(path);
        }
        searched.push(CACHE.to_owned());
    }
    Err(Error::NoFile { name: name.to_owned(), searched })
}

/// `libc.so.6`, `libc-2.31.so` or `libc.so` for `libc`.
pub fn is_library(base: &str, name: &str) -> bool {
    let rest = base.strip_prefix(name).unwrap_or_default();
    base.contains(".so") && (rest.starts_with('.') || rest.starts_with('-'))
}

fn is_shared(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

fn candidates(name: &str) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    let (variable, dirs): (&str, &[&str]) =
        if is_shared(name) { ("LD_LIBRARY_PATH", &LIBRARY_DIRS) } else { ("PATH", &PROGRAM_DIRS) };
    let listed = std::env::var_os(variable).unwrap_or_default();
    let listed: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|d| !d.as_os_str().is_empty()).collect();
    listed.into_iter().chain(dirs.iter().map(PathBuf::from)).map(|dir| dir.join(name)).collect()
}

fn under(root: Option<&Path>, path: &Path) -> PathBuf {
    match (root, path.strip_prefix("/")) {
        (Some(root), Ok(rest)) => root.join(rest),
        _ => path.to_owned(),
    }
}

fn executable(path: &Path) -> bool {
    let Ok(text) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: a call that reads one string.
    unsafe { libc::access(text.as_ptr(), libc::X_OK) == 0 }
}

/// Where the dynamic linker keeps what ldconfig found.
const CACHE: &str = "/etc/ld.so.cache";
/// Its magic, which in old files follows the entries of the format before it (glibc's sysdeps/generic/dl-cache.h).
const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes of the header: magic, `nlibs`, `len_strings`, flags and padding, `extension_offset`, three unused words.
const CACHE_HEADER: usize = 48;
/// Bytes of an entry: flags, key, value, `osversion`, `hwcap`.
const CACHE_ENTRY: usize = 24;
/// `FLAG_ELF_LIBC6 | FLAG_X8664_LIB64`, the libraries of 64-bit x86 programs; other machines take what comes first.
const CACHE_FLAGS: u32 = 0x0303;

/// Path of a library in the bytes of the dynamic linker's cache: by its exact name, then `name.so…`, then `libname.so…`.
fn in_cache(bytes: &[u8], name: &str) -> Option<PathBuf> {
    let start = bytes.windows(CACHE_MAGIC.len()).position(|w| w == CACHE_MAGIC)?;
    let cache = &bytes[start..];
    let word =
        |at: usize| cache.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let text = |at: u32| {
        let tail = cache.get(at as usize..)?;
        let end = tail.iter().position(|&b| b == 0)?;
        std::str::from_utf8(&tail[..end]).ok()
    };
    let full = format!("lib{name}");
    let mut best: Option<(u8, &str)> = None;
    for i in 0..word(CACHE_MAGIC.len())? as usize {
        let at = CACHE_HEADER + i * CACHE_ENTRY;
        let (Some(flags), Some(key), Some(value)) = (word(at), word(at + 4), word(at + 8)) else {
            break;
        };
        if cfg!(target_arch = "x86_64") && flags != CACHE_FLAGS {
            continue;
        }
        let (Some(key), Some(value)) = (text(key), text(value)) else { continue };
        let rank = match key {
            key if key == name => 3,
            key if is_library(key, name) => 2,
            key if is_library(key, &full) => 1,
            _ => continue,
        };
        if best.is_none_or(|(r, _)| rank > r) {
            best = Some((rank, value));
        }
    }
    best.map(|(_, value)| PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_tell_where_was_searched() {
        let Err(Error::NoFile { searched, .. }) = search("libnothing.so.77", None) else {
            panic!("found")
        };
        assert!(searched.iter().any(|d| d == "/usr/lib64/libnothing.so.77"));
        assert!(searched.iter().any(|d| d == CACHE));
        assert!(matches!(search("/no/such", None), Err(Error::NoFile { .. })));
    }

    #[test]
    fn prefixes_of_libraries() {
        assert!(is_library("libc.so.6", "libc") && is_library("libc-2.31.so", "libc"));
        assert!(!is_library("libcap.so.2", "libc") && !is_library("libc.txt", "libc"));
    }

    /// A cache of three libraries, laid out by hand after dl-cache.h.
    fn cache() -> Vec<u8> {
        let names = ["libcap.so.2", "libc.so.6", "libm.so.6"];
        let mut out = CACHE_MAGIC.to_vec();
        out.extend((names.len() as u32).to_le_bytes());
        out.resize(CACHE_HEADER, 0);
        let strings = CACHE_HEADER + names.len() * CACHE_ENTRY;
        let mut tail = Vec::new();
        for name in names {
            let key = (strings + tail.len()) as u32;
            tail.extend(format!("{name}\0/x/{name}\0").bytes());
            out.extend(CACHE_FLAGS.to_le_bytes());
            out.extend(key.to_le_bytes());
            out.extend((key + name.len() as u32 + 1).to_le_bytes());
            out.extend([0; 12]);
        }
        out.extend(tail);
        out
    }

    #[test]
    fn the_cache_knows_bare_names() {
        let cache = cache();
        for (name, want) in [
            ("libc", Some("/x/libc.so.6")),
            ("c", Some("/x/libc.so.6")),
            ("libm.so.6", Some("/x/libm.so.6")),
            ("libca", None),
        ] {
            assert_eq!(in_cache(&cache, name).as_deref(), want.map(Path::new), "{name}");
        }
        for len in 0..cache.len() {
            let _ = in_cache(&cache[..len], "libc");
        }
    }
}
