//! Objects, loaded by each kernel: what it does not know is left out or replaced, and the rest works.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use stylet_kernel::read::{TestRun, test_run};
use stylet_kernel::{Error, Feature, LoadOptions, Loaded, Release, load, sys};
use stylet_object::{Options, Spec};
use stylet_uapi::{MapType, ProgType};

use crate::guest::Guest;
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("types_externs_core", types_externs_core),
    Test::new("poison", poison),
    Test::new("maps", maps),
    Test::new("pins", pins),
    Test::new("features", features),
    // Linux 5.11: types of modules.
    Test::new("module_types", module_types).since(5, 11),
    Test::new("module_kfuncs", module_kfuncs).since(5, 18).config("CONFIG_DEBUG_INFO_BTF_MODULES"),
    Test::new("missing_type", missing_type).since(5, 14),
    Test::new("denied", denied),
];

fn spec(guest: &Guest, name: &str) -> Result<Spec, Failure> {
    Ok(Spec::parse_with(&guest.object(name)?, &Options { name, ..Options::default() })?)
}

/// Runs a raw tracepoint program once.
fn run(guest: &Guest, loaded: &Loaded, name: &str) -> Outcome {
    let prog = loaded.prog(name).ok_or_else(|| Failure::new(format!("no program {name}")))?;
    test_run(guest.kernel(), prog, &TestRun::default())?;
    Ok(())
}

/// A 64-bit global variable.
fn global(loaded: &Loaded, name: &str) -> Result<u64, Failure> {
    let btf = loaded.spec.btf.as_ref().ok_or_else(|| Failure::new("no BTF"))?;
    for (spec, map) in loaded.spec.maps.iter().zip(&loaded.maps) {
        let Some(stylet_btf::Type::DataSec(section)) = btf.type_by_id(spec.btf_value_type_id) else {
            continue;
        };
        if let Some(var) = section.vars().find(|var| btf.type_name(var.ty) == name) {
            let value = map.lookup(&0_u32.to_ne_bytes(), 0)?.unwrap_or_default();
            let at = var.offset as usize;
            return Ok(u64::from_ne_bytes(value[at..at + 8].try_into()?));
        }
    }
    Err(Failure::new(format!("no variable {name}")))
}

fn types_externs_core(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = load(kernel, &spec(guest, "load_types")?, &LoadOptions::default())?;
    run(guest, &loaded, "look")?;
    assert_eq!(global(&loaded, "seen")?, 0x3ff);
    assert_eq!(global(&loaded, "version")?, u64::from(kernel.version_code()));
    let hz = guest.config("CONFIG_HZ").ok_or_else(|| Failure::new("no CONFIG_HZ"))?;
    assert_eq!(global(&loaded, "hz")?, hz.parse::<u64>()?);
    assert_ne!(global(&loaded, "address")?, 0);
    let prog = loaded.prog("look").ok_or_else(|| Failure::new("no program"))?;
    let info = sys::prog_info(prog.as_fd())?;
    assert_ne!(info.btf_id, 0);
    // The program, a global function and a static one.
    assert_eq!(info.nr_func_info, 3);
    assert_ne!(info.nr_line_info, 0);
    let rodata = loaded.map(".rodata").ok_or_else(|| Failure::new("no .rodata"))?;
    assert_ne!(sys::map_info(rodata.as_fd())?.btf_id, 0);
    Ok(())
}

