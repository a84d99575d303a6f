//! What libbpf makes of an object, as plain data.

use std::ffi::{CStr, CString, c_void};
use std::os::raw::c_char;
use std::{ptr, slice};

use libbpf_sys as sys;
use stylet_insn::{Insn, opcode};

/// Value size of stack maps that leave it open: 127 addresses.
pub const STACK_BYTES: u32 = 127 * 8;
/// Entries of maps that leave them open: enough for a ring buffer.
pub const PAGE: u32 = 4096;

/// A map as libbpf would create it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    pub name: String,
    pub map_type: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub numa_node: u32,
    pub map_extra: u64,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub pinned: bool,
    pub inner: Option<Box<Map>>,
    /// Contents of a data section.
    pub contents: Option<Vec<u8>>,
}

/// A program as libbpf would load it; maps are named by index as in `stylet_object`.
#[derive(Clone, Debug)]
pub struct Prog {
    pub name: String,
    pub section: String,
    pub prog_type: u32,
    pub expected_attach_type: u32,
    pub autoload: bool,
    pub insns: Vec<Insn>,
    /// `(insn_idx, type_id)`
    pub func_info: Vec<(u32, u32)>,
    /// `(insn_idx, file_name_off, line_off, line_col)`
    pub line_info: Vec<(u32, u32, u32, u32)>,
}

/// An object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Maps as they are after opening.
    pub maps: Vec<Map>,
    /// Programs as they are after `bpf_object__prepare`; `Err` is its negative errno.
    pub progs: Result<Vec<Prog>, i32>,
    /// `.BTF` as it is after `bpf_object__prepare`.
    pub btf: Option<Vec<u8>>,
    /// Contents of the maps after `bpf_object__prepare`.
    pub contents: Vec<Option<Vec<u8>>>,
}

/// An open object.
pub struct Handle(*mut sys::bpf_object);

impl Handle {
    /// The object, which lives as long as this.
    pub fn as_ptr(&self) -> *mut sys::bpf_object {
        self.0
    }

    /// Its maps.
    pub fn maps(&self) -> Vec<*mut sys::bpf_map> {
        maps(self)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pointer is what libbpf gave and is closed once.
        unsafe { sys::bpf_object__close(self.0) };
    }
}

/// Silences libbpf, or not.
pub fn set_verbose(verbose: bool) {
    if !verbose {
        // SAFETY: no function is called for messages then.
        unsafe { sys::libbpf_set_print(None) };
    }
}

/// Opens and prepares an object; needs root, as maps are created. `Err` is the negative errno of opening.
pub fn open(bytes: &[u8], name: &str, kconfig: &str) -> Result<Object, i32> {
    let object = open_as_is(bytes, name, kconfig)?;
    let handles = maps(&object);
    // SAFETY: the handles are maps of the open object.
    let maps = handles.iter().map(|&map| unsafe { read_map(map) }).collect();
    handles.iter().for_each(|&map| complete(map));
    // SAFETY: the object is open.
    let err = unsafe { sys::bpf_object__prepare(object.0) };
    let progs = if err == 0 { Ok(progs(&object, &handles)) } else { Err(err) };
    // SAFETY: the handles are maps of the open object.
    let contents = handles.iter().map(|&map| unsafe { read_contents(map) }).collect();
    Ok(Object { maps, progs, btf: btf(&object), contents })
}

/// Opens an object whose maps have sizes and no pins.
pub fn open_only(bytes: &[u8], name: &str, kconfig: &str) -> Result<Handle, i32> {
    let object = open_as_is(bytes, name, kconfig)?;
    maps(&object).into_iter().for_each(complete);
    Ok(object)
}

