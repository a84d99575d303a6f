//! What a program attaches to, from its section name.
//!
//! The syntax of each kind is that of libbpf's auto-attach functions (`attach_kprobe`, `attach_uprobe`, ...).

use alloc::string::{String, ToString};

/// What a section name says a program attaches to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AttachTarget {
    /// The name says no target (`SEC("kprobe")`), or the kind has none: attached by hand.
    #[default]
    None,
    /// `kprobe/func+off`, `kretprobe/func`.
    Kprobe {
        /// Kernel function.
        func: String,
        /// Bytes from its start.
        offset: u64,
        /// At its return.
        ret: bool,
    },
    /// `kprobe.multi/pattern`, `kretprobe.multi/...`, `kprobe.session/...`.
    KprobeMulti {
        /// Glob over kernel functions (`*`, `?`).
        pattern: String,
        /// At the return.
        ret: bool,
        /// At entry and return.
        session: bool,
    },
    /// `uprobe/path:func+off`, `uretprobe/path:func`.
    Uprobe {
        /// Path or name of the binary, as written.
        path: String,
        /// Function (maybe `name@VERSION`), or an offset in the file as text.
        func: String,
        /// Bytes from its start.
        offset: u64,
        /// At its return.
        ret: bool,
    },
    /// `uprobe.multi/path:pattern`, `uretprobe.multi/...`, `uprobe.session/...`.
    UprobeMulti {
        /// Path or name of the binary, as written.
        path: String,
        /// Glob over its functions.
        pattern: String,
        /// At the return.
        ret: bool,
        /// At entry and return.
        session: bool,
    },
    /// `usdt/path:provider:name`.
    Usdt {
        /// Path or name of the binary, as written.
        path: String,
        /// Provider of the marker.
        provider: String,
        /// Name of the marker.
        name: String,
    },
    /// `ksyscall/name`, `kretsyscall/name`.
    Ksyscall {
        /// System call, without an architecture's prefix.
        name: String,
        /// At its return.
        ret: bool,
    },
    /// `tracepoint/category/name`, `tp/...`.
    Tracepoint {
        /// Category (directory in tracefs).
        category: String,
        /// Event.
        name: String,
    },
    /// `raw_tracepoint/name`, `raw_tp/...`.
    RawTracepoint {
        /// Tracepoint.
        name: String,
        /// `raw_tp.w`: may write its buffer.
        writable: bool,
    },
    /// `fentry/func` and its neighbours, `tp_btf/name`, `freplace/func`.
    Tracing {
        /// Which of them.
        kind: TracingKind,
        /// Kernel function, tracepoint, or function of another program; a pattern for the multi kinds.
        target: String,
    },
    /// `iter/target`.
    Iter {
        /// Target (`task`, `bpf_map`, ...).
        target: String,
    },
    /// `lsm/hook`, `lsm_cgroup/hook`.
    Lsm {
        /// LSM hook, without `bpf_lsm_`.
        hook: String,
    },
    /// Any other kind that lets text follow.
    Other {
        /// That text.
        target: String,
    },
    /// Text that the kind does not allow: the program loads, but cannot be attached by its section name.
    Invalid {
        /// What is wrong.
        reason: &'static str,
    },
}

/// Kinds of [`AttachTarget::Tracing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TracingKind {
    /// `fentry`
    Fentry,
    /// `fexit`
    Fexit,
    /// `fmod_ret`
    FmodRet,
    /// `fsession`
    Fsession,
    /// `fentry.multi`
    FentryMulti,
    /// `fexit.multi`
    FexitMulti,
    /// `fsession.multi`
    FsessionMulti,
    /// `tp_btf`
    TpBtf,
    /// `freplace`
    Freplace,
}

const INVALID_FORMAT: AttachTarget =
    AttachTarget::Invalid { reason: "expected `<path>:<function>`" };

