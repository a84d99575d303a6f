//! Whose an event is: part of its name.

use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Group (directory under `events/`) of all our events.
pub(super) const GROUP: &str = "stylet";
/// `MAX_EVENT_NAME_LEN` of kernel/trace/trace_probe.h, with the NUL.
const MAX_EVENT_NAME_LEN: usize = 64;

/// A process, unmistakably: its id, when it started, and the namespace in which the id counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// Clock ticks after boot.
    start: u64,
    /// Inode of the pid namespace.
    namespace: u64,
}

impl Owner {
    /// This process.
    fn own() -> Owner {
        static OWN: OnceLock<(u32, Owner)> = OnceLock::new();
        let pid = std::process::id();
        let look = || Owner { pid, start: start_of(pid).unwrap_or(0), namespace: namespace() };
        let (known, owner) = *OWN.get_or_init(|| (pid, look()));
        // A child made by fork has inherited what is known of its parent.
        if known == pid { owner } else { look() }
    }

    /// Whose event a name is: `pPID_START_NAMESPACE_…`, the last two in hexadecimal.
    pub fn parse(name: &str) -> Option<Owner> {
        let mut words = name.strip_prefix('p')?.split('_');
        let pid = words.next()?.parse().ok()?;
        let mut hex = || u64::from_str_radix(words.next()?, 16).ok();
        Some(Owner { pid, start: hex()?, namespace: hex()? })
    }

    /// Whether the process has ended. Of other namespaces nothing is known: theirs live.
    pub fn is_dead(&self) -> bool {
        self.namespace == namespace() && start_of(self.pid) != Some(self.start)
    }
}

/// A name that no other event has: this process, a number, and what is probed, as far as there is room.
pub(super) fn fresh_name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Owner { pid, start, namespace } = Owner::own();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = format!("p{pid}_{start:x}_{namespace:x}_{number}_");
    let room = MAX_EVENT_NAME_LEN - 1 - name.len().min(MAX_EVENT_NAME_LEN - 1);
    name.extend(what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(room));
    name
}

/// Field 22 of /proc/PID/stat; a zombie is as good as gone.
fn start_of(pid: u32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name in brackets may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?;
    if matches!(state, "Z" | "X") { None } else { words.nth(18)?.parse().ok() }
}

fn namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |data| data.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        let name = fresh_name("a/very-long.name_that_goes_on_and_on_and_on_and_on_and_on");
        assert!(
            name.len() < MAX_EVENT_NAME_LEN
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        );
        let owner = Owner::parse(&name).unwrap();
        assert_eq!(owner, Owner::own());
        assert!(!owner.is_dead());
        assert_ne!(name, fresh_name("a"));
        assert!(Owner { start: owner.start + 1, ..owner }.is_dead());
        assert!(!Owner { start: owner.start + 1, namespace: 1, ..owner }.is_dead());
        assert_eq!(Owner::parse("p_vfs_read_0"), None);
    }
}
