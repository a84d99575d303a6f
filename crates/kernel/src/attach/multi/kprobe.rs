//! kprobe.multi and kprobe.session.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use stylet_object::AttachTarget;
use stylet_uapi::AttachType;
use stylet_uapi::flags::link_flags;

use super::check_count;
use crate::attach::event::{Attempt, NOT_TAKEN};
use crate::error::Unprobeable;
use crate::feature::Feature;
use crate::symbols::{Ksymbol, kernel_function, matching_functions, not_traceable};
use crate::sys::{self, Errno, LinkExtra};
use crate::{Error, Kernel, Link, Prog};

/// Which kernel functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Functions {
    /// By name; `module:name` for one of a module, should there be several.
    Names(Vec<String>),
    /// By address of their entries.
    Addresses(Vec<u64>),
    /// Those that ftrace can trace and whose names match a pattern with `*` and `?`.
    Pattern(String),
}

/// Where and how to attach a kprobe.multi or kprobe.session program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KprobeMultiOpts {
    /// Where.
    pub functions: Functions,
    /// At the functions' return. A session has both.
    pub ret: bool,
    /// Values for `bpf_get_attach_cookie`: none, or one for each function. Not with a pattern, whose order nobody knows.
    pub cookies: Vec<u64>,
}

impl KprobeMultiOpts {
    /// At the entries of functions.
    pub fn new(functions: Functions) -> KprobeMultiOpts {
        KprobeMultiOpts { functions, ret: false, cookies: Vec::new() }
    }

    /// What a section name says: `kprobe.multi/…`, `kretprobe.multi/…`, `kprobe.session/…`. `None` for others.
    pub fn from_target(target: &AttachTarget) -> Option<KprobeMultiOpts> {
        let AttachTarget::KprobeMulti { pattern, ret, .. } = target else { return None };
        let functions = Functions::Pattern(pattern.clone());
        Some(KprobeMultiOpts { ret: *ret, ..KprobeMultiOpts::new(functions) })
    }
}

/// Attaches a program to many kernel functions by one link (`bpf_program__attach_kprobe_multi_opts` of libbpf). One loaded
/// as a session runs at entry and return of each call; its entry's return value 1 suppresses the return.
///
/// # Errors
/// [`Error::Missing`] before 5.18 (sessions: 6.10) or without CONFIG_FPROBE; [`Error::NoFunction`] and
/// [`Error::Unprobeable`] for the first function at fault.
pub fn kprobe_multi(kernel: &Kernel, prog: &Prog, opts: &KprobeMultiOpts) -> Result<Link, Error> {
    let session = prog.attach_type() == AttachType::TRACE_KPROBE_SESSION;
    let to = match &opts.functions {
        Functions::Names(names) => format!("kprobe.multi of {} functions", names.len()),
        Functions::Addresses(addresses) => format!("kprobe.multi of {} addresses", addresses.len()),
        Functions::Pattern(pattern) => format!("kprobe.multi '{pattern}'"),
    };
    let attempt = Attempt { kernel, prog, to };
    let wanted = [AttachType::TRACE_KPROBE_MULTI, AttachType::TRACE_KPROBE_SESSION];
    attempt.check(&wanted, "SEC(\"kprobe.multi\") or SEC(\"kprobe.session\")")?;
    if session && opts.ret {
        return Err(attempt.error(None, "a session has entry and return both"));
    }
    let feature = if session { Feature::KprobeSession } else { Feature::KprobeMulti };
    kernel.require(feature)?;
    crate::attach::kprobe::check_enabled()?;
    let (names, addrs) = resolve(&attempt, &opts.functions)?;
    let count = names.len().max(addrs.len());
    if count == 0 {
        return Err(attempt.error(None, "no function is named"));
    }
    if matches!(&opts.functions, Functions::Pattern(pattern) if pattern.contains(['*', '?']))
        && !opts.cookies.is_empty()
    {
        return Err(attempt.error(None, "a pattern's functions have no order for cookies"));
    }
    check_count(&attempt, "cookies", &opts.cookies, count)?;
    let syms: Vec<&CStr> = names.iter().map(CString::as_c_str).collect();
    let flags = if opts.ret { link_flags::KPROBE_MULTI_RETURN } else { 0 };
    let extra =
        LinkExtra::KprobeMulti { flags, syms: &syms, addrs: &addrs, cookies: &opts.cookies };
    sys::link_create(prog.as_fd(), 0, prog.attach_type(), 0, &extra)
        .map(Link::from_link)
        .map_err(|errno| failed(&attempt, &opts.functions, errno))
}