impl AttachTarget {
    /// Parses the target out of `section`, which is of the table's row `def` (name without `+`).
    pub(super) fn parse(def: &str, section: &str) -> AttachTarget {
        let rest = &section[def.len().min(section.len())..];
        let Some(text) = rest.strip_prefix('/') else {
            return AttachTarget::None;
        };
        let plain = def.strip_suffix(".s").unwrap_or(def);
        let ret = plain.starts_with("kret") || plain.starts_with("uret");
        match plain {
            "kprobe" | "kretprobe" => kprobe(text, ret),
            "kprobe.multi" | "kretprobe.multi" | "kprobe.session" => {
                kprobe_multi(text, ret, plain.ends_with("session"))
            }
            "uprobe" | "uretprobe" => uprobe(text, ret),
            "uprobe.multi" | "uretprobe.multi" | "uprobe.session" => match path_and_func(text) {
                Some((path, pattern)) => AttachTarget::UprobeMulti {
                    path: path.to_string(),
                    pattern: pattern.to_string(),
                    ret,
                    session: plain.ends_with("session"),
                },
                None => INVALID_FORMAT,
            },
            "usdt" => usdt(text),
            "ksyscall" | "kretsyscall" if text.is_empty() => {
                AttachTarget::Invalid { reason: "no system call is named" }
            }
            "ksyscall" | "kretsyscall" => AttachTarget::Ksyscall { name: text.to_string(), ret },
            "tracepoint" | "tp" => match text.split_once('/') {
                Some((category, name)) => AttachTarget::Tracepoint {
                    category: category.to_string(),
                    name: name.to_string(),
                },
                None => AttachTarget::Invalid { reason: "expected `<category>/<name>`" },
            },
            "raw_tracepoint" | "raw_tp" | "raw_tracepoint.w" | "raw_tp.w" => {
                AttachTarget::RawTracepoint {
                    name: text.to_string(),
                    writable: plain.ends_with(".w"),
                }
            }
            "iter" => AttachTarget::Iter { target: text.to_string() },
            "lsm" | "lsm_cgroup" => AttachTarget::Lsm { hook: text.to_string() },
            _ => match TracingKind::of(plain) {
                Some(kind) => AttachTarget::Tracing { kind, target: text.to_string() },
                None => AttachTarget::Other { target: text.to_string() },
            },
        }
    }
}

impl TracingKind {
    fn of(plain: &str) -> Option<TracingKind> {
        Some(match plain {
            "fentry" => TracingKind::Fentry,
            "fexit" => TracingKind::Fexit,
            "fmod_ret" => TracingKind::FmodRet,
            "fsession" => TracingKind::Fsession,
            "fentry.multi" => TracingKind::FentryMulti,
            "fexit.multi" => TracingKind::FexitMulti,
            "fsession.multi" => TracingKind::FsessionMulti,
            "tp_btf" => TracingKind::TpBtf,
            "freplace" => TracingKind::Freplace,
            _ => return None,
        })
    }
}

fn kprobe(text: &str, ret: bool) -> AttachTarget {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (func, rest) = text.split_at(end);
    if func.is_empty() {
        return AttachTarget::Invalid { reason: "no function is named" };
    }
    let offset = match rest.strip_prefix('+') {
        Some(number) => parse_long(number).map_or(0, |(value, _)| value),
        None => 0,
    };
    if offset < 0 {
        return AttachTarget::Invalid { reason: "the offset is negative" };
    }
    if ret && offset != 0 {
        return AttachTarget::Invalid { reason: "a return probe takes no offset" };
    }
    AttachTarget::Kprobe { func: func.to_string(), offset: offset as u64, ret }
}

fn kprobe_multi(text: &str, ret: bool, session: bool) -> AttachTarget {
    let is_glob = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '*' | '?');
    let end = text.find(|c| !is_glob(c)).unwrap_or(text.len());
    match &text[..end] {
        "" => AttachTarget::Invalid { reason: "the pattern is empty" },
        pattern => AttachTarget::KprobeMulti { pattern: pattern.to_string(), ret, session },
    }
}

fn uprobe(text: &str, ret: bool) -> AttachTarget {
    let Some((path, mut func)) = path_and_func(text) else {
        return INVALID_FORMAT;
    };
    let mut offset = 0;
    if let Some((name, number)) = func.rsplit_once('+')
        && let Some((value, "")) = parse_long(number)
    {
        (func, offset) = (name, value);
    }
    if ret && offset != 0 {
        return AttachTarget::Invalid { reason: "a return probe takes no offset" };
    }
    if offset < 0 {
        return AttachTarget::Invalid { reason: "the offset is negative" };
    }
    AttachTarget::Uprobe {
        path: path.to_string(),
        func: func.to_string(),
        offset: offset as u64,
        ret,
    }
}

fn path_and_func(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(path, func)| !path.is_empty() && !func.is_empty())
}

fn usdt(text: &str) -> AttachTarget {
    let mut parts = text.split(':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(path), Some(provider), Some(name))
            if !path.is_empty() && !provider.is_empty() && !name.is_empty() =>
        {
            AttachTarget::Usdt {
                path: path.to_string(),
                provider: provider.to_string(),
                name: name.to_string(),
            }
        }
        _ => AttachTarget::Invalid { reason: "expected `<path>:<provider>:<name>`" },
    }
}

/// A C `long` with an automatic base (`%li`) at the start of `text`, and what follows it.
/// A number that does not fit saturates.
fn parse_long(text: &str) -> Option<(i64, &str)> {
    let text = text.trim_start();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = match hex {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, hex),
        _ if digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let value = i64::from_str_radix(&digits[..end], radix).unwrap_or(i64::MAX);
    Some((if negative { -value } else { value }, &digits[end..]))
}
