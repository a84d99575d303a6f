//! Objects of `filetests/kernel` in the kernel.

use stylet_kernel::{Kernel, LoadOptions, Loaded, load};
use stylet_object::{Options, Spec};

use crate::guest::Guest;
use crate::test::Failure;

/// An object that is about to be loaded.
pub struct Object {
    spec: Spec,
}

impl Object {
    /// `filetests/kernel/NAME.bpf.o`
    pub fn open(guest: &Guest, name: &str) -> Result<Object, Failure> {
        let bytes = guest.object(name)?;
        let spec = Spec::parse_with(&bytes, &Options { name, ..Options::default() })?;
        Ok(Object { spec })
    }

    /// Gives a variable its initial value.
    pub fn set(mut self, name: &str, value: u64) -> Object {
        assert!(self.spec.set_global(name, &value.to_ne_bytes()), "no variable {name}");
        self
    }

    /// Loads the programs of these names.
    pub fn load(mut self, kernel: &Kernel, progs: &[&str]) -> Result<Loaded, Failure> {
        for name in progs {
            assert!(self.spec.prog(name).is_some(), "no program {name}");
        }
        for prog in &mut self.spec.progs {
            prog.autoload = progs.contains(&prog.name.as_str());
        }
        Ok(load(kernel, &self.spec, &LoadOptions::default())?)
    }
}

/// The value of a global variable, zero-extended.
pub fn global(loaded: &Loaded, name: &str) -> Result<u64, Failure> {
    let value = loaded.read_global(name)?;
    let mut word = [0; 8];
    word[..value.len()].copy_from_slice(&value);
    Ok(u64::from_ne_bytes(word))
}

/// Makes one harmless system call, `getppid`, which the programs here wait for.
pub fn system_call() {
    // SAFETY: takes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
}
