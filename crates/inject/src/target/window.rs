//! Windows: the arena's memfd, mapped into the process as one contiguous range.

use super::record::Owner;
use super::state::State;
use crate::proc::{Map, Maps, Memory};
use crate::ptrace::{Remote, Stop};
use crate::{Error, Result};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use stylet_runtime::abi::{
    DATA_OFF, PROC_PAGE_OFF, RODATA_OFF, RODATA_SIZE, TEXT_OFF, TEXT_SIZE, WINDOW,
};
use stylet_runtime::control::ProcPage;

/// What to map.
#[derive(Clone, Copy, Debug)]
pub struct WindowSpec {
    /// The memfd. The layout is that of `stylet_runtime::abi`.
    pub fd: RawFd,
    /// Offset in the window of the agent's `extern "C" fn slot_enter(*mut RunCtx) -> i32`, 0 if there is none.
    pub slot_enter: u64,
    /// Offset in the window of the agent's `extern "C" fn slot_leave(*mut RunCtx)`, 0 if there is none.
    pub slot_leave: u64,
}

/// A window of one [`super::Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowId(pub(super) usize);

/// A mapped window.
#[derive(Clone, Debug)]
pub struct Window {
    /// First byte in the process.
    pub base: u64,
    /// The file.
    pub inode: u64,
    /// See [`WindowSpec`].
    pub slot_enter: u64,
    /// See [`WindowSpec`].
    pub slot_leave: u64,
}

const PAGE: u64 = 4096;
/// Bytes before the window in the same reservation.
const BEFORE: u64 = -PROC_PAGE_OFF as u64;
/// Distance that a 32-bit displacement spans, less room for the code that uses it.
pub const REACH: u64 = (1 << 31) - (1 << 20);
/// Offset in the private page where the descriptor is received; zeroed afterwards.
const SCRATCH: usize = 256;

/// Offset in the private page of a mark and the owner, behind what the agent keeps there: a tracer that dies before its
/// first probe has no region to tell of its window.
const OWNER: u64 = PAGE - 64;
const _: () = assert!(size_of::<ProcPage>() as u64 <= OWNER);
const MARK: u64 = u64::from_le_bytes(*b"stylet w");

impl Window {
    /// The window of a dead tracer that begins with this mapping.
    pub fn of_dead(memory: &Memory, map: &Map) -> Option<Window> {
        let first = map.shared && map.exec && map.offset == TEXT_OFF;
        if !first || !map.name.starts_with("/memfd:") {
            return None;
        }
        let at = map.start.checked_sub(BEFORE)? + OWNER;
        let dead = memory.word(at).ok()? == MARK && Owner::at(memory, at + 8).ok()?.is_dead();
        dead.then_some(Window { base: map.start, inode: map.inode, slot_enter: 0, slot_leave: 0 })
    }

    /// The whole reservation.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.base - BEFORE..self.base + WINDOW
    }
}

impl State {
    /// Maps a window into the stopped process.
    pub fn map_window(&mut self, stop: &mut Stop, spec: &WindowSpec) -> Result<WindowId> {
        let inode = check_fd(spec)?;
        if self.windows.iter().any(|w| w.inode == inode) {
            return Err(Error::Window {
                why: "this arena is already mapped in the process".into(),
            });
        }
        let maps = Maps::of(self.pid)?;
        let near = neighbourhood(&maps);
        let len = WINDOW + BEFORE;
        let gap =
            maps.gap(len, near.clone(), REACH).or_else(|| maps.gap(len, near.clone(), u64::MAX));
        let start = gap.ok_or(Error::NoSpace { pid: self.pid, len, near: near.start })?;
        let mut remote = Remote::new(stop, &self.memory, &maps)?;
        // Reserve all, so that the parts stay together.
        const RESERVE: i32 = libc::MAP_PRIVATE
            | libc::MAP_ANONYMOUS
            | libc::MAP_NORESERVE
            | libc::MAP_FIXED_NOREPLACE;
        let reserved =
            remote.call("mmap", libc::SYS_mmap, [start, len, 0, RESERVE as u64, u64::MAX, 0]);
        let result = reserved.and_then(|_| {
            let result = map_parts(&mut remote, &self.memory, self.pid, start, spec.fd);
            if result.is_err() {
                let _ = remote.call("munmap", libc::SYS_munmap, [start, len, 0, 0, 0, 0]);
            }
            result
        });
        let finished = remote.finish();
        result.and(finished)?;
        let base = start + BEFORE;
        self.windows.push(Window {
            base,
            inode,
            slot_enter: spec.slot_enter,
            slot_leave: spec.slot_leave,
        });
        Ok(WindowId(self.windows.len() - 1))
    }
}

/// The inode of the window's file.
fn check_fd(spec: &WindowSpec) -> Result<u64> {
    // SAFETY: all-zero is a value of the plain struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` outlives the call.
    if unsafe { libc::fstat(spec.fd, &mut stat) } != 0 {
        return Err(Error::Window {
            why: format!("descriptor {}: {}", spec.fd, io::Error::last_os_error()),
        });
    }
    if spec.slot_enter >= TEXT_SIZE || spec.slot_leave >= TEXT_SIZE {
        return Err(Error::Window {
            why: "slot_enter or slot_leave is outside the text part".into(),
        });
    }
    Ok(stat.st_ino)
}

