//! Uprobes on this very process, by each method. Skipped without root, or where the kernel does not let us.

use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stylet_kernel::attach::{
    Method, Places, THIS_PROCESS, UprobeMultiOpts, UprobeOpts, uprobe, uprobe_multi,
};
use stylet_kernel::{Error, Feature, Kernel, LoadOptions, Loaded, load};
use stylet_object::Spec;

/// What is probed.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stylet_probed(a: u64, b: u64) -> u64 {
    black_box(a) + black_box(b)
}

/// One test at a time: a uprobe of this process also counts what another test's thread calls.
fn alone() -> MutexGuard<'static, ()> {
    static PROBED: Mutex<()> = Mutex::new(());
    PROBED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exe() -> String {
    std::env::current_exe().unwrap().to_string_lossy().into_owned()
}

/// Loads an object of `filetests/kernel`; `None` where bpf(2) is denied.
fn object(kernel: &Kernel, name: &str) -> Option<Loaded> {
    let path = format!("{}/../../filetests/kernel/{name}.bpf.o", env!("CARGO_MANIFEST_DIR"));
    let spec = Spec::parse(&std::fs::read(path).unwrap()).unwrap();
    match load(kernel, &spec, &LoadOptions::default()) {
        Ok(loaded) => Some(loaded),
        Err(error @ (Error::Denied { .. } | Error::Missing { .. })) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The words of `.bss`: see filetests/kernel/probe.h.
fn words(loaded: &Loaded) -> Vec<u64> {
    let value = loaded.map(".bss").unwrap().lookup(&[0; 4], 0).unwrap().unwrap();
    value.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect()
}

fn forget(loaded: &Loaded) {
    let map = loaded.map(".bss").unwrap();
    map.update(&[0; 4], &vec![0; map.value_size() as usize], 0).unwrap();
}

#[test]
fn entry_and_return() {
    let _alone = alone();
    let kernel = Kernel::open().unwrap();
    let Some(loaded) = object(&kernel, "probe") else { return };
    for method in [Method::Auto, Method::PerfLink, Method::PerfIoctl, Method::Tracefs] {
        for (name, ret) in [("entry", false), ("ret", true)] {
            let opts = UprobeOpts {
                ret,
                method,
                pid: THIS_PROCESS,
                ..UprobeOpts::function(exe(), "stylet_probed")
            };
            let link = match uprobe(&kernel, loaded.prog(name).unwrap(), &opts) {
                Ok(link) => link,
                Err(
                    error @ (Error::Denied { .. } | Error::Missing { .. } | Error::Tracefs { .. }),
                ) => {
                    println!("skipped {method:?}: {error}");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            forget(&loaded);
            assert_eq!((0..3).map(|i| stylet_probed(40, i)).sum::<u64>(), 123);
            let seen = words(&loaded);
            let (entry, returned) = (&seen[2..16], &seen[16..]);
            if ret {
                assert_eq!((entry[0], returned[0], returned[4]), (0, 3, 42), "{method:?}");
            } else {
                assert_eq!(
                    (entry[0], entry[1], entry[2], returned[0]),
                    (3, 40, 2, 0),
                    "{method:?}"
                );
            }
            link.detach().unwrap();
            stylet_probed(1, 1);
            assert_eq!(words(&loaded), seen, "after detach, {method:?}");
        }
    }
}

#[test]
fn many_by_one_link() {
    let _alone = alone();
    let kernel = Kernel::open().unwrap();
    if !kernel.has(Feature::UprobeMulti) {
        println!("skipped: no uprobe.multi, or no rights");
        return;
    }
    let Some(loaded) = object(&kernel, "umulti") else { return };
    let opts = UprobeMultiOpts {
        pid: THIS_PROCESS,
        cookies: vec![5],
        ..UprobeMultiOpts::new(exe(), Places::Functions(vec!["stylet_probed".into()]))
    };
    let link = uprobe_multi(&kernel, loaded.prog("entry").unwrap(), &opts).unwrap();
    stylet_probed(7, 8);
    let seen = words(&loaded);
    assert_eq!((seen[2], seen[3], seen[4], seen[7]), (1, 7, 8, 5));
    drop(link);
    let wrong = UprobeMultiOpts { cookies: vec![5, 6], ..opts };
    assert!(uprobe_multi(&kernel, loaded.prog("entry").unwrap(), &wrong).is_err());
}
