//! What the kernel says about its objects: `BPF_OBJ_GET_INFO_BY_FD`, ids.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use stylet_uapi::Cmd;

use super::attr::{IdAttr, InfoAttr};
use super::{Errno, bpf, bpf_fd};

/// `struct bpf_prog_info`. Pointers and the counts beside them are zero unless a function here fills them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct ProgInfo {
    pub prog_type: u32,
    pub id: u32,
    pub tag: [u8; 8],
    /// Bytes.
    pub jited_prog_len: u32,
    /// Bytes.
    pub xlated_prog_len: u32,
    pub(super) jited_prog_insns: u64,
    pub(super) xlated_prog_insns: u64,
    /// Nanoseconds since boot.
    pub load_time: u64,
    pub created_by_uid: u32,
    pub nr_map_ids: u32,
    pub(super) map_ids: u64,
    pub name: [u8; 16],
    pub ifindex: u32,
    /// Bit 0.
    pub gpl_compatible: u32,
    pub netns_dev: u64,
    pub netns_ino: u64,
    pub nr_jited_ksyms: u32,
    pub nr_jited_func_lens: u32,
    pub(super) jited_ksyms: u64,
    pub(super) jited_func_lens: u64,
    pub btf_id: u32,
    pub func_info_rec_size: u32,
    pub(super) func_info: u64,
    pub nr_func_info: u32,
    pub nr_line_info: u32,
    pub(super) line_info: u64,
    pub(super) jited_line_info: u64,
    pub nr_jited_line_info: u32,
    pub line_info_rec_size: u32,
    pub jited_line_info_rec_size: u32,
    pub nr_prog_tags: u32,
    pub(super) prog_tags: u64,
    pub run_time_ns: u64,
    pub run_cnt: u64,
    pub recursion_misses: u64,
    pub verified_insns: u32,
    pub attach_btf_obj_id: u32,
    pub attach_btf_id: u32,
    pub(super) pad: u32,
}

/// `struct bpf_map_info`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct MapInfo {
    pub map_type: u32,
    pub id: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub name: [u8; 16],
    pub ifindex: u32,
    pub btf_vmlinux_value_type_id: u32,
    pub netns_dev: u64,
    pub netns_ino: u64,
    pub btf_id: u32,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub btf_vmlinux_id: u32,
    pub map_extra: u64,
}

/// `struct bpf_btf_info`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct BtfInfo {
    btf: u64,
    /// Bytes.
    pub btf_size: u32,
    pub id: u32,
    name: u64,
    name_len: u32,
    /// 1 for the kernel's and its modules' own.
    pub kernel_btf: u32,
}

/// `struct bpf_link_info`: the head and the words of the union behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct LinkInfo {
    pub link_type: u32,
    pub id: u32,
    pub prog_id: u32,
    pub pad: u32,
    pub union: [u64; 8],
}

impl BtfInfo {
    /// Asks for the types as well: `len` bytes of room at `buffer`.
    pub(super) fn set_buffer(&mut self, buffer: u64, len: u32) {
        (self.btf, self.btf_size) = (buffer, len);
    }
}

/// Plain numbers, which any bytes are.
pub(super) trait Plain: Copy + Default {}
impl Plain for ProgInfo {}
impl Plain for MapInfo {}
impl Plain for BtfInfo {}
impl Plain for LinkInfo {}

const _: () = assert!(size_of::<ProgInfo>() == 232);
const _: () = assert!(size_of::<MapInfo>() == 88);
const _: () = assert!(size_of::<BtfInfo>() == 32);

/// `BPF_OBJ_GET_INFO_BY_FD`; what an older kernel does not know stays as it is in `info`.
///
/// # Safety
/// The pointers in `info` must be valid for as many records as the counts beside them say.
pub(super) unsafe fn get<T: Plain>(fd: BorrowedFd<'_>, info: &mut T) -> Result<(), Errno> {
    let mut attr = InfoAttr {
        bpf_fd: fd.as_raw_fd() as u32,
        info_len: size_of::<T>() as u32,
        info: core::ptr::from_mut(info) as u64,
    };
    // SAFETY: `info` is live and as long as `info_len` says, any bytes are a value of it; the caller answers for the rest.
    unsafe { bpf(Cmd::OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

/// What the kernel says about a program.
pub fn prog_info(fd: BorrowedFd<'_>) -> Result<ProgInfo, Errno> {
    let mut info = ProgInfo::default();
    // SAFETY: no pointers and no counts.
    unsafe { get(fd, &mut info)? };
    Ok(info)
}

/// Ids of the maps that a program uses.
pub fn prog_map_ids(fd: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let count = prog_info(fd)?.nr_map_ids;
    let mut ids = vec![0u32; count as usize];
    let mut info =
        ProgInfo { nr_map_ids: count, map_ids: ids.as_mut_ptr() as u64, ..ProgInfo::default() };
    // SAFETY: `ids` is live and has the room that is said.
    unsafe { get(fd, &mut info)? };
    ids.truncate(info.nr_map_ids as usize);
    Ok(ids)
}

/// What the kernel says about a map.
pub fn map_info(fd: BorrowedFd<'_>) -> Result<MapInfo, Errno> {
    let mut info = MapInfo::default();
    // SAFETY: no pointers.
    unsafe { get(fd, &mut info)? };
    Ok(info)
}

/// What the kernel says about a BTF object, and its name (`vmlinux`, a module's, or empty).
pub fn btf_info(fd: BorrowedFd<'_>) -> Result<(BtfInfo, String), Errno> {
    let mut name = [0; 64];
    let mut info = BtfInfo { name: name.as_mut_ptr() as u64, name_len: 64, ..BtfInfo::default() };
    // SAFETY: `name` is live and 64 bytes long; there is no buffer for the types.
    unsafe { get(fd, &mut info)? };
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok((info, String::from_utf8_lossy(&name[..end]).into_owned()))
}

/// The next id after `id`; `None` at the end. `cmd` is one of `BPF_*_GET_NEXT_ID`.
pub fn next_id(cmd: Cmd, id: u32) -> Result<Option<u32>, Errno> {
    let known =
        [Cmd::PROG_GET_NEXT_ID, Cmd::MAP_GET_NEXT_ID, Cmd::BTF_GET_NEXT_ID, Cmd::LINK_GET_NEXT_ID];
    if !known.contains(&cmd) {
        return Err(Errno(libc::EINVAL));
    }
    let mut attr = IdAttr { id, ..IdAttr::default() };
    // SAFETY: the commands take no pointer.
    match unsafe { bpf(cmd, &mut attr) } {
        Ok(_) => Ok(Some(attr.next_id)),
        Err(Errno(libc::ENOENT)) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens an object by id. `cmd` is one of `BPF_*_GET_FD_BY_ID`.
pub fn object_by_id(cmd: Cmd, id: u32) -> Result<OwnedFd, Errno> {
    let known = [
        Cmd::PROG_GET_FD_BY_ID,
        Cmd::MAP_GET_FD_BY_ID,
        Cmd::BTF_GET_FD_BY_ID,
        Cmd::LINK_GET_FD_BY_ID,
    ];
    if !known.contains(&cmd) {
        return Err(Errno(libc::EINVAL));
    }
    let mut attr = IdAttr { id, ..IdAttr::default() };
    // SAFETY: the commands take no pointer and return a descriptor.
    unsafe { bpf_fd(cmd, &mut attr) }
}
