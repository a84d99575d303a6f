//! The interpreter's side.

use super::*;
use stylet_interp::{Error, Host, Interp, Limits, Vm};

struct TestHost {
    targets: Vec<Rc<VerifiedProg>>,
    array: Option<u64>,
    progs: Option<u64>,
}

impl TestHost {
    fn array(&mut self, vm: &mut Vm) -> u64 {
        *self.array.get_or_insert_with(|| {
            vm.memory.map(vec![0; (ARRAY_ENTRIES * ARRAY_ELEM) as usize], true)
        })
    }
}

impl Host for TestHost {
    fn helper(&mut self, id: u32, args: [u64; 5], vm: &mut Vm) -> Result<u64, Error> {
        match id {
            HELPER_MIX => Ok(mix(args)),
            HELPER_COOKIE => Ok(COOKIE),
            HELPER_SLOT => Ok(u64::from(SLOT)),
            HELPER_LOOKUP => {
                let index = vm.memory.load(args[1], 4)?;
                let value = self.array(vm) + index * u64::from(ARRAY_ELEM);
                Ok(if index < u64::from(ARRAY_ENTRIES) { value } else { 0 })
            }
            HELPER_LOOP => {
                let mut calls = 0;
                while calls < args[0] {
                    calls += 1;
                    if vm.call_back(self, args[1], [calls - 1, args[2], 0, 0, 0])? != 0 {
                        break;
                    }
                }
                Ok(calls)
            }
            _ => Err(Error::NoHelper { id }),
        }
    }

    fn kfunc(&mut self, btf_id: u32, args: [u64; 5], _vm: &mut Vm) -> Result<u64, Error> {
        if btf_id == KFUNC_MIX { Ok(mix(args)) } else { Err(Error::NoKfunc { btf_id }) }
    }

    fn map(&mut self, index: u32, vm: &mut Vm) -> Result<u64, Error> {
        match index {
            0 => Ok(self.array(vm)),
            _ => Ok(*self.progs.get_or_insert_with(|| vm.memory.map(Vec::new(), false))),
        }
    }

    fn map_value(&mut self, _index: u32, vm: &mut Vm) -> Result<u64, Error> {
        Ok(self.array(vm))
    }

    fn tail_call(&mut self, _map: u64, index: u32) -> Option<Rc<VerifiedProg>> {
        self.targets.get(index as usize).cloned()
    }
}

pub fn run(case: &Case) -> Result<Outcome, String> {
    let mut host = TestHost { targets: case.targets.clone(), array: None, progs: None };
    let mut ctx = case.ctx.clone();
    let limits = Limits { insns: case.limit, ..Limits::default() };
    let (r0, vm) = Interp::run_keeping_memory(&case.main, &mut ctx, &mut host, limits);
    let r0 = r0.map_err(|e| e.to_string())?;
    let len = u64::from(ARRAY_ENTRIES * ARRAY_ELEM);
    let array = match host.array {
        Some(addr) => vm.memory.bytes(addr, len).map_err(|e| e.to_string())?.to_vec(),
        None => vec![0; len as usize],
    };
    Ok(Outcome { r0, ctx, array })
}