/// Names for the kernel to look up, or addresses.
fn resolve(
    attempt: &Attempt<'_>,
    functions: &Functions,
) -> Result<(Vec<CString>, Vec<u64>), Error> {
    let bad_name = |_| attempt.error(None, "a name holds no NUL byte");
    match functions {
        Functions::Addresses(addresses) => Ok((Vec::new(), addresses.clone())),
        // The kernel's list of names knows no modules.
        Functions::Names(names) if names.iter().any(|name| name.contains(':')) => {
            let addresses = names.iter().map(|name| kernel_function(attempt.kernel, name));
            Ok((Vec::new(), addresses.collect::<Result<_, _>>()?))
        }
        Functions::Names(names) => {
            let names = names.iter().map(|name| CString::new(name.as_str()).map_err(bad_name));
            Ok((names.collect::<Result<_, _>>()?, Vec::new()))
        }
        Functions::Pattern(name) if !name.contains(['*', '?']) => {
            Ok((vec![CString::new(name.as_str()).map_err(bad_name)?], Vec::new()))
        }
        Functions::Pattern(pattern) => {
            let found = matching_functions(attempt.kernel, pattern)?;
            if found.is_empty() {
                return Err(Error::NoFunction { name: pattern.clone(), near: Vec::new() });
            }
            let mut addresses: Vec<u64> = found.into_iter().map(|f| f.addr).collect();
            addresses.dedup();
            Ok((Vec::new(), addresses))
        }
    }
}

/// Finds the function at fault.
fn failed(attempt: &Attempt<'_>, functions: &Functions, errno: Errno) -> Error {
    match errno.0 {
        libc::EPERM | libc::EACCES => return attempt.denied(errno),
        libc::ESRCH | libc::ENOENT | libc::EINVAL | libc::EADDRNOTAVAIL => {}
        _ => return attempt.open_failed(errno),
    }
    let names: Vec<&str> = match functions {
        Functions::Names(names) => names.iter().map(String::as_str).collect(),
        Functions::Pattern(name) if !name.contains(['*', '?']) => vec![name],
        _ => {
            return attempt.error(
                Some(errno),
                "an address is not the entry of a function that ftrace can trace",
            );
        }
    };
    let mut seen: HashMap<&str, usize> = names.iter().map(|name| (*name, 0)).collect();
    let symbols = attempt.kernel.symbols();
    for symbol in symbols.iter().flat_map(|all| all.iter()).filter(Ksymbol::is_code) {
        if let Some(count) = seen.get_mut(symbol.name) {
            *count += 1;
        }
    }
    let unprobeable = |name: &str, why| Error::Unprobeable {
        function: name.to_string(),
        why,
        errno: Some(errno),
    };
    if symbols.is_ok() {
        if let Some(name) = names.iter().find(|name| seen[**name] == 0) {
            // Says why there is none, too.
            if let Err(error) = kernel_function(attempt.kernel, name) {
                return error;
            }
        }
        if let Some(name) = not_traceable(attempt.kernel, &names).first() {
            return unprobeable(name, Unprobeable::NoTrace);
        }
        if let Some(name) = names.iter().find(|name| seen[**name] > 1) {
            return unprobeable(name, Unprobeable::Ambiguous { count: seen[*name] });
        }
    }
    let why = match errno.0 {
        libc::EINVAL => NOT_TAKEN,
        _ => "the kernel refuses the functions",
    };
    attempt.error(Some(errno), why)
}
