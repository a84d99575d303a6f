//! Raw tracepoints, writable ones among them: `BPF_RAW_TRACEPOINT_OPEN`, `BPF_LINK_CREATE`.

use std::ffi::CString;
use std::os::fd::AsFd;

use stylet_insn::Insn;
use stylet_uapi::{AttachType, ProgType};

use crate::sys::{self, Errno, LinkExtra};
use crate::{Error, Feature, Kernel, Link, Prog, ProgLoad};

/// The largest writable buffer that is looked for; the kernel's only one has 28 bytes.
const MAX_BUFFER: u32 = 4096;
/// The most arguments of a tracepoint (`MAX_BPF_FUNC_ARGS`).
const MAX_ARGS: u32 = 12;

/// How to attach to a raw tracepoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RawTpMethod {
    /// As [`Open`](RawTpMethod::Open): it is the one that works.
    #[default]
    Auto,
    /// `BPF_RAW_TRACEPOINT_OPEN`, which makes a link since 5.7.
    Open,
    /// `BPF_LINK_CREATE`, which the kernel refuses for these types on every release up to 7.3 (EINVAL); it takes tp_btf.
    Link,
}

/// Options of [`raw_tracepoint`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RawTpOpts<'a> {
    /// Tracepoint; `None`: that of the program's section.
    pub name: Option<&'a str>,
    /// How.
    pub method: RawTpMethod,
    /// Cookie (since 6.10), 0 for none.
    pub cookie: u64,
}

/// Attaches a program of type RAW_TRACEPOINT or RAW_TRACEPOINT_WRITABLE. A module's tracepoints are found by name like the
/// kernel's own; the link keeps the module loaded.
///
/// # Errors
/// [`Error::Attach`] when there is no such tracepoint (ENOENT), when it has fewer arguments than the program reads, and for
/// a writable program when the tracepoint is not writable, or its buffer is shorter than what the program accesses (all
/// EINVAL; which of them it is, is found out by trying). [`Error::Missing`] for a cookie before 6.10.
pub fn raw_tracepoint(kernel: &Kernel, prog: &Prog, opts: &RawTpOpts<'_>) -> Result<Link, Error> {
    let name = match (opts.name, &prog.sec().target) {
        (Some(name), _) => name,
        (None, stylet_object::AttachTarget::RawTracepoint { name, .. }) => name,
        _ => return Err(refused(prog, "a raw tracepoint", None, "its section names none")),
    };
    let to = format!("raw tracepoint '{name}'");
    if !matches!(prog.prog_type(), ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE) {
        let why = format!("it is of type {}", prog.prog_type());
        return Err(refused(prog, &to, None, &why));
    }
    let Ok(c_name) = CString::new(name) else {
        return Err(refused(prog, &to, None, "a name has no NUL in it"));
    };
    if opts.cookie != 0 {
        kernel.require(Feature::RawTpCookie)?;
    }
    let made = match opts.method {
        RawTpMethod::Auto | RawTpMethod::Open => {
            sys::raw_tracepoint_open(prog.as_fd(), Some(&c_name), opts.cookie)
        }
        RawTpMethod::Link => {
            let extra = LinkExtra::Tracing { target_btf_id: 0, cookie: opts.cookie };
            return sys::link_create(prog.as_fd(), 0, AttachType::TRACE_RAW_TP, 0, &extra)
                .map(Link::from_link)
                .map_err(|errno| {
                    let why = "BPF_LINK_CREATE takes raw tracepoints from TRACING programs (tp_btf) alone; \
                               for this type there is BPF_RAW_TRACEPOINT_OPEN";
                    refused(prog, &to, Some(errno), why)
                });
        }
    };
    made.map(Link::from_link).map_err(|errno| explain(kernel, prog, name, errno))
}

fn refused(prog: &Prog, to: &str, errno: Option<Errno>, why: &str) -> Error {
    Error::Attach { prog: prog.name().into(), to: to.into(), errno, why: why.into() }
}

