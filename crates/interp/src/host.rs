use crate::{Error, Vm};
use std::rc::Rc;
use stylet_verifier::VerifiedProg;

/// What is around a program: maps, helpers, kfuncs, programs to tail-call. All have a default that refuses.
pub trait Host {
    /// Carries out helper `id` and gives R0. Memory is `vm.memory`; [`Vm::call_back`] calls a function of the program.
    fn helper(&mut self, id: u32, args: [u64; 5], vm: &mut Vm) -> Result<u64, Error> {
        let _ = (args, vm);
        Err(Error::NoHelper { id })
    }

    /// Carries out the kfunc with this BTF id and gives R0.
    fn kfunc(&mut self, btf_id: u32, args: [u64; 5], vm: &mut Vm) -> Result<u64, Error> {
        let _ = (args, vm);
        Err(Error::NoKfunc { btf_id })
    }

    /// What a pointer to the map with this index is.
    fn map(&mut self, index: u32, vm: &mut Vm) -> Result<u64, Error> {
        let _ = vm;
        Err(Error::NoMap { index })
    }

    /// Address of the value of the array map with one entry that has this index.
    fn map_value(&mut self, index: u32, vm: &mut Vm) -> Result<u64, Error> {
        let _ = vm;
        Err(Error::NoMap { index })
    }

    /// The program at `index` of the prog array `map` (what [`Host::map`] gave), if there is one.
    fn tail_call(&mut self, map: u64, index: u32) -> Option<Rc<VerifiedProg>> {
        let _ = (map, index);
        None
    }
}

/// A host with nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {}
