//! `cargo xtask bench jit [NAME...]`: each `bench/kernels/*.bpf.c` as native code (clang -O2), as our machine code and
//! interpreted.
//!
//! Runs are interleaved, so that the three see the same machine; what counts is the median of the ratios. Needs clang.

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use stylet_interp::{Host, Interp, Limits, Vm};
use stylet_jit::{CpuFeatures, ExecMem, HelperImpl, Options, Sym, compile};
use stylet_object::{ProgSpec, Spec};
use stylet_uapi::ProgType;
use stylet_verifier::VerifiedProg;

/// Interleaved rounds.
const ROUNDS: usize = 101;
/// Processor time that one sample takes, in seconds: short, so that a round sees one state of the machine.
const SAMPLE: f64 = 0.0003;
/// The target: geometric mean of our time by native time.
const GOAL: f64 = 1.4;

type Run = unsafe extern "C" fn(u64, u64, u64, u64, u64, *mut c_void) -> u64;

/// What the kernels call as helper 7.
extern "C" fn helper(a: u64, b: u64) -> u64 {
    a.rotate_left(7) ^ b
}

/// Times of one kernel.
struct Times {
    name: String,
    native_ns: f64,
    /// Median of our time by native time, and its interquartile range.
    jit: (f64, f64),
    /// Median of native time by native time a moment later, and its interquartile range: the noise.
    noise: (f64, f64),
    interp: f64,
    bytes: usize,
    compile_us: f64,
}

/// Runs the benchmark, for the named kernels or all.
pub fn run(root: &Path, names: &[String]) -> Result<(), String> {
    let folder = root.join("bench/kernels");
    let scratch = std::env::temp_dir().join(format!("stylet-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    let result = all(&folder, &scratch, names);
    std::fs::remove_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    report(&result?);
    Ok(())
}

fn all(folder: &Path, scratch: &Path, names: &[String]) -> Result<Vec<Times>, String> {
    let mut times = Vec::new();
    for source in sources(folder)? {
        let name =
            source.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".bpf.c"));
        let name = name.ok_or("no file name")?.to_owned();
        if names.is_empty() || names.contains(&name) {
            times.push(kernel(&name, &source, scratch).map_err(|e| format!("{name}: {e}"))?);
        }
    }
    Ok(times)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.retain(|p| p.to_str().is_some_and(|p| p.ends_with(".bpf.c")));
    paths.sort();
    Ok(paths)
}

fn clang(source: &Path, args: &[&str], out: &Path) -> Result<(), String> {
    let output = Command::new("clang")
        .args(["-O2", "-fno-builtin", "-w"])
        .args(args)
        .arg(source)
        .arg("-o")
        .arg(out)
        .output()
        .map_err(|e| format!("clang: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The two functions of the shared library.
fn native(library: &Path) -> Result<(Run, Run), String> {
    let path = CString::new(library.to_str().unwrap_or_default()).map_err(|e| e.to_string())?;
    // SAFETY: the library is our own and has no constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if handle.is_null() {
        return Err(format!("{} cannot be loaded", library.display()));
    }
    // SAFETY: the handle is valid and stays open.
    let symbol = |name: &std::ffi::CStr| unsafe { libc::dlsym(handle, name.as_ptr()) };
    let (fill, run, entry) = (symbol(c"fill"), symbol(c"run"), symbol(c"bench_helper_entry"));
    if fill.is_null() || run.is_null() || entry.is_null() {
        return Err(format!("{} lacks fill or run", library.display()));
    }
    // SAFETY: kernel.h declares this pointer with the type of `helper`.
    unsafe { entry.cast::<extern "C" fn(u64, u64) -> u64>().write(helper) };
    // SAFETY: both are functions of one pointer argument; further arguments in registers are ignored.
    Ok(unsafe {
        (
            std::mem::transmute::<*mut c_void, Run>(fill),
            std::mem::transmute::<*mut c_void, Run>(run),
        )
    })
}

/// The kernels are trusted: they are this repository's own, and some loop longer than a verifier follows.
fn program(spec: &ProgSpec) -> VerifiedProg {
    VerifiedProg::new_unchecked_for_tests(ProgType::KPROBE, spec.insns.clone())
}

/// Maps as regions, helper 7.
struct BenchHost<'a> {
    spec: &'a Spec,
    values: Vec<Option<u64>>,
    /// What `fill` made of the maps.
    filled: Vec<Option<Vec<u8>>>,
}

impl Host for BenchHost<'_> {
    fn helper(
        &mut self,
        _id: u32,
        args: [u64; 5],
        _vm: &mut Vm,
    ) -> Result<u64, stylet_interp::Error> {
        Ok(helper(args[0], args[1]))
    }

    fn map_value(&mut self, index: u32, vm: &mut Vm) -> Result<u64, stylet_interp::Error> {
        let map =
            self.spec.maps.get(index as usize).ok_or(stylet_interp::Error::NoMap { index })?;
        let filled = self.filled.get(index as usize).cloned().flatten();
        let slot = &mut self.values[index as usize];
        Ok(*slot.get_or_insert_with(|| vm.memory.map(filled.unwrap_or_else(|| initial(map)), true)))
    }
}

