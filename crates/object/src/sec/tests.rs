use alloc::string::ToString;

use super::*;

fn target(section: &str) -> AttachTarget {
    SecSpec::parse(section).unwrap().target
}

#[test]
fn first_match_wins_and_plus_needs_a_separator() {
    assert_eq!(SecDef::find("kprobe.multi/x").unwrap().sec, "kprobe.multi+");
    assert_eq!(SecDef::find("kprobe").unwrap().sec, "kprobe+");
    assert_eq!(SecDef::find("kprobes"), None);
    assert_eq!(SecDef::find("xdp/devmap").unwrap().attach_type, AttachType::XDP_DEVMAP);
    assert_eq!(SecDef::find("xdp/other"), None);
    assert_eq!(SecDef::find("syscall/x"), None);
    assert!(SecSpec::parse("syscall").unwrap().is_sleepable());
}

#[test]
fn near_names() {
    assert_eq!(SecDef::near("kprob/foo")[0], "kprobe");
    assert_eq!(SecDef::near("kprobes/foo")[0], "kprobe");
    assert_eq!(SecDef::near("uretprobe_x")[0], "uretprobe");
    assert_eq!(SecDef::near("raw_tracepont/x")[0], "raw_tracepoint");
    assert!(SecDef::near("entirely different").is_empty());
}

#[test]
fn kprobes() {
    let kprobe =
        |func: &str, offset, ret| AttachTarget::Kprobe { func: func.to_string(), offset, ret };
    assert_eq!(target("kprobe"), AttachTarget::None);
    assert_eq!(target("kprobe/do_x.isra.0+0x10"), kprobe("do_x.isra.0", 16, false));
    assert_eq!(target("kprobe/f+010"), kprobe("f", 8, false));
    assert_eq!(target("kretprobe/f"), kprobe("f", 0, true));
    assert!(matches!(target("kretprobe/f+1"), AttachTarget::Invalid { .. }));
    assert!(matches!(target("kprobe/"), AttachTarget::Invalid { .. }));
    assert!(matches!(target("kprobe/f+-1"), AttachTarget::Invalid { .. }));
    assert_eq!(
        target("kprobe.session/tcp_*"),
        AttachTarget::KprobeMulti { pattern: "tcp_*".to_string(), ret: false, session: true }
    );
}

#[test]
fn uprobes() {
    let uprobe = |path: &str, func: &str, offset, ret| AttachTarget::Uprobe {
        path: path.to_string(),
        func: func.to_string(),
        offset,
        ret,
    };
    assert_eq!(target("uprobe/libc.so.6:malloc"), uprobe("libc.so.6", "malloc", 0, false));
    assert_eq!(target("uprobe.s//bin/a:f+4"), uprobe("/bin/a", "f", 4, false));
    assert_eq!(target("uprobe//bin/a:operator+x"), uprobe("/bin/a", "operator+x", 0, false));
    assert_eq!(target("uretprobe.s//bin/a:f@V_1"), uprobe("/bin/a", "f@V_1", 0, true));
    assert!(matches!(target("uprobe//bin/a"), AttachTarget::Invalid { .. }));
    assert_eq!(
        target("uretprobe.multi.s/a:b*"),
        AttachTarget::UprobeMulti {
            path: "a".to_string(),
            pattern: "b*".to_string(),
            ret: true,
            session: false
        }
    );
    assert_eq!(
        target("usdt/libc.so.6:libc:setjmp"),
        AttachTarget::Usdt {
            path: "libc.so.6".to_string(),
            provider: "libc".to_string(),
            name: "setjmp".to_string()
        }
    );
}

#[test]
fn others() {
    assert_eq!(
        target("tp/sched/sched_switch"),
        AttachTarget::Tracepoint {
            category: "sched".to_string(),
            name: "sched_switch".to_string()
        }
    );
    assert_eq!(
        target("raw_tp.w/x"),
        AttachTarget::RawTracepoint { name: "x".to_string(), writable: true }
    );
    assert_eq!(
        target("fexit.s/f"),
        AttachTarget::Tracing { kind: TracingKind::Fexit, target: "f".to_string() }
    );
    assert_eq!(
        target("kretsyscall/nanosleep"),
        AttachTarget::Ksyscall { name: "nanosleep".to_string(), ret: true }
    );
    assert_eq!(target("lsm.s/file_open"), AttachTarget::Lsm { hook: "file_open".to_string() });
    assert_eq!(target("perf_event"), AttachTarget::None);
    assert_eq!(target("xdp/devmap"), AttachTarget::None);
}
