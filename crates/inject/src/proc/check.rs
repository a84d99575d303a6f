//! May this process be traced, and if not, what would help.

use crate::{Error, Result};

/// The fields of /proc/PID/status and stat that decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// State letter (`R S D Z T t X I`).
    pub state: char,
    /// Real user id.
    pub uid: u32,
    /// Process that traces it, 0 for none.
    pub tracer: i32,
    /// Seccomp mode: 0, 1 strict, 2 filter.
    pub seccomp: u32,
    /// Number of seccomp filters.
    pub filters: u32,
    /// Thread group id.
    pub tgid: i32,
    /// Has an address space of its own (kernel threads have none).
    pub has_memory: bool,
    /// `x86_Thread_features` names `shstk`: user shadow stacks are on.
    pub shadow_stack: bool,
    /// Signals pending for the thread or the process and not blocked.
    pub pending: u64,
}

impl Status {
    /// Reads /proc/PID/status; also of a thread id.
    pub fn of(pid: i32) -> Result<Status> {
        Ok(Self::parse(&String::from_utf8_lossy(&super::read(pid, "status")?)))
    }

    fn parse(text: &str) -> Status {
        let mut status = Status { state: '?', ..Status::default() };
        let (mut pending, mut blocked) = (0, 0);
        let mask = |v: &str| u64::from_str_radix(v, 16).unwrap_or(0);
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "State" => status.state = value.chars().next().unwrap_or('?'),
                "Uid" => {
                    status.uid =
                        value.split_whitespace().next().and_then(|v| v.parse().ok()).unwrap_or(0)
                }
                "TracerPid" => status.tracer = value.parse().unwrap_or(0),
                "Tgid" => status.tgid = value.parse().unwrap_or(0),
                "Seccomp" => status.seccomp = value.parse().unwrap_or(0),
                "Seccomp_filters" => status.filters = value.parse().unwrap_or(0),
                "VmSize" => status.has_memory = true,
                "x86_Thread_features" => {
                    status.shadow_stack = value.split_whitespace().any(|w| w == "shstk")
                }
                "SigPnd" | "ShdPnd" => pending |= mask(value),
                "SigBlk" => blocked = mask(value),
                _ => {}
            }
        }
        status.pending = pending & !blocked;
        status
    }

    /// The process runs under seccomp filters that this process does not run under: a system call that is harmless here may
    /// be deadly there. In a container both have the container's filters.
    pub fn has_foreign_filters(&self) -> bool {
        let own = Status::of(std::process::id() as i32).unwrap_or_default();
        self.seccomp == 2 && (own.seccomp != 2 || own.filters != self.filters)
    }
}

/// What would grant permission to trace a process.
pub(crate) fn advice(pid: i32) -> String {
    // SAFETY: geteuid has no preconditions.
    let me = unsafe { libc::geteuid() };
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    let scope = scope.as_deref().map(str::trim).unwrap_or("absent");
    let owner = Status::of(pid).map(|s| s.uid);
    let mut parts = Vec::new();
    match owner {
        Ok(uid) if uid != me => parts.push(format!("it belongs to uid {uid}, you are uid {me}: run as uid {uid} or with CAP_SYS_PTRACE")),
        _ => parts.push(format!("your uid {me} owns it, but it may be privileged (set-user-ID, file capabilities, not dumpable): CAP_SYS_PTRACE helps")),
    }
    match scope {
        "1" => parts.push("kernel.yama.ptrace_scope=1 allows only your own children: set it to 0, or start the program with stylet, or use CAP_SYS_PTRACE".into()),
        "2" => parts.push("kernel.yama.ptrace_scope=2 requires CAP_SYS_PTRACE".into()),
        "3" => parts.push("kernel.yama.ptrace_scope=3 forbids tracing until reboot".into()),
        _ => {}
    }
    parts.join("; ")
}

/// Checks that a process exists and can in principle be traced.
pub fn check(pid: i32) -> Result<Status> {
    let status = Status::of(pid)?;
    match status.state {
        'Z' => return Err(Error::Zombie { pid }),
        'X' | 'x' => return Err(Error::Gone { pid }),
        _ => {}
    }
    if !status.has_memory {
        return Err(Error::KernelThread { pid });
    }
    if status.tracer != 0 {
        return Err(Error::AlreadyTraced { pid, tracer: status.tracer });
    }
    if status.seccomp == 1 {
        return Err(Error::Seccomp { pid, mode: "strict", advice: "" });
    }
    check_arch(pid)?;
    Ok(status)
}

/// Checks the architecture of a program that this process has just started.
pub fn check_started(pid: i32) -> Result<()> {
    check_arch(pid)
}

fn check_arch(pid: i32) -> Result<()> {
    use std::io::Read;
    let mut head = [0u8; 20];
    let path = format!("/proc/{pid}/exe");
    std::fs::File::open(path)
        .and_then(|mut f| f.read_exact(&mut head))
        .map_err(|e| super::file_error(pid, "exe", e))?;
    let machine = u16::from_le_bytes([head[18], head[19]]);
    let what = match (&head[..4], head[4], machine) {
        (b"\x7fELF", 2, 62) => return Ok(()),
        (b"\x7fELF", 1, 3) => "a 32-bit x86 executable".to_owned(),
        (b"\x7fELF", 1, 62) => "an x32 executable".to_owned(),
        (b"\x7fELF", class, m) => format!("an ELF executable of class {class}, machine {m}"),
        _ => "an executable that is no ELF file".to_owned(),
    };
    Err(Error::ForeignArch { pid, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_fields() {
        let text = "Name:\tx y\nState:\tS (sleeping)\nTgid:\t7\nTracerPid:\t9\nUid:\t1000\t1000\t1000\t1000\nVmSize:\t 1 kB\n\
                    SigPnd:\t0000000000000001\nShdPnd:\t0000000000000006\nSigBlk:\t0000000000000002\nSeccomp:\t2\nSeccomp_filters:\t3\n\
                    x86_Thread_features:\tshstk wrss \n";
        let expect = Status {
            state: 'S',
            uid: 1000,
            tracer: 9,
            seccomp: 2,
            filters: 3,
            tgid: 7,
            has_memory: true,
            shadow_stack: true,
            pending: 5,
        };
        assert_eq!(Status::parse(text), expect);
    }

    #[test]
    fn odd_processes_are_refused() {
        assert!(matches!(check(i32::MAX), Err(Error::Gone { .. })));
        if std::fs::read_to_string("/proc/2/comm").is_ok_and(|c| c.trim() == "kthreadd") {
            assert!(matches!(check(2), Err(Error::KernelThread { pid: 2 })));
        }
    }
}
