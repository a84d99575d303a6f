//! Objects, into this machine's kernel. Without the rights for it, tests say so and pass.

mod common;

use std::os::fd::AsFd;

use common::{kernel, spec};
use stylet_kernel::{Error, LoadOptions, load, sys};
use stylet_object::Spec;

fn filetest(name: &str) -> Spec {
    spec(&format!("filetests/object/{name}.bpf.o"))
}

#[test]
fn maps_have_their_types_and_contents() {
    let Some(kernel) = kernel() else { return };
    let loaded = load(&kernel, &filetest("data"), &LoadOptions::default()).unwrap();
    let rodata = loaded.map(".rodata").unwrap();
    let info = sys::map_info(rodata.as_fd()).unwrap();
    assert_ne!(info.btf_id, 0);
    assert_ne!(info.btf_value_type_id, 0);
    assert_eq!(info.value_size, loaded.spec.map(".rodata").unwrap().value_size);
    // Frozen: nobody changes constants.
    let key = 0_u32.to_ne_bytes();
    let zeros = vec![0; info.value_size as usize];
    let owned = rodata.as_fd().try_clone_to_owned().unwrap();
    let again = sys::MapFd::from_fd(owned).unwrap();
    assert_eq!(again.update(&key, &zeros, 0).unwrap_err().name(), Some("EPERM"));
}

#[test]
fn a_program_has_its_functions_and_lines() {
    let Some(kernel) = kernel() else { return };
    let loaded = load(&kernel, &filetest("subprogs"), &LoadOptions::default()).unwrap();
    assert_eq!(loaded.progs.len(), loaded.spec.progs.len());
    for prog in &loaded.progs {
        let info = sys::prog_info(prog.as_fd()).unwrap();
        let spec = loaded.spec.prog(prog.name()).unwrap();
        assert_eq!(info.nr_func_info as usize, spec.func_info.len(), "{}", prog.name());
        assert_ne!(info.nr_line_info, 0, "{}", prog.name());
    }
}

#[test]
fn a_map_of_another_type_needs_a_kernel_that_has_it() {
    let Some(kernel) = kernel() else { return };
    let mut spec = filetest("legacy_maps");
    spec.maps[0].map_type = stylet_uapi::MapType(9999);
    let error = load(&kernel, &spec, &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    spec.maps[0].map_type = stylet_uapi::MapType::ARRAY;
    spec.maps[0].max_entries = 0;
    let error = load(&kernel, &spec, &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::MapRefused { .. }), "{error}");
}

#[test]
fn every_byte_of_an_object_may_be_wrong() {
    let Some(kernel) = kernel() else { return };
    // Indices that name nothing are refused, not used.
    let mut spec = filetest("legacy_maps");
    for prog in &mut spec.progs {
        for insn in &mut prog.insns {
            if insn.is_lddw() {
                insn.imm = 1 << 20;
            }
        }
    }
    assert!(load(&kernel, &spec, &LoadOptions::default()).is_err());
}
