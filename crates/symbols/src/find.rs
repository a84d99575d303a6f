//! Which file is meant by a path or a library's name, and where a process has it mapped.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{Error, Map, Maps, Result, is_library, search};

/// A file as a process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Path in the process's mount namespace.
    pub path: PathBuf,
    /// Path through which this process can open it.
    pub open: PathBuf,
}

/// Finds a file by path or name. With a process: first among the files it has mapped (`libc` means `libc.so.6` or
/// `libc-2.31.so`), and paths are those of its mount namespace.
pub fn find_file(name: &str, process: Option<(i32, &Maps)>) -> Result<FileRef> {
    if let Some((pid, maps)) = process {
        let mapped = maps.0.iter().filter(|m| m.is_file() && m.name.starts_with('/'));
        let by = |fits: &dyn Fn(&Path) -> bool| {
            mapped.clone().find(|m| m.path().is_some_and(|p| fits(&p)))
        };
        let base =
            |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let found = by(&|p| p == Path::new(name))
            .or_else(|| by(&|p| !name.contains('/') && base(p) == name))
            .or_else(|| by(&|p| !name.contains('/') && is_library(&base(p), name)));
        if let Some(map) = found {
            return open_mapped(pid, map);
        }
    }
    let pid = process.map(|(pid, _)| pid);
    let root = pid.map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
    Ok(in_namespace(pid, &search(name, root.as_deref())?))
}

fn in_namespace(pid: Option<i32>, path: &Path) -> FileRef {
    let open = match pid {
        Some(pid) if path.is_absolute() => {
            let mut open = format!("/proc/{pid}/root").into_bytes();
            open.extend_from_slice(path.as_os_str().as_encoded_bytes());
            PathBuf::from(String::from_utf8_lossy(&open).into_owned())
        }
        _ => path.to_owned(),
    };
    FileRef { path: path.to_owned(), open }
}

/// A way to open the very file that is mapped, though it may have been replaced or deleted since.
pub fn open_mapped(pid: i32, map: &Map) -> Result<FileRef> {
    let path =
        map.path().ok_or_else(|| Error::NotMapped { path: PathBuf::from(&map.name), pid })?;
    let by_map = PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", map.start, map.end));
    let exe = PathBuf::from(format!("/proc/{pid}/exe"));
    let ways = [in_namespace(Some(pid), &path).open, by_map, exe];
    let inode = |p: &PathBuf| std::fs::metadata(p).ok().map(|m| m.ino());
    match ways.into_iter().find(|p| inode(p) == Some(map.inode)) {
        Some(open) => Ok(FileRef { path, open }),
        None => {
            let source = std::io::Error::other("replaced or deleted since it was mapped");
            Err(Error::File { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_mappings() {
        let pid = std::process::id() as i32;
        let maps = Maps::of(pid).unwrap();
        let exe = std::env::current_exe().unwrap();
        let own =
            find_file(exe.file_name().unwrap().to_str().unwrap(), Some((pid, &maps))).unwrap();
        assert_eq!(own.path, exe);
        assert!(own.open.exists());
        if maps.0.iter().any(|m| m.name.ends_with("/libc.so.6")) {
            assert!(find_file("libc", Some((pid, &maps))).unwrap().path.ends_with("libc.so.6"));
        }
    }
}