/// The mapping that most sites will be near to: libc, else the executable.
fn neighbourhood(maps: &Maps) -> std::ops::Range<u64> {
    let libc = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or_default();
        file.starts_with("libc.so") || file.starts_with("libc-") || file.starts_with("ld-musl")
    };
    let code = |m: &&Map| m.exec && m.is_file();
    let map =
        maps.0.iter().filter(code).find(|m| libc(&m.name)).or_else(|| maps.0.iter().find(code));
    map.map_or(0x40_0000..0x40_1000, |m| m.start..m.end)
}

fn map_parts(remote: &mut Remote, memory: &Memory, pid: i32, start: u64, fd: RawFd) -> Result<()> {
    const PRIVATE: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let rw = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let none = u64::MAX;
    remote.call(
        "mmap",
        libc::SYS_mmap,
        [start, BEFORE, rw, PRIVATE | libc::MAP_FIXED as u64, none, 0],
    )?;
    let owner = [MARK.to_le_bytes().to_vec(), Owner::me().bytes()].concat();
    memory.write(start + OWNER, &owner)?;
    let theirs = give_fd(remote, memory, pid, start + SCRATCH as u64, fd)?;
    let shared = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
    let rx = (libc::PROT_READ | libc::PROT_EXEC) as u64;
    let parts = [
        (TEXT_OFF, TEXT_SIZE, rx),
        (RODATA_OFF, RODATA_SIZE, libc::PROT_READ as u64),
        (DATA_OFF, WINDOW - DATA_OFF, rw),
    ];
    let base = start + BEFORE;
    let mut mapped = Ok(0);
    for (off, len, prot) in parts {
        mapped = mapped.and_then(|_| {
            remote.call(
                "mmap of the arena",
                libc::SYS_mmap,
                [base + off, len, prot, shared, theirs, off],
            )
        });
    }
    remote.call("close", libc::SYS_close, [theirs, 0, 0, 0, 0, 0])?;
    mapped?;
    let advise = |addr: u64, len: u64, advice: i32| [addr, len, advice as u64, 0, 0, 0];
    remote.call("madvise", libc::SYS_madvise, advise(base, WINDOW, libc::MADV_DONTDUMP))?;
    remote.call("madvise", libc::SYS_madvise, advise(start, PAGE, libc::MADV_WIPEONFORK))?;
    Ok(())
}

/// Gives the process a copy of our descriptor: it makes a socket pair, we take one end with pidfd_getfd(2) and send the
/// descriptor through it. This needs no path, so user and mount namespaces and /proc permissions do not matter.
fn give_fd(remote: &mut Remote, memory: &Memory, pid: i32, scratch: u64, fd: RawFd) -> Result<u64> {
    let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
    remote.call(
        "socketpair",
        libc::SYS_socketpair,
        [libc::AF_UNIX as u64, kind, 0, scratch, 0, 0],
    )?;
    let pair = memory.word(scratch)?;
    let (ours, theirs) = (pair & 0xffff_ffff, pair >> 32);
    let received = take_fd(pid, ours as RawFd)
        .and_then(|end| send_fd(pid, &end, fd))
        .and_then(|()| receive_fd(remote, memory, scratch, theirs));
    memory.write(scratch, &[0; RECEIVE])?;
    remote.call("close", libc::SYS_close, [ours, 0, 0, 0, 0, 0])?;
    remote.call("close", libc::SYS_close, [theirs, 0, 0, 0, 0, 0])?;
    received
}

/// Scratch bytes: `struct msghdr` at 0, `struct iovec` at 64, a control message at 80, one byte of data at 112.
const RECEIVE: usize = 120;

fn receive_fd(remote: &mut Remote, memory: &Memory, scratch: u64, socket: u64) -> Result<u64> {
    let mut words = [0u64; RECEIVE / 8];
    (words[2], words[3]) = (scratch + 64, 1);
    (words[4], words[5]) = (scratch + 80, 24);
    (words[8], words[9]) = (scratch + 112, 1);
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    memory.write(scratch, &bytes)?;
    let flags = (libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT) as u64;
    remote.call("recvmsg", libc::SYS_recvmsg, [socket, scratch, flags, 0, 0, 0])?;
    // A full descriptor table truncates the control message: its length stays zero.
    if memory.word(scratch + 80)? != 20 {
        let source = io::Error::from_raw_os_error(libc::EMFILE);
        return Err(Error::Remote {
            pid: 0,
            call: "recvmsg (receiving the arena's descriptor)",
            source,
        });
    }
    Ok(memory.word(scratch + 96)? & 0xffff_ffff)
}

fn take_fd(pid: i32, theirs: RawFd) -> Result<OwnedFd> {
    let call = |name: &'static str, rc: i64| {
        // SAFETY: a non-negative result is a new descriptor that nobody else owns.
        let owned = (rc >= 0).then(|| unsafe { OwnedFd::from_raw_fd(rc as RawFd) });
        owned.ok_or_else(|| Error::Sys { pid, call: name, source: io::Error::last_os_error() })
    };
    // SAFETY: integers only.
    let pidfd = call("pidfd_open", unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: integers only.
    call("pidfd_getfd", unsafe {
        libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), theirs, 0)
    })
}

fn send_fd(pid: i32, socket: &OwnedFd, fd: RawFd) -> Result<()> {
    let mut byte = 0u8;
    let mut iov = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // struct cmsghdr with one descriptor.
    let mut control = [20u64, (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64, fd as u64];
    // SAFETY: all-zero is a value of the plain struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = 24;
    // SAFETY: the message and all it points to outlive the call.
    let rc = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
    if rc == 1 {
        Ok(())
    } else {
        Err(Error::Sys { pid, call: "sendmsg", source: io::Error::last_os_error() })
    }
}
