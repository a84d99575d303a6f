//! Programs that are not attached but run, and iterators: they run while they are read.

use super::Session;
use super::session::Loaded;
use crate::session::ForProg;
use crate::{Error, Object, OnceOutput};
use rustix::io::Errno;
use stylet_btf::{Type, TypeId};
use stylet_kernel::read::{TestRun, test_run};
use stylet_kernel::{Error as KernelError, Prog};
use stylet_object::{AttachTarget, ProgSpec};
use stylet_uapi::ProgType;

impl Session {
    /// Runs every loaded program of type SYSCALL once, in the order of their objects (`BPF_PROG_TEST_RUN`), with the context
    /// that `contexts` has for it. Without one, with zeros: as many as the type has that the program's argument points to,
    /// none where that is `void`.
    ///
    /// # Errors
    /// [`Error::Context`] for a context that is shorter than what the program reads, or longer than the kernel takes;
    /// [`Error::Kernel`].
    pub fn run_once(&self, contexts: &[ForProg<Vec<u8>>]) -> Result<Vec<OnceOutput>, Error> {
        let mut all = Vec::new();
        for (object, loaded) in self.objects.iter().enumerate() {
            for (prog, spec) in loaded.progs().filter(|(_, spec)| is_run(spec)) {
                let given = ForProg::find(contexts, &spec.name).map(Vec::as_slice);
                all.push(self.run_one((object, loaded), (prog, spec), given)?);
            }
        }
        Ok(all)
    }

    fn run_one(
        &self,
        (number, loaded): (usize, &Loaded),
        (prog, spec): (&Prog, &ProgSpec),
        given: Option<&[u8]>,
    ) -> Result<OnceOutput, Error> {
        let context = context_type(loaded.object(), spec);
        let zeros = vec![0; context.map_or(0, |(_, size)| size)];
        let ctx = given.unwrap_or(&zeros);
        let run = TestRun { ctx, ..TestRun::default() };
        let output = test_run(&self.kernel, prog, &run).map_err(|error| match error {
            // The one thing that can be wrong with such a call (`bpf_prog_test_run_syscall`, net/bpf/test_run.c).
            KernelError::Sys { errno, .. } if errno.0 == Errno::INVAL.raw_os_error() => {
                Error::Context { prog: spec.name.clone(), len: ctx.len() }
            }
            source => {
                let context = format!("{}: ", loaded.object().path().display());
                Error::Kernel { context, source: Box::new(source) }
            }
        })?;
        // What it points to need not be what was given.
        let ctx_type = context.filter(|(_, size)| *size == output.ctx.len()).map(|(ty, _)| ty);
        Ok(OnceOutput {
            object: number,
            prog: spec.name.clone(),
            retval: output.retval,
            ctx: output.ctx,
            ctx_type,
        })
    }

    /// Reads each attached iterator once, from its first thing to its last; gives the programs' names and what they wrote.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn read_iters(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut all = Vec::new();
        for attached in self.attached.iter().filter(|attached| attached.iterates) {
            all.push((attached.prog.clone(), attached.link.read_iter()?));
        }
        Ok(all)
    }
}

/// Whether a program is run by itself instead of being attached.
pub(super) fn is_run(spec: &ProgSpec) -> bool {
    spec.sec.prog_type == ProgType::SYSCALL
}

/// Whether a program runs while a file is read.
pub(super) fn iterates(spec: &ProgSpec) -> bool {
    matches!(spec.sec.target, AttachTarget::Iter { .. })
}

/// The struct or union that a program's first parameter points to, with its bytes.
fn context_type(object: &Object, spec: &ProgSpec) -> Option<(TypeId, usize)> {
    let btf = object.spec().btf.as_ref()?;
    let func = spec.func_info.iter().find(|func| func.insn_idx == 0)?;
    let Some(Type::Func(func)) = btf.type_by_id(func.type_id) else { return None };
    let Some(Type::FuncProto(proto)) = btf.type_by_id(func.ty) else { return None };
    let param = proto.params().next()?;
    let Some(Type::Ptr(pointer)) = btf.type_by_id(btf.skip_mods_and_typedefs(param.ty)) else {
        return None;
    };
    let ty = btf.skip_mods_and_typedefs(pointer.ty);
    match btf.type_by_id(ty)? {
        Type::Struct(found) | Type::Union(found) => Some((ty, found.size as usize)),
        _ => None,
    }
}
