//! Kernel objects by id, name, tag or pin.

use super::held::{HeldLink, HeldMap, HeldProg};
use crate::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use stylet_kernel::list::{self, Holders, Kind};
use stylet_kernel::sys::Errno;
use stylet_kernel::{Kernel, LinkInfo};

/// Which object of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By id.
    Id(Kind, u32),
    /// A program by its tag, 16 hexadecimal digits.
    Tag(String),
    /// A program or a map by its name.
    Name(Kind, String),
    /// Whatever is pinned at a path.
    Pinned(PathBuf),
}

/// An object of the kernel, with what is known of it.
#[derive(Debug)]
pub enum KernelObject {
    /// A program.
    Prog(Box<HeldProg>, OwnedFd),
    /// A map.
    Map(Box<HeldMap>, OwnedFd),
    /// A link.
    Link(Box<HeldLink>),
}

impl Selector {
    /// Parses `prog:ID`, `prog:NAME`, `prog:tag:TAG`, `map:ID`, `map:NAME`, `link:ID`, and `KIND:PATH` or a bare absolute path
    /// in a BPF file system; `None` for anything else.
    pub fn parse(text: &str) -> Option<Selector> {
        let (kind, rest) = match text.split_once(':') {
            Some(("prog", rest)) => (Kind::Prog, rest),
            Some(("map", rest)) => (Kind::Map, rest),
            Some(("link", rest)) => (Kind::Link, rest),
            _ => {
                let pinned = text.starts_with('/') && stylet_kernel::link::is_pin(Path::new(text));
                return pinned.then(|| Selector::Pinned(text.into()));
            }
        };
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with('/') {
            return Some(Selector::Pinned(rest.into()));
        }
        if let Ok(id) = rest.parse() {
            return Some(Selector::Id(kind, id));
        }
        if let (Kind::Prog, Some(tag)) = (kind, rest.strip_prefix("tag:")) {
            return Some(Selector::Tag(tag.to_ascii_lowercase()));
        }
        Some(Selector::Name(kind, rest.to_owned()))
    }
}

/// Finds what is asked for: several objects where several have the name or tag.
///
/// # Errors
/// [`Error::NoSuchKernelObject`], [`Error::Kernel`].
pub fn find(kernel: &Kernel, wanted: &Selector) -> Result<Vec<KernelObject>, Error> {
    let holders = Holders::scan();
    let none = |kind: Kind, wanted: &str, advice: String| {
        Err(Error::NoSuchKernelObject { kind: kind.name(), wanted: wanted.to_owned(), advice })
    };
    let ids: Vec<(Kind, u32)> = match wanted {
        Selector::Id(kind, id) => vec![(*kind, *id)],
        Selector::Tag(tag) => {
            let all = list::progs(kernel).map_err(Error::kernel(""))?;
            let ids = all.iter().filter(|p| p.tag == *tag).map(|p| (Kind::Prog, p.id));
            ids.collect()
        }
        Selector::Name(Kind::Prog, name) => {
            let all = list::progs(kernel).map_err(Error::kernel(""))?;
            let ids = all.iter().filter(|p| same_name(&p.name, name));
            ids.map(|p| (Kind::Prog, p.id)).collect()
        }
        Selector::Name(Kind::Map, name) => {
            let all = list::maps(kernel).map_err(Error::kernel(""))?;
            all.iter().filter(|m| same_name(&m.name, name)).map(|m| (Kind::Map, m.id)).collect()
        }
        Selector::Name(Kind::Link, name) => {
            return none(Kind::Link, name, "links have no names: give an id or a pin".into());
        }
        Selector::Pinned(path) => {
            let (fd, kind) = stylet_kernel::link::pinned_object(path).map_err(Error::kernel(""))?;
            return read(kernel, kind_named(&kind, path)?, fd, &holders).map(|o| vec![o]);
        }
    };
    let mut found = Vec::new();
    for (kind, id) in ids {
        if let Some(fd) = list::open(kernel, kind, id).map_err(Error::kernel(""))? {
            found.push(read(kernel, kind, fd, &holders)?);
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let advice = "stylet list shows what there is".to_owned();
    match wanted {
        Selector::Id(kind, id) => none(*kind, &id.to_string(), advice),
        Selector::Tag(tag) => none(Kind::Prog, tag, advice),
        Selector::Name(kind, name) => none(*kind, name, advice),
        Selector::Pinned(path) => none(Kind::Prog, &path.display().to_string(), advice),
    }
}

/// The kernel keeps 15 bytes of a name, and some programs' whole names are known.
fn same_name(have: &str, wanted: &str) -> bool {
    have == wanted || (have.len() == 15 && wanted.starts_with(have))
}

fn kind_named(name: &str, path: &Path) -> Result<Kind, Error> {
    let kinds = [Kind::Prog, Kind::Map, Kind::Link];
    kinds.into_iter().find(|k| k.name() == name).ok_or_else(|| Error::NoSuchKernelObject {
        kind: "object",
        wanted: path.display().to_string(),
        advice: format!("what is pinned there is neither program, map nor link but '{name}'"),
    })
}

fn read(
    kernel: &Kernel,
    kind: Kind,
    fd: OwnedFd,
    holders: &Holders,
) -> Result<KernelObject, Error> {
    let fail = |errno: Errno| Error::System {
        what: "BPF_OBJ_GET_INFO_BY_FD",
        source: std::io::Error::from_raw_os_error(errno.0),
    };
    Ok(match kind {
        Kind::Prog => {
            let prog = list::prog(kernel, fd.as_fd()).map_err(fail)?;
            KernelObject::Prog(Box::new(HeldProg::new(prog, holders)), fd)
        }
        Kind::Map => {
            let map = list::map(fd.as_fd()).map_err(fail)?;
            KernelObject::Map(Box::new(HeldMap::new(map, holders)), fd)
        }
        Kind::Link => {
            let link = LinkInfo::of_link(fd.as_fd()).map_err(Error::kernel(""))?;
            KernelObject::Link(Box::new(HeldLink::new(link, holders)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        assert_eq!(Selector::parse("prog:12"), Some(Selector::Id(Kind::Prog, 12)));
        assert_eq!(Selector::parse("map:by_pid"), Some(Selector::Name(Kind::Map, "by_pid".into())));
        assert_eq!(Selector::parse("prog:tag:5A4b"), Some(Selector::Tag("5a4b".into())));
        assert_eq!(Selector::parse("link:/x/y"), Some(Selector::Pinned("/x/y".into())));
        for file in ["a.bpf.o", "dir/prog:1", "prog:", "/dev/null", ""] {
            assert_eq!(Selector::parse(file), None, "{file}");
        }
    }
}