fn open_as_is(bytes: &[u8], name: &str, kconfig: &str) -> Result<Handle, i32> {
    let name = CString::new(name).map_err(|_| -libc::EINVAL)?;
    let kconfig = CString::new(kconfig).map_err(|_| -libc::EINVAL)?;
    // SAFETY: all zeroes is a valid value of the struct.
    let mut opts: sys::bpf_object_open_opts = unsafe { std::mem::zeroed() };
    opts.sz = size_of::<sys::bpf_object_open_opts>() as _;
    opts.object_name = name.as_ptr();
    opts.kconfig = kconfig.as_ptr();
    // SAFETY: bytes and options outlive the call; libbpf copies what it keeps.
    let object =
        unsafe { sys::bpf_object__open_mem(bytes.as_ptr().cast(), bytes.len() as _, &opts) };
    if object.is_null() {
        return Err(-std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
    }
    Ok(Handle(object))
}

fn btf(object: &Handle) -> Option<Vec<u8>> {
    // SAFETY: the object is open; libbpf gives the size of what it points to.
    unsafe {
        let btf = sys::bpf_object__btf(object.0);
        let mut size = 0;
        let data = if btf.is_null() { ptr::null() } else { sys::btf__raw_data(btf, &mut size) };
        (!data.is_null()).then(|| array(data.cast::<u8>(), size as usize).to_vec())
    }
}

/// Gives a map the sizes that programs of this kind leave to their loader, so that it can be created, and takes its pin:
/// nothing is to appear in the machine's bpf file system.
fn complete(map: *mut sys::bpf_map) {
    // SAFETY: the handle is a map of the open object, which has not been prepared.
    unsafe {
        sys::bpf_map__set_pin_path(map, ptr::null());
        let map_type = sys::bpf_map__type(map);
        if map_type == sys::BPF_MAP_TYPE_STACK_TRACE && sys::bpf_map__value_size(map) == 0 {
            sys::bpf_map__set_value_size(map, STACK_BYTES);
        }
        let unsized_types = [sys::BPF_MAP_TYPE_TASK_STORAGE, sys::BPF_MAP_TYPE_PERF_EVENT_ARRAY];
        if sys::bpf_map__max_entries(map) == 0 && !unsized_types.contains(&map_type) {
            sys::bpf_map__set_max_entries(map, PAGE);
        }
    }
}

fn maps(object: &Handle) -> Vec<*mut sys::bpf_map> {
    let mut maps = Vec::new();
    // SAFETY: the object is open, and each map is one of its own.
    let mut map = unsafe { sys::bpf_object__next_map(object.0, ptr::null()) };
    while !map.is_null() {
        maps.push(map);
        // SAFETY: as above.
        map = unsafe { sys::bpf_object__next_map(object.0, map) };
    }
    maps
}

/// # Safety
/// `text` is null or a C string.
unsafe fn string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `map` is a map of an open object.
unsafe fn read_map(map: *mut sys::bpf_map) -> Map {
    // SAFETY: by the caller's promise; an inner map belongs to its outer one.
    unsafe {
        let inner = sys::bpf_map__inner_map(map);
        let inner = if inner.is_null() { None } else { Some(Box::new(read_map(inner))) };
        Map {
            name: string(sys::bpf_map__name(map)),
            map_type: sys::bpf_map__type(map),
            key_size: sys::bpf_map__key_size(map),
            value_size: sys::bpf_map__value_size(map),
            max_entries: sys::bpf_map__max_entries(map),
            map_flags: sys::bpf_map__map_flags(map),
            numa_node: sys::bpf_map__numa_node(map),
            map_extra: sys::bpf_map__map_extra(map),
            btf_key_type_id: sys::bpf_map__btf_key_type_id(map),
            btf_value_type_id: sys::bpf_map__btf_value_type_id(map),
            pinned: !sys::bpf_map__pin_path(map).is_null(),
            inner,
            contents: read_contents(map),
        }
    }
}

/// # Safety
/// `map` is a map of an open object.
unsafe fn read_contents(map: *mut sys::bpf_map) -> Option<Vec<u8>> {
    // SAFETY: by the caller's promise; libbpf gives the size of what it points to.
    unsafe {
        let mut size = 0;
        let data: *mut c_void = sys::bpf_map__initial_value(map, &mut size);
        (!data.is_null()).then(|| slice::from_raw_parts(data.cast::<u8>(), size as usize).to_vec())
    }
}

fn progs(object: &Handle, maps: &[*mut sys::bpf_map]) -> Vec<Prog> {
    // SAFETY: the handles are maps of the open object.
    let fds: Vec<i32> = maps.iter().map(|&map| unsafe { sys::bpf_map__fd(map) }).collect();
    let mut progs = Vec::new();
    // SAFETY: the object is open, and each program is one of its own.
    unsafe {
        let mut prog = sys::bpf_object__next_program(object.0, ptr::null_mut());
        while !prog.is_null() {
            progs.push(read_prog(prog, &fds));
            prog = sys::bpf_object__next_program(object.0, prog);
        }
    }
    progs
}

/// # Safety
/// `prog` is a program of an open and prepared object.
unsafe fn read_prog(prog: *mut sys::bpf_program, fds: &[i32]) -> Prog {
    // SAFETY: by the caller's promise; libbpf gives the lengths of its arrays.
    unsafe {
        let insns = array(
            sys::bpf_program__insns(prog).cast::<[u8; 8]>(),
            sys::bpf_program__insn_cnt(prog) as usize,
        );
        let funcs = array(
            sys::bpf_program__func_info(prog),
            sys::bpf_program__func_info_cnt(prog) as usize,
        );
        let lines = array(
            sys::bpf_program__line_info(prog),
            sys::bpf_program__line_info_cnt(prog) as usize,
        );
        let mut insns: Vec<Insn> = insns.iter().map(|slot| Insn::from_bytes(*slot)).collect();
        name_maps(&mut insns, fds);
        Prog {
            name: string(sys::bpf_program__name(prog)),
            section: string(sys::bpf_program__section_name(prog)),
            prog_type: sys::bpf_program__type(prog),
            expected_attach_type: sys::bpf_program__expected_attach_type(prog),
            autoload: sys::bpf_program__autoload(prog),
            insns,
            func_info: funcs.iter().map(|f| (f.insn_off, f.type_id)).collect(),
            line_info: lines
                .iter()
                .map(|l| (l.insn_off, l.file_name_off, l.line_off, l.line_col))
                .collect(),
        }
    }
}

/// # Safety
/// `data` is null or points to `len` values that outlive `'a`.
unsafe fn array<'a, T>(data: *const T, len: usize) -> &'a [T] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: by the caller's promise.
    unsafe { slice::from_raw_parts(data, len) }
}

/// Turns descriptors of maps into indexes.
fn name_maps(insns: &mut [Insn], fds: &[i32]) {
    let mut idx = 0;
    while idx < insns.len() {
        let insn = &mut insns[idx];
        if insn.is_lddw() {
            let src = match insn.src {
                opcode::PSEUDO_MAP_FD => opcode::PSEUDO_MAP_IDX,
                opcode::PSEUDO_MAP_VALUE => opcode::PSEUDO_MAP_IDX_VALUE,
                src => src,
            };
            if src != insn.src {
                insn.src = src;
                insn.imm = fds.iter().position(|&fd| fd == insn.imm).map_or(-1, |map| map as i32);
            }
            idx += 1;
        }
        idx += 1;
    }
}
