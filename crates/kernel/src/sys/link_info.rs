//! What the kernel says about links: `BPF_OBJ_GET_INFO_BY_FD` with its names and lists, `BPF_TASK_FD_QUERY`.

use std::os::fd::{AsRawFd, BorrowedFd};

use stylet_uapi::{Cmd, LinkType};

use super::attr::TaskFdQueryAttr;
use super::info::{self, LinkInfo};
use super::{Errno, bpf};

/// Bytes of room for a name or a path.
const NAME_ROOM: usize = 4096;
/// The most places that a multi link has (`MAX_KPROBE_MULTI_CNT`, `MAX_UPROBE_MULTI_CNT`, kernel/trace/bpf_trace.c).
const MAX_PLACES: usize = 1 << 20;
/// `BPF_PERF_EVENT_EVENT` of `enum bpf_perf_event_type`: an event without a name.
pub(crate) const PERF_EVENT_EVENT: u32 = 6;

/// A link's numbers with what its pointers led to.
#[derive(Clone, Debug, Default)]
pub struct LinkRecord {
    /// The head and the words of the union; pointers in it are no longer valid and 0.
    pub info: LinkInfo,
    /// Tracepoint, function, file or iterator target.
    pub name: String,
    /// kprobe_multi: addresses, cookies. uprobe_multi: offsets, reference counters, cookies.
    pub lists: [Vec<u64>; 3],
}

/// What the kernel says about a link.
pub fn link_record(fd: BorrowedFd<'_>) -> Result<LinkRecord, Errno> {
    let mut info = LinkInfo::default();
    // SAFETY: no pointers and no counts.
    unsafe { info::get(fd, &mut info)? };
    let mut record = LinkRecord { info, ..LinkRecord::default() };
    let mut name = vec![0_u8; NAME_ROOM];
    let buffer = name.as_mut_ptr() as u64;
    let mut words = info.union;
    // Which word takes the name's address, and which the room for it in its lower half.
    let (address, room) = match LinkType(info.link_type) {
        LinkType::RAW_TRACEPOINT | LinkType::ITER => (0, 1),
        // The type of the event is 0 where the kernel does not tell (before 6.6).
        LinkType::PERF_EVENT if !matches!(low(words[0]), 0 | PERF_EVENT_EVENT) => (1, 2),
        LinkType::UPROBE_MULTI if words[4] != 0 => (0, 4),
        LinkType::KPROBE_MULTI => return kprobe_multi(fd, record),
        _ => return Ok(record),
    };
    words = [0; 8];
    words[address] = buffer;
    words[room] = NAME_ROOM as u64;
    if info.link_type == LinkType::UPROBE_MULTI.0 {
        let count = ((record.info.union[4] >> 32) as usize).min(MAX_PLACES);
        if count > 0 {
            words[4] |= (count as u64) << 32;
            for (list, word) in record.lists.iter_mut().zip(&mut words[1..4]) {
                *list = vec![0; count];
                *word = list.as_mut_ptr() as u64;
            }
        }
    }
    record.info = LinkInfo { union: words, ..LinkInfo::default() };
    // SAFETY: `name` has NAME_ROOM bytes, each list as many words as the count says, and all live for the call.
    unsafe { info::get(fd, &mut record.info)? };
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    record.name = String::from_utf8_lossy(&name[..end]).into_owned();
    record.info.union[address] = 0;
    if info.link_type == LinkType::UPROBE_MULTI.0 {
        record.info.union[1..4].fill(0);
    }
    Ok(record)
}

/// Addresses and cookies of a kprobe_multi link; the first call told how many there are.
fn kprobe_multi(fd: BorrowedFd<'_>, mut record: LinkRecord) -> Result<LinkRecord, Errno> {
    let count = (low(record.info.union[1]) as usize).min(MAX_PLACES);
    if count == 0 {
        return Ok(record);
    }
    let (mut addrs, mut cookies) = (vec![0_u64; count], vec![0_u64; count]);
    let mut union = [0; 8];
    (union[0], union[1], union[3]) =
        (addrs.as_mut_ptr() as u64, count as u64, cookies.as_mut_ptr() as u64);
    record.info = LinkInfo { union, ..LinkInfo::default() };
    // SAFETY: both lists have `count` words and live for the call.
    unsafe { info::get(fd, &mut record.info)? };
    (record.info.union[0], record.info.union[3]) = (0, 0);
    record.lists = [addrs, cookies, Vec::new()];
    Ok(record)
}

fn low(word: u64) -> u32 {
    word as u32
}

/// What a perf event runs (`BPF_TASK_FD_QUERY`).
#[derive(Clone, Debug, Default)]
pub struct TaskFd {
    /// Id of the program.
    pub prog_id: u32,
    /// `enum bpf_task_fd_type`: 0 raw tracepoint, 1 tracepoint, 2 kprobe, 3 kretprobe, 4 uprobe, 5 uretprobe.
    pub fd_type: u32,
    /// Tracepoint, function or file.
    pub name: String,
    /// Offset of a probe from its symbol, or in its file.
    pub offset: u64,
    /// Address of a kernel probe without a symbol.
    pub address: u64,
}

/// Asks about a descriptor of this process that runs a program: a perf event of a probe or a tracepoint (others: EOPNOTSUPP).
pub fn task_fd_query(fd: BorrowedFd<'_>) -> Result<TaskFd, Errno> {
    task_fd_query_of(std::process::id(), fd.as_raw_fd() as u32)
}

/// The same about a descriptor of any process: numbers that may mean nothing any more (ENOENT, EBADF).
pub fn task_fd_query_of(pid: u32, fd: u32) -> Result<TaskFd, Errno> {
    let mut name = vec![0_u8; NAME_ROOM];
    let mut attr = TaskFdQueryAttr {
        pid,
        fd,
        buf_len: NAME_ROOM as u32,
        buf: name.as_mut_ptr() as u64,
        ..TaskFdQueryAttr::default()
    };
    // SAFETY: `name` has as many bytes as said and lives for the call.
    unsafe { bpf(Cmd::TASK_FD_QUERY, &mut attr)? };
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok(TaskFd {
        prog_id: attr.prog_id,
        fd_type: attr.fd_type,
        name: String::from_utf8_lossy(&name[..end]).into_owned(),
        offset: attr.probe_offset,
        address: attr.probe_addr,
    })
}