/// What CO-RE does not find is said in words of the source.
fn poison(guest: &Guest) -> Outcome {
    let mut spec = spec(guest, "load_types")?;
    for prog in &mut spec.progs {
        prog.autoload = prog.name == "poisoned";
    }
    match load(guest.kernel(), &spec, &LoadOptions::default()) {
        Err(error @ Error::Rejected { .. }) => {
            let text = error.to_string();
            assert!(text.contains("stylet_no_such_field"), "{text}");
            Ok(())
        }
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

fn options(folder: &str) -> LoadOptions<'static> {
    LoadOptions { pin_root: PathBuf::from(folder), ..LoadOptions::default() }
}

fn maps(guest: &Guest) -> Outcome {
    let folder = "/sys/fs/bpf/stylet_load";
    let loaded = load(guest.kernel(), &spec(guest, "load_maps")?, &options(folder));
    std::fs::remove_file(format!("{folder}/stylet_pinned")).ok();
    std::fs::remove_dir(folder)?;
    let loaded = loaded?;
    run(guest, &loaded, "caller")?;
    assert_eq!(global(&loaded, "reached")?, 3, "by a tail call");
    let map = |name: &str| loaded.map(name).ok_or_else(|| Failure::new(format!("no map {name}")));
    let zero = 0_u32.to_ne_bytes();
    assert_eq!(map("inner_b")?.lookup(&zero, 0)?, Some(77_u64.to_ne_bytes().to_vec()));
    assert_eq!(map("inner_a")?.lookup(&zero, 0)?, Some(vec![0; 8]));
    assert_eq!(map("ring")?.max_entries(), 8192);
    assert_eq!(map("events")?.max_entries() as usize, sys::possible_cpus()?);
    let long = sys::map_info(map("a_map_with_a_name_that_is_too_long")?.as_fd())?;
    assert_eq!(&long.name, b"a_map_with_a_na\0");
    assert_ne!(long.btf_key_type_id, 0);
    assert_eq!(sys::map_info(map("queue")?.as_fd())?.btf_id, 0);
    Ok(())
}

/// A pinned map is shared; another one in its place is refused, and a failed load leaves nothing.
fn pins(guest: &Guest) -> Outcome {
    let folder = "/sys/fs/bpf/stylet_pins";
    let pin = format!("{folder}/stylet_pinned");
    let mut spec = spec(guest, "load_maps")?;
    let kernel = guest.kernel();
    let first = load(kernel, &spec, &options(folder))?;
    let second = load(kernel, &spec, &options(folder))?;
    let id = |loaded: &Loaded| {
        let map = loaded.map("stylet_pinned").ok_or_else(|| Failure::new("no map"))?;
        Ok::<u32, Failure>(sys::map_info(map.as_fd())?.id)
    };
    let same = id(&first)? == id(&second)?;
    let at = spec.map_idx("stylet_pinned").unwrap_or_default();
    spec.maps[at].max_entries = 99;
    let other = load(kernel, &spec, &options(folder));
    std::fs::remove_file(&pin)?;
    assert!(same);
    assert!(matches!(other, Err(Error::PinIncompatible { .. })), "{other:?}");
    // The map is pinned, then another one fails: the pin goes again.
    spec.maps[at].max_entries = 16;
    let queue = spec.map_idx("queue").unwrap_or_default();
    spec.maps[queue].map_flags = u32::MAX;
    let failed = load(kernel, &spec, &options(folder));
    let left = Path::new(&pin).exists();
    std::fs::remove_file(&pin).ok();
    std::fs::remove_dir(folder)?;
    assert!(matches!(failed, Err(Error::MapRefused { .. })), "{failed:?}");
    assert!(!left);
    let outside = load(kernel, &spec, &options("/tmp"));
    assert!(matches!(outside, Err(Error::Pin { .. } | Error::MapRefused { .. })), "{outside:?}");
    Ok(())
}

/// What is probed is what the release has; options of Debian's kernels are known.
fn features(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let fprobe = guest.config("CONFIG_FPROBE").is_some();
    let mut wrong = Vec::new();
    for &feature in Feature::ALL {
        let Some(since) = feature.since() else { continue };
        let mut expected = kernel.release() >= since;
        if matches!(feature, Feature::KprobeMulti | Feature::KprobeSession) {
            expected &= fprobe;
        }
        if kernel.has(feature) != expected {
            wrong.push(format!("{feature:?} since {since}: {}", kernel.require(feature).is_ok()));
        }
    }
    for (map_type, _) in MapType::ALL.iter().filter(|(t, _)| *t == MapType::RINGBUF || *t == MapType::TASK_STORAGE) {
        let feature = Feature::MapType(*map_type);
        let expected = feature.since().is_some_and(|since| kernel.release() >= since);
        if kernel.has(feature) != expected {
            wrong.push(format!("{feature:?}"));
        }
    }
    for prog_type in [ProgType::KPROBE, ProgType::TRACING, ProgType::LSM, ProgType::SYSCALL] {
        let feature = Feature::ProgType(prog_type);
        let expected = feature.since().is_some_and(|since| kernel.release() >= since);
        if kernel.has(feature) != expected {
            wrong.push(format!("{feature:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("; "))) }
}

fn module_types(guest: &Guest) -> Outcome {
    guest.insmod("nbd", "nbds_max=1")?;
    let kernel = guest.kernel();
    if kernel.release() < Release::new(5, 11) {
        kernel.require(Feature::ModuleBtf)?;
    }
    let loaded = load(kernel, &spec(guest, "load_nbd")?, &LoadOptions::default())?;
    let info = sys::prog_info(loaded.progs[0].as_fd())?;
    assert_ne!(info.attach_btf_id, 0);
    Ok(())
}

/// Kfuncs of nf_conntrack are called and answer, and CO-RE finds the module's own type.
fn module_kfuncs(guest: &Guest) -> Outcome {
    guest.insmod("nf_conntrack", "")?;
    let kernel = guest.kernel();
    let loaded = load(kernel, &spec(guest, "load_conntrack")?, &LoadOptions::default())?;
    let prog = loaded.prog("lookup").ok_or_else(|| Failure::new("no program"))?;
    // An Ethernet header and the least that follows it.
    let data = [0; 64];
    test_run(kernel, prog, &TestRun { data: &data, ..TestRun::default() })?;
    assert_eq!(global(&loaded, "exists")?, 1);
    // `struct bpf_ct_opts` and `__bpf_nf_ct_lookup` (net/netfilter/nf_conntrack_bpf.c).
    assert_eq!(global(&loaded, "error_at")?, 4);
    assert_eq!(global(&loaded, "unknown")? as i64, i64::from(-libc::ENOENT));
    assert_eq!(global(&loaded, "no_proto")? as i64, i64::from(-libc::EPROTO));
    Ok(())
}

/// A program type that the release does not have is missing, and not refused by the verifier.
fn missing_type(guest: &Guest) -> Outcome {
    load(guest.kernel(), &spec(guest, "syscall")?, &LoadOptions::default())?;
    Ok(())
}

/// Without rights the error says what is needed.
fn denied(guest: &Guest) -> Outcome {
    let spec = spec(guest, "load_maps")?;
    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534))?;
    let kernel = stylet_kernel::Kernel::open()?;
    match load(&kernel, &spec, &LoadOptions::default()) {
        Err(error @ Error::Denied { .. }) => {
            let text = error.to_string();
            assert!(text.contains("needs root"), "{text}");
            Ok(())
        }
        other => Err(Failure::new(format!("{other:?}"))),
    }
}
