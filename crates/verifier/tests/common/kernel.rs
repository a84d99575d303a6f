//! BPF_PROG_LOAD on this machine's kernel.
#![allow(dead_code)]

use stylet_insn::{Insn, opcode as op};

use super::Case;
use stylet_verifier::MapDef;

const MAP_CREATE: i64 = 0;
/// `BPF_LOG_STATS`
const LOG_STATS: u32 = 4;
const MAP_UPDATE_ELEM: i64 = 2;
const PROG_LOAD: i64 = 5;
const BTF_LOAD: i64 = 18;
const MAP_FREEZE: i64 = 22;
const F_SLEEPABLE: u32 = 1 << 4;

/// `union bpf_attr` as bytes.
struct Attr([u8; 160]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 160])
    }

    fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn ptr<T>(mut self, at: usize, value: *const T) -> Attr {
        self.0[at..at + 8].copy_from_slice(&(value as u64).to_ne_bytes());
        self
    }
}

/// A descriptor, closed when dropped.
struct Fd(i32);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and closed once.
        unsafe { libc::close(self.0) };
    }
}

fn bpf(cmd: i64, attr: &Attr) -> Result<Fd, i32> {
    // SAFETY: the attribute is 160 bytes and the buffers it names outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, cmd, attr.0.as_ptr(), attr.0.len()) };
    if ret < 0 {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(Fd(ret as i32))
    }
}

/// A map, with its BTF unless the kernel refuses that.
fn make_map(map: &MapDef, inner: u32, btf: Option<i32>) -> Result<Fd, i32> {
    let attr = || {
        let mut attr = Attr::new()
            .u32(0, map.map_type.0)
            .u32(4, map.key_size)
            .u32(8, map.value_size)
            .u32(12, map.max_entries)
            .u32(16, map.map_flags)
            .u32(20, inner);
        let name = map.name.as_bytes();
        attr.0[28..28 + name.len().min(15)].copy_from_slice(&name[..name.len().min(15)]);
        attr
    };
    let typed = btf.filter(|_| map.btf_value_type_id != 0).map(|btf| {
        let (key, value) = (map.btf_key_type_id, map.btf_value_type_id);
        bpf(MAP_CREATE, &attr().u32(48, btf as u32).u32(52, key).u32(56, value))
    });
    match typed {
        Some(Ok(fd)) => Ok(fd),
        _ => bpf(MAP_CREATE, &attr()),
    }
}

fn make_maps(case: &Case, btf: Option<i32>) -> Result<Vec<Fd>, String> {
    let mut fds: Vec<Fd> = Vec::new();
    for (map, inner) in case.maps.iter().zip(&case.inner_of) {
        let inner = inner.map_or(0, |i| fds[i].0 as u32);
        let fd = make_map(map, inner, btf).map_err(|e| format!("map {}: errno {e}", map.name))?;
        if let Some(bytes) = &map.frozen {
            let key = 0u32;
            let attr =
                Attr::new().u32(0, fd.0 as u32).ptr(8, &raw const key).ptr(16, bytes.as_ptr());
            bpf(MAP_UPDATE_ELEM, &attr)
                .map(std::mem::forget)
                .map_err(|e| format!("update {}: errno {e}", map.name))?;
            bpf(MAP_FREEZE, &Attr::new().u32(0, fd.0 as u32))
                .map(std::mem::forget)
                .map_err(|e| format!("freeze: errno {e}"))?;
        }
        fds.push(fd);
    }
    Ok(fds)
}

/// The kernel's verdict: errno and log.
pub fn load(case: &Case) -> Result<(Result<(), i32>, String), String> {
    load_with(case, None)
}

/// The log of every path.
pub fn log(case: &Case) -> Result<String, String> {
    load_with(case, Some(2)).map(|(_, log)| log)
}

