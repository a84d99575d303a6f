//! Why a call is not permitted.

use crate::sys::Errno;

/// Bits of capabilities (include/uapi/linux/capability.h).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What this process may, from `/proc/self/status` and its neighbours.
#[derive(Clone, Debug, Default)]
struct Rights {
    caps: u64,
    seccomp: bool,
    user_namespace: bool,
    /// `integrity` or `confidentiality`.
    lockdown: Option<String>,
}

/// What would permit a call that ended with `errno`.
pub(super) fn advice(errno: Errno, memlock: bool) -> String {
    let rights = Rights::read();
    explain(errno, memlock, &rights)
}

fn explain(errno: Errno, memlock: bool, rights: &Rights) -> String {
    let has = |cap: u32| rights.caps >> cap & 1 != 0;
    let seccomp = "a seccomp filter (a container's?) forbids it";
    if errno == Errno(libc::ENOSYS) {
        let reason = "this kernel has no bpf(2): it needs CONFIG_BPF_SYSCALL";
        return if rights.seccomp { format!("{reason}; or {seccomp}") } else { reason.to_string() };
    }
    let enough = has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON));
    if !enough {
        return "needs root, or CAP_BPF and CAP_PERFMON (Linux 5.8 and later)".to_string();
    }
    let mut reasons = Vec::new();
    if rights.user_namespace {
        reasons.push(
            "root of a user namespace is not enough: it must be the machine's own root".to_string(),
        );
    }
    if let Some(mode) = &rights.lockdown {
        reasons.push(format!(
            "the kernel is locked down ({mode}): boot with lockdown=none, or without Secure Boot"
        ));
    }
    if rights.seccomp {
        reasons.push(seccomp.to_string());
    }
    if memlock {
        reasons.push("too little memory may be locked: raise 'ulimit -l'".to_string());
    }
    if reasons.is_empty() {
        reasons.push("a security module of the kernel forbids it".to_string());
    }
    reasons.join("; or ")
}

impl Rights {
    fn read() -> Rights {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or("")
        };
        let map = text("/proc/self/uid_map");
        let whole = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
        let lockdown = text("/sys/kernel/security/lockdown");
        let mode = lockdown.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        Rights {
            caps: u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0),
            seccomp: field("Seccomp:") == "2",
            user_namespace: !map.is_empty() && !whole,
            lockdown: mode.map(|(mode, _)| mode.to_string()).filter(|mode| mode != "none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPERM: Errno = Errno(libc::EPERM);
    const ROOT: u64 = (1 << 41) - 1;

    #[test]
    fn each_cause_has_its_own_words() {
        let rights = |caps| Rights { caps, ..Rights::default() };
        assert!(explain(EPERM, false, &rights(0)).contains("CAP_BPF"));
        assert!(explain(EPERM, false, &rights(1 << CAP_BPF)).contains("CAP_PERFMON"));
        assert!(explain(EPERM, true, &rights(ROOT)).contains("ulimit -l"));
        let locked = Rights { lockdown: Some("confidentiality".into()), ..rights(ROOT) };
        assert!(explain(EPERM, false, &locked).contains("locked down (confidentiality)"));
        let contained = Rights { seccomp: true, ..rights(ROOT) };
        assert!(explain(EPERM, false, &contained).contains("seccomp"));
        assert!(explain(Errno(libc::ENOSYS), false, &contained).contains("CONFIG_BPF_SYSCALL"));
        let namespaced = Rights { user_namespace: true, ..rights(ROOT) };
        assert!(explain(EPERM, false, &namespaced).contains("user namespace"));
    }
}
