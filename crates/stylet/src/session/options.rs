//! Choices for loading and attaching, and what attaching did.

use super::TargetId;
use crate::Error;
use std::path::PathBuf;
use stylet_kernel::attach::Method;

/// Choices for loading an object.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Allow programs that change what they trace.
    pub allow_write: bool,
    /// Verbosity of the verifier's log in a rejection, 0 to 2: of the user backend's, as the kernel's is always whole.
    pub log_level: u32,
    /// A file with the types that CO-RE takes for the kernel's (raw BTF, or an ELF file with it): kernel backend only.
    pub btf: Option<PathBuf>,
}

/// Choices for attaching.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Where programs go, instead of where their sections say.
    pub overrides: Vec<Override>,
    /// What `bpf_get_attach_cookie` returns.
    pub cookies: Vec<ForProg<u64>>,
    /// How single probes are attached: kernel backend only.
    pub methods: Vec<ForProg<Method>>,
}

/// A choice for one program, or for all that have none of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForProg<T> {
    /// The program; `None` for every other.
    pub prog: Option<String>,
    /// What is chosen for it.
    pub value: T,
}

impl<T> ForProg<T> {
    /// The choice for `prog` among `choices`: the last one that names it, else the last one for all.
    pub fn find<'a>(choices: &'a [ForProg<T>], prog: &str) -> Option<&'a T> {
        let last = |wanted: Option<&str>| {
            choices.iter().rev().find(|c| c.prog.as_deref() == wanted).map(|c| &c.value)
        };
        last(Some(prog)).or_else(|| last(None))
    }
}

/// Where a program is to be attached, instead of where its section says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The program; `None` for every program whose section names no target.
    pub prog: Option<String>,
    /// What its section would say after the first slash: `PATH:FUNC[+OFFSET]` of `SEC("uprobe/...")`.
    pub to: String,
}

/// An attached program.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The process; `None` when the program runs for all.
    pub target: Option<TargetId>,
    /// Number of the object.
    pub object: usize,
    /// Name of the program.
    pub prog: String,
    /// Number of sites.
    pub sites: usize,
}

/// What a session's `attach_all` did.
#[derive(Clone, Debug, Default)]
pub struct AttachReport {
    /// One entry a program and process.
    pub attached: Vec<Attached>,
    /// What could not be attached although the same program could elsewhere.
    pub warnings: Vec<String>,
}

impl Override {
    /// Parses `[PROG=]TARGET`.
    ///
    /// # Errors
    /// [`Error::AttachSyntax`].
    pub fn parse(text: &str) -> Result<Override, Error> {
        let (prog, to) = match text.split_once('=') {
            Some((prog, to)) => (Some(prog.to_owned()), to),
            None => (None, text),
        };
        if to.is_empty() || prog.as_ref().is_some_and(String::is_empty) {
            let reason = "expected [PROG=]TARGET";
            return Err(Error::AttachSyntax { text: text.to_owned(), reason });
        }
        Ok(Override { prog, to: to.to_owned() })
    }

    /// Whether it has the form of a place in a file.
    ///
    /// # Errors
    /// [`Error::AttachSyntax`].
    pub(crate) fn check_place(&self) -> Result<(), Error> {
        let reason = "expected [PROG=]PATH:FUNC[+OFFSET]";
        match self.to.rsplit_once(':') {
            Some((path, func)) if !path.is_empty() && !func.is_empty() => Ok(()),
            _ => Err(Error::AttachSyntax { text: self.to.clone(), reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_choice_counts_and_names_go_first() {
        let choice = |prog: Option<&str>, value| ForProg { prog: prog.map(str::to_owned), value };
        let choices = [choice(Some("a"), 1), choice(Some("a"), 2), choice(None, 3)];
        assert_eq!(ForProg::find(&choices, "a"), Some(&2));
        assert_eq!(ForProg::find(&choices, "b"), Some(&3));
        assert_eq!(ForProg::find(&choices[..1], "b"), None);
    }
}
