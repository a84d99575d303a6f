//! What the kernel says about a program at length: instructions, machine code, functions, source lines, maps.

use std::os::fd::BorrowedFd;

use super::Errno;
use super::info::{self, ProgInfo};

/// The most records of one kind that are asked for: more than any program has (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_RECORDS: usize = 1 << 20;
/// The most bytes of machine code or instructions that are asked for.
const MAX_BYTES: usize = 1 << 28;

/// `struct bpf_func_info`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FuncRecord {
    /// First slot.
    pub insn_off: u32,
    /// `BTF_KIND_FUNC` in the program's BTF.
    pub type_id: u32,
}

/// `struct bpf_line_info`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineRecord {
    /// First slot.
    pub insn_off: u32,
    /// File name, a string of the program's BTF.
    pub file_name_off: u32,
    /// Text, a string of the program's BTF.
    pub line_off: u32,
    /// Line number times 1024, and column.
    pub line_col: u32,
}

/// What is to be asked for besides the numbers and the maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpWish {
    /// Instructions after the verifier.
    pub xlated: bool,
    /// Machine code.
    pub jited: bool,
    /// Functions and source lines.
    pub lines: bool,
}

/// A program at length. A list is empty when it was not asked for, when there is none, and when the kernel does not show
/// it to us (`bpf_dump_raw_ok`: kptr_restrict, missing rights).
#[derive(Clone, Debug, Default)]
pub struct ProgDump {
    /// The numbers.
    pub info: ProgInfo,
    /// Ids of the maps that it uses.
    pub map_ids: Vec<u32>,
    /// Instructions after the verifier.
    pub xlated: Vec<[u8; 8]>,
    /// Machine code of all functions, one after the other.
    pub jited: Vec<u8>,
    /// Address of each function.
    pub ksyms: Vec<u64>,
    /// Bytes of each function's machine code.
    pub func_lens: Vec<u32>,
    /// Functions.
    pub funcs: Vec<FuncRecord>,
    /// Source lines.
    pub lines: Vec<LineRecord>,
    /// Address of the machine code of each source line.
    pub jited_lines: Vec<u64>,
}

/// Asks the kernel for a program at length: once for the counts, once for the records.
pub fn prog_dump(fd: BorrowedFd<'_>, wish: DumpWish) -> Result<ProgDump, Errno> {
    let head = info::prog_info(fd)?;
    let mut dump = ProgDump { map_ids: room(head.nr_map_ids, true), ..ProgDump::default() };
    let bytes = |len: u32, wanted: bool| if wanted { (len as usize).min(MAX_BYTES) } else { 0 };
    dump.xlated = vec![[0; 8]; bytes(head.xlated_prog_len, wish.xlated) / 8];
    dump.jited = vec![0; bytes(head.jited_prog_len, wish.jited)];
    dump.ksyms = room(head.nr_jited_ksyms, wish.jited);
    dump.func_lens = room(head.nr_jited_func_lens, wish.jited);
    // Records of another size than ours would not be understood.
    let funcs = wish.lines && head.func_info_rec_size as usize == size_of::<FuncRecord>();
    let lines = wish.lines && head.line_info_rec_size as usize == size_of::<LineRecord>();
    let addresses = lines && head.jited_line_info_rec_size as usize == size_of::<u64>();
    dump.funcs = room(head.nr_func_info, funcs);
    dump.lines = room(head.nr_line_info, lines);
    dump.jited_lines = room(head.nr_jited_line_info, addresses && wish.jited);
    let mut info = ProgInfo {
        nr_map_ids: count(&dump.map_ids),
        map_ids: address(&mut dump.map_ids),
        xlated_prog_len: 8 * count(&dump.xlated),
        xlated_prog_insns: address(&mut dump.xlated),
        jited_prog_len: count(&dump.jited),
        jited_prog_insns: address(&mut dump.jited),
        nr_jited_ksyms: count(&dump.ksyms),
        jited_ksyms: address(&mut dump.ksyms),
        nr_jited_func_lens: count(&dump.func_lens),
        jited_func_lens: address(&mut dump.func_lens),
        nr_func_info: count(&dump.funcs),
        func_info: address(&mut dump.funcs),
        func_info_rec_size: if funcs { size_of::<FuncRecord>() as u32 } else { 0 },
        nr_line_info: count(&dump.lines),
        line_info: address(&mut dump.lines),
        line_info_rec_size: if lines { size_of::<LineRecord>() as u32 } else { 0 },
        nr_jited_line_info: count(&dump.jited_lines),
        jited_line_info: address(&mut dump.jited_lines),
        jited_line_info_rec_size: if dump.jited_lines.is_empty() { 0 } else { 8 },
        ..ProgInfo::default()
    };
    // SAFETY: every list is live for the call and as long as the count beside its address says.
    unsafe { info::get(fd, &mut info)? };
    // What the kernel does not show, it says by a null pointer or by a smaller count.
    let shown = |len: u32, pointer: u64| if pointer == 0 { 0 } else { len as usize };
    dump.map_ids.truncate(info.nr_map_ids as usize);
    dump.xlated.truncate(shown(info.xlated_prog_len / 8, info.xlated_prog_insns));
    dump.jited.truncate(shown(info.jited_prog_len, info.jited_prog_insns));
    dump.ksyms.truncate(shown(info.nr_jited_ksyms, info.jited_ksyms));
    dump.func_lens.truncate(shown(info.nr_jited_func_lens, info.jited_func_lens));
    dump.funcs.truncate(info.nr_func_info as usize);
    dump.lines.truncate(info.nr_line_info as usize);
    dump.jited_lines.truncate(shown(info.nr_jited_line_info, info.jited_line_info));
    dump.info = head;
    Ok(dump)
}

/// The types of a BTF object, as bytes.
pub fn btf_bytes(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let (head, _) = info::btf_info(fd)?;
    let mut bytes = vec![0_u8; (head.btf_size as usize).min(MAX_BYTES)];
    let mut info = info::BtfInfo::default();
    info.set_buffer(address(&mut bytes), count(&bytes));
    // SAFETY: the buffer is live for the call and as long as it says.
    unsafe { info::get(fd, &mut info)? };
    Ok(bytes)
}

fn room<T: Clone + Default>(records: u32, wanted: bool) -> Vec<T> {
    vec![T::default(); if wanted { (records as usize).min(MAX_RECORDS) } else { 0 }]
}

fn count<T>(list: &[T]) -> u32 {
    // At most MAX_BYTES.
    list.len() as u32
}

fn address<T>(list: &mut [T]) -> u64 {
    if list.is_empty() { 0 } else { list.as_mut_ptr() as u64 }
}
