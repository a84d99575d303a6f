//! The image runs, mapped as a traced process maps it.

use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::os::fd::AsFd;
use stylet_agent_image::{IMAGE, SYMBOLS, XMM_USED, symbol};
use stylet_runtime::abi::{RunCtx, TEXT_OFF};
use stylet_runtime::helpers::{Helper, SUPPORTED_HELPERS};
use stylet_runtime::host::{Arena, Options, Part};
use stylet_runtime::map::MapDef;

#[test]
fn symbols_are_complete() {
    assert!(SYMBOLS.is_sorted());
    for id in SUPPORTED_HELPERS {
        let at = symbol(&format!("stylet_helper_{id}"))
            .unwrap_or_else(|| panic!("helper {id} is missing"));
        assert!((at as usize) < IMAGE.len());
    }
    assert!(symbol("stylet_slot_enter").is_some() && symbol("stylet_slot_leave").is_some());
    assert_eq!(symbol("memcpy"), None);
    // Trampolines save these around every call.
    assert!(XMM_USED.count_ones() <= 4, "{XMM_USED:#x}");
}

#[test]
fn runs_where_it_is_mapped() {
    let a = Arena::new(&Options { nslots: 4, ..Options::default() }).unwrap();
    let at = a.alloc(Part::Text, IMAGE.len() as u64, 4096).unwrap();
    assert_eq!(at, TEXT_OFF, "the image is the first thing in an arena");
    a.write(at, IMAGE).unwrap();
    let map = a
        .add_map(&MapDef {
            map_type: 1,
            key_size: 16,
            value_size: 40,
            max_entries: 8,
            ..MapDef::default()
        })
        .unwrap();
    let m = a.map(map).unwrap();
    // SAFETY: a new mapping of the file, readable and executable only.
    let code = unsafe {
        let prot = ProtFlags::READ | ProtFlags::EXEC;
        mmap(std::ptr::null_mut(), IMAGE.len(), prot, MapFlags::SHARED, a.fd().as_fd(), at)
            .unwrap()
            .cast::<u8>()
    };
    let entry = |name: &str| code.wrapping_add(symbol(name).unwrap() as usize);
    let mut rc = a.run_ctx();
    // SAFETY: entries of the image with their signatures; arguments as the verifier would admit them.
    unsafe {
        let enter: unsafe extern "C" fn(*mut RunCtx) -> i32 =
            std::mem::transmute(entry("stylet_slot_enter"));
        let leave: unsafe extern "C" fn(*mut RunCtx) =
            std::mem::transmute(entry("stylet_slot_leave"));
        let helper =
            |id: u32| -> Helper { std::mem::transmute(entry(&format!("stylet_helper_{id}"))) };
        let (key, value) = ([3u8; 16], [7u8; 40]);
        let ptr = a.base() as u64 + m.offset();
        assert!(enter(&mut rc) >= 0);
        assert_eq!(helper(2)(ptr, key.as_ptr() as u64, value.as_ptr() as u64, 0, 0, &mut rc), 0);
        let found = helper(1)(ptr, key.as_ptr() as u64, 0, 0, 0, &mut rc);
        assert_eq!(*(found as *const [u8; 40]), value);
        let mut copy = [0u8; 40];
        assert_eq!(helper(4)(copy.as_mut_ptr() as u64, 40, found, 0, 0, &mut rc), 0);
        assert_eq!(copy, value);
        assert_eq!(helper(4)(copy.as_mut_ptr() as u64, 40, 1, 0, 0, &mut rc) as i64, -14);
        assert_eq!(copy, [0; 40]);
        let mut text = [0u8; 32];
        let n = helper(165)(
            text.as_mut_ptr() as u64,
            32,
            c"%d-%s".as_ptr() as u64,
            [5u64, c"abc".as_ptr() as u64].as_ptr() as u64,
            16,
            &mut rc,
        );
        assert_eq!((n, &text[..6]), (6, b"5-abc\0".as_slice()));
        leave(&mut rc);
    }
    assert_eq!(m.lookup(&[3; 16]), Ok(vec![7; 40]));
}
