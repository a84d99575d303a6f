//! The kernel backend's one error type.

use std::path::PathBuf;

use stylet_catalog::Release;
use stylet_symbols::suggestion;
use stylet_uapi::{LinkType, MapType};

use crate::Map;
use crate::feature::Feature;
use crate::sys::Errno;

/// Whose fault an error is; the command's exit code follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The kernel's verifier refuses a program: exit code 1.
    Verdict,
    /// An object, a name, a path or an option is wrong: exit code 2.
    Input,
    /// A privilege or a feature of this machine is missing: exit code 3.
    Environment,
    /// A defect of Stylet: exit code 2, with a request to report it.
    Bug,
}

/// What can go wrong between an object and the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The running kernel does not have a feature.
    #[error("this kernel ({running}) has no {}{}{}", feature.describe(), advice(*feature), because(*errno))]
    Missing {
        /// What it does not have.
        feature: Feature,
        /// The running release, as `uname -r` says.
        running: String,
        /// What the kernel answered; `None` when it was not asked.
        errno: Option<Errno>,
    },
    /// The kernel's verifier refuses a program.
    #[error("program '{prog}' is rejected by the kernel: {errno}{}", reason(log, hint))]
    Rejected {
        /// The program.
        prog: String,
        /// What BPF_PROG_LOAD answered.
        errno: Errno,
        /// The reason in better words, where the log's last line speaks of what is not in the source.
        hint: Option<String>,
        /// The verifier's log, whole; empty when it wrote none.
        log: String,
    },
    /// A privilege is missing, or something on this machine forbids the call.
    #[error("{what}: {errno}: {advice}")]
    Denied {
        /// What was being done.
        what: String,
        /// What the kernel answered.
        errno: Errno,
        /// What would provide it.
        advice: String,
    },
    /// A system call failed.
    #[error("{what}: {call}: {errno}")]
    Sys {
        /// The call, as `BPF_MAP_CREATE` or `perf_event_open`.
        call: &'static str,
        /// What the kernel answered.
        errno: Errno,
        /// What was being done, and to what.
        what: String,
    },
    /// A program cannot be attached.
    #[error("program '{prog}' cannot be attached to {to}: {why}{}", because(*errno))]
    Attach {
        /// The program.
        prog: String,
        /// Where: `tracepoint 'sched/sched_switch'`.
        to: String,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// Why not, and what would help.
        why: String,
    },
    /// The kernel has no function of a name.
    #[error("the kernel has no function '{name}'{}", suggestion(near))]
    NoFunction {
        /// Wanted name.
        name: String,
        /// Names that are close, best first.
        near: Vec<String>,
    },
    /// A kernel function is there, or was when the kernel was built, but cannot be probed.
    #[error("kernel function '{function}' cannot be probed: {why}{}", because(*errno))]
    Unprobeable {
        /// The function.
        function: String,
        /// Why not.
        why: Unprobeable,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
    },
    /// The kernel has no system call of a name.
    #[error("the kernel has no system call '{name}'{}", suggestion(near))]
    NoSyscall {
        /// Wanted name, without prefix.
        name: String,
        /// Names that are close, best first.
        near: Vec<String>,
    },
    /// Kprobes are switched off for the whole system: they could be made, but would never be hit.
    #[error("kprobes are switched off: write 1 to {}", path.display())]
    KprobesDisabled {
        /// The switch.
        path: PathBuf,
    },
    /// Something in tracefs cannot be used.
    #[error("tracefs ({}) {why}{}", path.display(), because(*errno))]
    Tracefs {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and what would help.
        why: String,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
    },
    /// There is no such process.
    #[error("no process {pid}: it never was, or has ended")]
    NoProcess {
        /// Process.
        pid: i32,
    },
    /// A file, function or marker of user space cannot be named.
    #[error(transparent)]
    Symbols(#[from] stylet_symbols::Error),
    /// A link does not allow an operation.
    #[error("a {link_type} link cannot be {op}: {why}{}", because(*errno))]
    LinkOp {
        /// The operation: `pinned`, `given another program`.
        op: &'static str,
        /// Type of the link.
        link_type: LinkType,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// Why not, and what would help.
        why: String,
    },
    /// Something is wrong with a path in a BPF file system.
    #[error("{}: {why}{}", path.display(), because(*errno))]
    Pin {
        /// The path.
        path: PathBuf,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// What is wrong, and what would help.
        why: String,
    },
    /// A map cannot be used that way.
    #[error("map '{map}' (of type {map_type}) cannot be {what}: {why}{}", because(*errno))]
    MapUse {
        /// The map.
        map: String,
        /// Its type.
        map_type: MapType,
        /// The operation: `read as a ring buffer`.
        what: &'static str,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// Why not.
        why: String,
    },
    /// An object has no such global variable.
    #[error("the object has no global variable '{name}'")]
    NoGlobal {
        /// Its name.
        name: String,
    },
    /// Memory shared with the kernel holds what the kernel would not have written: someone else writes to it.
    #[error("{what} is corrupt at position {position}: another process writes to it")]
    Corrupt {
        /// The buffer.
        what: String,
        /// Byte position, from the buffer's creation on.
        position: u64,
    },
    /// Something is too large for its place.
    #[error("{what} has {len} bytes; there is room for {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// Its bytes.
        len: usize,
        /// The most there can be.
        limit: usize,
    },
    /// The kernel refuses a map's definition.
    #[error("map '{map}' ({definition}) is refused by the kernel: {errno}")]
    MapRefused {
        /// The map.
        map: String,
        /// Its definition in short.
        definition: String,
        /// What BPF_MAP_CREATE answered.
        errno: Errno,
    },
    /// The kernel refuses the object's types.
    #[error("the object's BTF is refused by the kernel: {errno}{}", last_line(log))]
    BtfRefused {
        /// What BPF_BTF_LOAD answered.
        errno: Errno,
        /// The kernel's log.
        log: String,
    },
    /// An initial slot of a map of maps or a program array can not be filled.
    #[error("map '{map}': entry {slot}: {}", slot_reason(*errno))]
    MapEntry {
        /// The map.
        map: String,
        /// Its slot.
        slot: u32,
        /// What the kernel answered; `None` when the program or map for it was not loaded.
        errno: Option<Errno>,
    },
    /// Another map is pinned where a map of the object belongs.
    #[error("map '{map}': the one pinned at {} is another: {difference}", path.display())]
    PinIncompatible {
        /// The map.
        map: String,
        /// The pin.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// The section of a program does not name what its kind must be loaded for.
    #[error(
        "program '{prog}' (SEC(\"{section}\")): its section names no target, and such programs are loaded for one"
    )]
    NoAttachTarget {
        /// The program.
        prog: String,
        /// Its section.
        section: String,
    },
    /// The kernel does not have what a program is to be loaded for.
    #[error(
        "program '{prog}' (SEC(\"{section}\")): the kernel has no '{name}' in its types{}",
        did_you_mean(near)
    )]
    AttachTarget {
        /// The program.
        prog: String,
        /// Its section.
        section: String,
        /// Name of the type that was looked for.
        name: String,
        /// Names that resemble it.
        near: Vec<String>,
    },
    /// A kernel symbol without a type of which there are several.
    #[error("extern '{name}': the kernel has several symbols of this name")]
    AmbiguousKsym {
        /// The symbol.
        name: String,
    },
    /// Something that this backend does not do.
    #[error("{what} is not supported")]
    Unsupported {
        /// What, and where in the object.
        what: String,
    },
    /// A defect of Stylet.
    #[error("internal error: {what}")]
    Bug {
        /// What went wrong.
        what: String,
    },
    /// The object can not be fitted to the kernel.
    #[error(transparent)]
    Object(#[from] stylet_object::Error),
}

