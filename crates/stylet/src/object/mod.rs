//! An object file, opened but not loaded.

pub mod globals;

use crate::Error;
use std::path::{Path, PathBuf};
use stylet_object::{ProgSpec, Spec};

/// Longest file that is read. The largest objects of the kernel's selftests have some megabytes.
const MAX_SIZE: u64 = 256 << 20;

/// A BPF object file and the choices made about it before it is loaded.
#[derive(Clone, Debug)]
pub struct Object {
    pub(crate) path: PathBuf,
    pub(crate) spec: Spec,
}

impl Object {
    /// Reads and parses an object file. Its name is the file's name.
    ///
    /// # Errors
    /// [`Error::Read`] when the file can not be read, [`Error::Object`] when it is no BPF object.
    pub fn open(path: impl AsRef<Path>) -> Result<Object, Error> {
        let path = path.as_ref().to_path_buf();
        let bytes = read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        Object::parse(path, &bytes)
    }

    /// Parses an object from memory; `path` names it in errors and names its internal maps.
    ///
    /// # Errors
    /// [`Error::Object`].
    pub fn parse(path: impl Into<PathBuf>, bytes: &[u8]) -> Result<Object, Error> {
        let path = path.into();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let options = stylet_object::Options { name: &name, ..stylet_object::Options::default() };
        let spec = Spec::parse_with(bytes, &options)
            .map_err(|source| Error::Object { path: path.clone(), source: Box::new(source) })?;
        Ok(Object { path, spec })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Programs that will be loaded.
    pub fn autoload_progs(&self) -> impl Iterator<Item = &ProgSpec> {
        self.spec.progs.iter().filter(|p| p.autoload)
    }

    /// Chooses whether a program is loaded (`bpf_program__set_autoload`).
    ///
    /// # Errors
    /// [`Error::NoSuchProg`].
    pub fn set_autoload(&mut self, prog: &str, autoload: bool) -> Result<(), Error> {
        match self.spec.progs.iter_mut().find(|p| p.name == prog) {
            Some(p) => {
                p.autoload = autoload;
                Ok(())
            }
            None => Err(Error::NoSuchProg {
                object: self.path.clone(),
                name: prog.to_owned(),
                known: self.spec.progs.iter().map(|p| p.name.clone()).collect(),
            }),
        }
    }
}

/// Reads a file that may be an endless device.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