/// `level`: of the log; if none is asked for, what the verdict needs.
fn load_with(case: &Case, level: Option<u32>) -> Result<(Result<(), i32>, String), String> {
    let btf = match &case.btf {
        Some(raw) => {
            let attr = Attr::new().ptr(0, raw.as_ptr()).u32(16, raw.len() as u32);
            Some(bpf(BTF_LOAD, &attr).map_err(|e| format!("BTF: errno {e}"))?)
        }
        None => None,
    };
    let maps = make_maps(case, btf.as_ref().map(|fd| fd.0))?;
    // `fd_array` is known from 5.14 on.
    let with_fd = |insn: &Insn| match insn.src {
        op::PSEUDO_MAP_IDX | op::PSEUDO_MAP_IDX_VALUE if insn.is_lddw() => {
            let src = insn.src - op::PSEUDO_MAP_IDX + op::PSEUDO_MAP_FD;
            let fd = usize::try_from(insn.imm).ok().and_then(|i| maps.get(i));
            fd.map_or(*insn, |fd| Insn { src, imm: fd.0, ..*insn })
        }
        _ => *insn,
    };
    let insns: Vec<u8> = case.insns.iter().flat_map(|i| with_fd(i).to_bytes()).collect();
    let license = std::ffi::CString::new(case.license.as_str()).expect("no zero byte");
    let mut log = vec![0u8; 1 << 24];
    let mut attr = Attr::new()
        .u32(0, case.prog_type.0)
        .u32(4, case.insns.len() as u32)
        .ptr(8, insns.as_ptr())
        .ptr(16, license.as_ptr())
        .u32(24, 1)
        .u32(28, log.len() as u32)
        .ptr(32, log.as_mut_ptr())
        .u32(44, if case.sleepable { F_SLEEPABLE } else { 0 })
        .u32(68, case.attach)
        .u32(108, case.attach_btf_id);
    let funcs: Vec<u32> = case.funcs.iter().flat_map(|f| [f.insn_idx, f.type_id]).collect();
    if let Some(btf) = &btf {
        attr = attr
            .u32(72, btf.0 as u32)
            .u32(76, 8)
            .ptr(80, funcs.as_ptr())
            .u32(88, case.funcs.len() as u32);
    }
    // A log that is too long for the buffer changes the errno.
    let silent = Attr(attr.0).u32(24, 0).u32(28, 0).ptr(32, std::ptr::null::<u8>());
    let verdict = bpf(PROG_LOAD, &silent).map(drop);
    let level = level.unwrap_or(if verdict.is_ok() { LOG_STATS } else { 1 });
    bpf(PROG_LOAD, &attr.u32(24, level)).map(drop).ok();
    let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
    Ok((verdict, String::from_utf8_lossy(&log[..end]).into_owned()))
}

/// Slot and opcode of a log line like `12: (b7) r0 = 1`.
fn insn_line(line: &str) -> Option<u32> {
    let (n, rest) = line.split_once(": ")?;
    (rest.starts_with('(') || rest.starts_with("BUG_")).then(|| n.parse().ok()).flatten()
}

fn is_chatter(line: &str) -> bool {
    line.is_empty()
        || line.starts_with("from ")
        || line.starts_with("mark_precise")
        || line.starts_with("; ")
        || line.starts_with("func#")
        || line.starts_with("caller:")
        || line.starts_with("callee:")
        || line.starts_with("returning from")
        || line.starts_with("to caller at")
        || line.starts_with("Func#")
        || line.starts_with("Validating ")
        || line.starts_with(" R")
        || line.starts_with(" frame")
        || line.starts_with("R1=")
        || line
            .split_once(": ")
            .is_some_and(|(n, rest)| n.parse::<u32>().is_ok() && !rest.is_empty())
}

/// Lines after the message.
const SKIPPED: &[&str] =
    &["processed ", "verification time", "stack depth", "cur state:", "old state:"];

/// The message at the end of a log and the slot to blame.
pub fn message(log: &str) -> (String, Option<u32>) {
    let mut insn = None;
    let mut lines: Vec<&str> = Vec::new();
    for line in log.lines() {
        if let Some(at) = insn_line(line) {
            insn = Some(at);
            lines.clear();
            // Printed where the instruction's state would stand.
            lines.extend(line.find("infinite loop detected").map(|i| &line[i..]));
        } else if SKIPPED.iter().any(|p| line.starts_with(p)) {
            continue;
        } else if let Some((text, _)) =
            line.split_once("processed ").filter(|(_, n)| n.contains("(limit "))
        {
            lines.push(text);
        } else if is_chatter(line) {
            lines.clear();
        } else {
            lines.push(line);
        }
    }
    let message = lines.join("\n");
    // These are found before the instruction that they concern is printed.
    if let Some((_, at)) = message.split_once("infinite loop detected at insn ") {
        insn = at.parse().ok();
    } else if message.starts_with("BPF program is too large") {
        insn = None;
    }
    (message, insn)
}

/// Why the kernel cannot be asked, if it cannot.
pub fn obstacle() -> Option<String> {
    let probe = Attr::new().u32(0, 2).u32(4, 4).u32(8, 4).u32(12, 1);
    match bpf(MAP_CREATE, &probe) {
        Ok(_) => {}
        Err(e) => return Some(format!("bpf(2) gives errno {e}")),
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    (!release.starts_with("6.18."))
        .then(|| format!("the expectations are of Linux 6.18, this is {}", release.trim()))
}

/// Instructions that the kernel says it processed.
pub fn processed(log: &str) -> Option<u64> {
    let (_, rest) = log.rsplit_once("processed ")?;
    rest.split(' ').next()?.parse().ok()
}