/// Why a kernel function cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unprobeable {
    /// It is in /sys/kernel/debug/kprobes/blacklist.
    #[error("it is on the kernel's blacklist (/sys/kernel/debug/kprobes/blacklist)")]
    Blacklisted,
    /// It is `notrace`, or too early: not in available_filter_functions.
    #[error("it is notrace: ftrace does not list it (available_filter_functions)")]
    NoTrace,
    /// The kernel's types name it, but it has no symbol.
    #[error("the compiler has inlined it everywhere: it has types but no symbol")]
    Inlined,
    /// The compiler made it into functions of other names.
    #[error("the compiler has replaced it by {}", names.join(", "))]
    Cloned {
        /// They.
        names: Vec<String>,
    },
    /// Several functions have the name.
    #[error(
        "{count} functions have this name; attach by address, or name the module as 'module:function'"
    )]
    Ambiguous {
        /// How many.
        count: usize,
    },
    /// No instruction starts at the offset, or it is behind the function.
    #[error("no instruction of it starts at offset {offset:#x}")]
    NotInstruction {
        /// Bytes from the function's start.
        offset: u64,
    },
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Missing { .. }
            | Error::Denied { .. }
            | Error::Sys { .. }
            | Error::Corrupt { .. }
            | Error::KprobesDisabled { .. }
            | Error::Tracefs { .. } => Fault::Environment,
            Error::Attach { .. }
            | Error::NoFunction { .. }
            | Error::Unprobeable { .. }
            | Error::NoSyscall { .. }
            | Error::NoProcess { .. }
            | Error::Symbols(_)
            | Error::LinkOp { .. }
            | Error::Pin { .. }
            | Error::MapUse { .. }
            | Error::NoGlobal { .. }
            | Error::TooLarge { .. } => Fault::Input,
            Error::Rejected { .. } => Fault::Verdict,
            Error::Bug { .. } => Fault::Bug,
            Error::MapRefused { .. }
            | Error::BtfRefused { .. }
            | Error::MapEntry { .. }
            | Error::PinIncompatible { .. }
            | Error::NoAttachTarget { .. }
            | Error::AttachTarget { .. }
            | Error::AmbiguousKsym { .. }
            | Error::Unsupported { .. }
            | Error::Object(_) => Fault::Input,
        }
    }

    /// Makes a [`Error::Sys`] out of an error number.
    pub(crate) fn sys(call: &'static str, what: impl Into<String>) -> impl FnOnce(Errno) -> Error {
        let what = what.into();
        move |errno| Error::Sys { call, errno, what }
    }

    /// A use that a map is not made for; the kernel was not asked.
    pub(crate) fn map_use(map: &Map, what: &'static str, why: &str) -> Error {
        let (map, map_type) = (map.name().to_string(), map.map_type());
        Error::MapUse { map, map_type, what, errno: None, why: why.to_string() }
    }

    /// The error number that the kernel answered, where it did.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Missing { errno, .. }
            | Error::Attach { errno, .. }
            | Error::Unprobeable { errno, .. }
            | Error::Tracefs { errno, .. }
            | Error::LinkOp { errno, .. }
            | Error::Pin { errno, .. }
            | Error::MapUse { errno, .. }
            | Error::MapEntry { errno, .. } => *errno,
            Error::Rejected { errno, .. }
            | Error::MapRefused { errno, .. }
            | Error::BtfRefused { errno, .. }
            | Error::Denied { errno, .. }
            | Error::Sys { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

/// First release and config option of a feature, as far as they are known.
fn advice(feature: Feature) -> String {
    let since =
        feature.since().map(|Release { major, minor }| format!("in Linux since {major}.{minor}"));
    let config = feature.config().map(|config| format!("needs {config}"));
    let parts: Vec<String> = since.into_iter().chain(config).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn slot_reason(errno: Option<Errno>) -> String {
    match errno {
        Some(errno) => format!("refused by the kernel: {errno}"),
        None => "what belongs there is not loaded".to_string(),
    }
}

fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!(" (did you mean {}?)", near.join(", ")) }
}

fn because(errno: Option<Errno>) -> String {
    errno.map_or_else(String::new, |errno| format!(": {errno}"))
}

/// The hint, or what the log says.
fn reason(log: &str, hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(|| last_line(log), |hint| format!(": {hint}"))
}

/// The last line of a verifier's log that is no statistics.
fn last_line(log: &str) -> String {
    let is_stats = |line: &&str| !line.is_empty() && !line.starts_with("processed ");
    log.lines()
        .rev()
        .map(str::trim)
        .find(is_stats)
        .map_or_else(String::new, |line| format!(": {line}"))
}
