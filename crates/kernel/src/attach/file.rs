//! Files whose code is probed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use stylet_symbols::{ElfImage, Maps, find_file};

use crate::Error;

/// A file, found.
#[derive(Clone, Debug)]
pub(super) struct Binary {
    /// Path through which it can be opened, which is what the kernel is given.
    pub open: PathBuf,
    /// Path in messages.
    pub shown: PathBuf,
}

/// Files found so far, by name and process. It lives for one round of attachments, during which processes are taken to map
/// the same files: their mappings are read once and not for each probe.
#[derive(Debug, Default)]
pub struct Files(RefCell<HashMap<(String, i32), Binary>>);

impl Files {
    /// [`Binary::find`], once for each file.
    pub(super) fn find(&self, name: &str, pid: i32) -> Result<Binary, Error> {
        let key = (name.to_string(), pid);
        if let Some(known) = self.0.borrow().get(&key) {
            return Ok(known.clone());
        }
        let found = Binary::find(name, pid)?;
        self.0.borrow_mut().insert(key, found.clone());
        Ok(found)
    }
}

impl Binary {
    /// Finds a file by path or name. A path is taken as it is, in this process's mount namespace; a bare name is looked for
    /// among what process `pid` (if one is given) has mapped, then as libbpf does, then in the dynamic linker's cache.
    pub fn find(name: &str, pid: i32) -> Result<Binary, Error> {
        if pid > 0 && !Path::new(&format!("/proc/{pid}")).exists() {
            return Err(Error::NoProcess { pid });
        }
        let file = if pid > 0 && !name.contains('/') {
            let maps = Maps::of(pid)?;
            find_file(name, Some((pid, &maps)))?
        } else {
            find_file(name, None)?
        };
        Ok(Binary { open: file.open, shown: file.path })
    }

    /// Its functions and markers.
    pub fn image(&self) -> Result<ElfImage, Error> {
        Ok(ElfImage::open(&self.open, &self.shown)?)
    }

    /// Its functions of one name, as far as there are any; all of them where there are none, for what to say then.
    pub fn image_for(&self, name: &str) -> Result<ElfImage, Error> {
        let part = ElfImage::open_for(&self.open, &self.shown, name)?;
        if part.func(name).is_ok() { Ok(part) } else { self.image() }
    }

    /// Its path for a system call.
    pub fn c_path(&self) -> Result<CString, Error> {
        CString::new(self.open.as_os_str().as_bytes()).map_err(|_| {
            let (text, why) = (self.shown.display().to_string(), "a path holds no NUL byte");
            stylet_symbols::Error::BadSpec { text, why }.into()
        })
    }
}
