//! `attach OBJECT PID`: loads an object and attaches its uprobes to a process with libbpf; prints the milliseconds from the
//! file to the last probe. The counterpart of `cargo xtask bench attach`.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Instant;

use libbpf_sys as sys;

fn main() {
    match run() {
        Ok(ms) => println!("{ms}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

fn run() -> Result<f64, String> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(pid)) = (args.next(), args.next()) else {
        return Err("usage: attach OBJECT PID".into());
    };
    let pid: i32 = pid.parse().map_err(|_| format!("not a process: {pid}"))?;
    let path = CString::new(path).map_err(|e| e.to_string())?;
    let began = Instant::now();
    // SAFETY: the path is a C string; a null result is refused.
    let object = unsafe { sys::bpf_object__open(path.as_ptr()) };
    if object.is_null() {
        return Err("bpf_object__open".into());
    }
    // SAFETY: the object was just opened.
    let loaded = unsafe { sys::bpf_object__load(object) };
    if loaded != 0 {
        return Err(format!("bpf_object__load: {loaded}"));
    }
    let mut links = Vec::new();
    let mut prog = ptr::null_mut();
    loop {
        // SAFETY: the object lives, and `prog` is null or one of its programs.
        prog = unsafe { sys::bpf_object__next_program(object, prog) };
        if prog.is_null() {
            break;
        }
        // SAFETY: the program lives as long as the object; its section's name is a C string.
        let section = unsafe { CStr::from_ptr(sys::bpf_program__section_name(prog)) };
        links.push(attach(prog, &section.to_string_lossy(), pid)?);
    }
    let spent = began.elapsed().as_secs_f64() * 1e3;
    for link in links {
        // SAFETY: each link was made above and is destroyed once.
        unsafe { sys::bpf_link__destroy(link) };
    }
    // SAFETY: nothing of the object is used any more.
    unsafe { sys::bpf_object__close(object) };
    Ok(spent)
}

/// Attaches `uprobe/FILE:FUNCTION` or `uretprobe/FILE:FUNCTION` to one process.
fn attach(
    prog: *mut sys::bpf_program,
    section: &str,
    pid: i32,
) -> Result<*mut sys::bpf_link, String> {
    let bad = || format!("SEC(\"{section}\") is not for this");
    let (kind, place) = section.split_once('/').ok_or_else(bad)?;
    let (file, func) = place.rsplit_once(':').ok_or_else(bad)?;
    let file = CString::new(file).map_err(|e| e.to_string())?;
    let func = CString::new(func).map_err(|e| e.to_string())?;
    let options = sys::bpf_uprobe_opts {
        sz: size_of::<sys::bpf_uprobe_opts>() as sys::size_t,
        retprobe: kind == "uretprobe",
        func_name: func.as_ptr().cast::<c_char>(),
        ..Default::default()
    };
    // SAFETY: the program is loaded; file and function are C strings that live for the call.
    let link =
        unsafe { sys::bpf_program__attach_uprobe_opts(prog, pid, file.as_ptr(), 0, &options) };
    if link.is_null() { Err(format!("attaching {section} failed")) } else { Ok(link) }
}