fn explain(kernel: &Kernel, prog: &Prog, name: &str, errno: Errno) -> Error {
    let to = format!("raw tracepoint '{name}'");
    let why = match errno {
        Errno(libc::ENOENT) => "there is none of this name; is its module loaded?".to_string(),
        Errno(libc::EPERM) => return kernel.denied(&format!("attaching to {to}"), errno),
        Errno(libc::EINVAL) => invalid(kernel, prog, name),
        Errno(libc::EEXIST) => {
            "the program is on it already; kernels before 6.10 take a program once".to_string()
        }
        _ => "the kernel refuses".to_string(),
    };
    refused(prog, &to, Some(errno), &why)
}

/// Which of the reasons for EINVAL it is (`bpf_probe_register`, kernel/trace/bpf_trace.c).
fn invalid(kernel: &Kernel, prog: &Prog, name: &str) -> String {
    let args = tracepoint_args(kernel, name);
    if prog.prog_type() == ProgType::RAW_TRACEPOINT {
        return match args {
            Some(args) => format!("the program reads more than the tracepoint's {args} arguments"),
            None => "the program reads more arguments than the tracepoint has".into(),
        };
    }
    match writable_size(kernel, name) {
        Some(0) => "the tracepoint is not writable (no DEFINE_EVENT_WRITABLE); attach a program of raw_tp to it".into(),
        Some(size) => format!(
            "the program accesses bytes beyond the tracepoint's writable buffer of {size} bytes, or arguments beyond its {}",
            args.map_or("last".to_string(), |args| args.to_string())
        ),
        None => "the tracepoint is not writable, or its buffer is shorter than what the program accesses".into(),
    }
}

/// Bytes of a tracepoint's writable buffer, 0 when it has none; found by attaching programs that only read, each for a
/// moment. `None` when it cannot be found out.
pub fn writable_size(kernel: &Kernel, name: &str) -> Option<u32> {
    largest(MAX_BUFFER, |size| {
        // r1 = *(u64 *)(r1 + 0): the buffer; r0 = *(u8 *)(r1 + size - 1); r0 = 0; exit
        let insns = [
            Insn::new(0x79, 1, 1, 0, 0),
            Insn::new(0x71, 0, 1, (size - 1) as i16, 0),
            Insn::new(0xb7, 0, 0, 0, 0),
            Insn::new(0x95, 0, 0, 0, 0),
        ];
        attaches(kernel, ProgType::RAW_TRACEPOINT_WRITABLE, &insns, name)
    })
}

/// Number of a tracepoint's arguments, found out like [`writable_size`]. `None` when it cannot be found out.
pub fn tracepoint_args(kernel: &Kernel, name: &str) -> Option<u32> {
    largest(MAX_ARGS, |args| {
        let insns = [
            Insn::new(0x79, 0, 1, ((args - 1) * 8) as i16, 0),
            Insn::new(0xb7, 0, 0, 0, 0),
            Insn::new(0x95, 0, 0, 0, 0),
        ];
        attaches(kernel, ProgType::RAW_TRACEPOINT, &insns, name)
    })
}

/// The largest number up to `max` for which `holds`, given that it holds for all smaller ones from 1 on.
fn largest(max: u32, holds: impl Fn(u32) -> Option<bool>) -> Option<u32> {
    let (mut known, mut beyond) = (0, max + 1);
    while beyond - known > 1 {
        let middle = known + (beyond - known) / 2;
        if holds(middle)? { known = middle } else { beyond = middle }
    }
    Some(known)
}

/// Whether a program of these instructions attaches to a tracepoint.
fn attaches(kernel: &Kernel, prog_type: ProgType, insns: &[Insn], name: &str) -> Option<bool> {
    let load =
        ProgLoad { name: "stylet_probe", prog_type, insns, license: "GPL", ..ProgLoad::default() };
    let prog = Prog::load(kernel, &load).ok()?;
    let name = CString::new(name).ok()?;
    match sys::raw_tracepoint_open(prog.as_fd(), Some(&name), 0) {
        Ok(_) => Some(true),
        Err(Errno(libc::EINVAL)) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn search() {
        for limit in 0..=13 {
            assert_eq!(largest(12, |n| Some(n <= limit)), Some(limit.min(12)));
        }
        assert_eq!(largest(12, |_| None), None);
    }
}