fn initial(map: &stylet_object::MapSpec) -> Vec<u8> {
    let mut bytes = map.contents.clone();
    bytes.resize(map.value_size as usize, 0);
    bytes
}

fn kernel(name: &str, source: &Path, scratch: &Path) -> Result<Times, String> {
    let (library, object) =
        (scratch.join(format!("{name}.so")), scratch.join(format!("{name}.bpf.o")));
    clang(source, &["-fPIC", "-shared"], &library)?;
    clang(source, &["-g", "-target", "bpf", "-mcpu=v3", "-c"], &object)?;
    let (native_fill, native_run) = native(&library)?;
    let bytes = std::fs::read(&object).map_err(|e| e.to_string())?;
    let spec = Spec::parse(&bytes).map_err(|e| e.to_string())?;
    let prog = |n: &str| spec.prog(n).map(program).ok_or(format!("no program {n}"));
    let (fill, run) = (prog("fill")?, prog("run")?);

    let opts = Options { helper: &|_, _| HelperImpl::Call, cpu: CpuFeatures::detect() };
    let start = Instant::now();
    let code = compile(&run, &opts).map_err(|e| e.to_string())?;
    let compile_us = start.elapsed().as_secs_f64() * 1e6;
    let fill_code = compile(&fill, &opts).map_err(|e| e.to_string())?;
    if let Some(folder) = std::env::var_os("STYLET_BENCH_DUMP") {
        let path = Path::new(&folder).join(format!("{name}.bin"));
        std::fs::write(&path, &code.text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let place =
        |index: u32| spec.maps.iter().take(index as usize).map(|m| size(m) as u64).sum::<u64>();
    let address = |sym: Sym, data: u64| match sym {
        Sym::MapValue(index) => Some(data + place(index)),
        Sym::Helper(_) => Some(helper as *const () as u64),
        _ => None,
    };
    let data = place(u32::MAX) as usize;
    let mem = ExecMem::new(&[&fill_code, &code], data, &address).map_err(|e| e.to_string())?;
    for (i, map) in spec.maps.iter().enumerate() {
        let (bytes, to) = (initial(map), mem.data().wrapping_add(place(i as u32) as usize));
        // SAFETY: every map's value has its place in the data.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
    // SAFETY: the two programs only use their own data.
    let jit = |i: usize| unsafe { mem.run(i, [0; 5], std::ptr::null_mut()) };
    // SAFETY: as above.
    let call = |f: Run| unsafe { f(0, 0, 0, 0, 0, std::ptr::null_mut()) };
    call(native_fill);
    jit(0);
    let (expected, got) = (call(native_run), jit(1));
    if expected != got {
        return Err(format!("native {expected:#x}, ours {got:#x}"));
    }
    let interp = || interp_seconds(&spec, &fill, &run);
    Ok(measure(name, &|| call(native_run), &|| jit(1), &interp, code.text.len(), compile_us))
}

/// Bytes that a map's value takes in the data.
fn size(map: &stylet_object::MapSpec) -> usize {
    (map.value_size as usize).next_multiple_of(64)
}

/// Seconds of one interpreted run after `fill`.
fn interp_seconds(spec: &Spec, fill: &VerifiedProg, run: &VerifiedProg) -> f64 {
    let mut host = BenchHost { spec, values: vec![None; spec.maps.len()], filled: Vec::new() };
    let (_, vm) = Interp::run_keeping_memory(fill, &mut [0; 8], &mut host, Limits::default());
    let sizes = spec.maps.iter().map(|m| u64::from(m.value_size));
    let contents =
        host.values.iter().zip(sizes).map(|(addr, size)| {
            addr.and_then(|a| vm.memory.bytes(a, size).ok()).map(<[u8]>::to_vec)
        });
    host.filled = contents.collect();
    host.values.fill(None);
    let start = cpu_time();
    let _ = std::hint::black_box(Interp::run(run, &mut [0; 8], &mut host, Limits::default()));
    cpu_time() - start
}

/// Processor time of this thread in seconds: other processes do not count.
fn cpu_time() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid place for the result.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

fn seconds(f: &dyn Fn() -> u64, n: u32) -> f64 {
    let start = cpu_time();
    for _ in 0..n {
        std::hint::black_box(f());
    }
    (cpu_time() - start) / f64::from(n)
}

fn measure(
    name: &str,
    native: &dyn Fn() -> u64,
    jit: &dyn Fn() -> u64,
    interp: &dyn Fn() -> f64,
    bytes: usize,
    compile_us: f64,
) -> Times {
    let n = (SAMPLE / seconds(native, 100)).clamp(1.0, 1e7) as u32;
    let (mut ratios, mut noise, mut interps, mut natives) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let before = seconds(native, n);
        let ours = seconds(jit, n);
        let after = seconds(native, n);
        ratios.push(ours / ((before + after) / 2.0));
        noise.push(after / before);
        if round % 10 == 0 {
            interps.push(interp() / before);
        }
        natives.push(before);
    }
    Times {
        name: name.to_owned(),
        native_ns: quartiles(&mut natives).0 * 1e9,
        jit: quartiles(&mut ratios),
        noise: quartiles(&mut noise),
        interp: quartiles(&mut interps).0,
        bytes,
        compile_us,
    }
}

/// Median and interquartile range.
fn quartiles(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |q: usize| values[(values.len() - 1) * q / 4];
    (at(2), at(3) - at(1))
}

fn report(times: &[Times]) {
    println!(
        "{:<12} {:>10} {:>16} {:>9} {:>16} {:>6} {:>9}",
        "kernel", "native ns", "ours/native", "interp", "noise", "bytes", "compile µs"
    );
    for t in times {
        println!(
            "{:<12} {:>10.1} {:>8.2} ± {:<5.2} {:>9.0} {:>8.2} ± {:<5.2} {:>6} {:>9.1}",
            t.name,
            t.native_ns,
            t.jit.0,
            t.jit.1,
            t.interp,
            t.noise.0,
            t.noise.1,
            t.bytes,
            t.compile_us
        );
    }
    let mean = |f: &dyn Fn(&Times) -> f64| {
        (times.iter().map(|t| f(t).ln()).sum::<f64>() / times.len().max(1) as f64).exp()
    };
    println!(
        "geometric mean: ours {:.2} of native (goal {GOAL}), interpreter {:.0}",
        mean(&|t| t.jit.0),
        mean(&|t| t.interp)
    );
}
