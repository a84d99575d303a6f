//! Programs started under control.

use crate::arena::{Arena, plain};
use crate::basic::probe;
use crate::parts::SITES;
use crate::trial;
use libtest_mimic::Trial;
use stylet_inject::{Command, Error, Kind, Target};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("spawn_sees_the_first_call", spawn),
        trial("spawn_errors", errors),
        trial("static_programs", statics),
    ]
}

fn spawn() {
    let exe = std::env::current_exe().unwrap();
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::spawn(Command::new(&exe).env("STYLET_TARGET", "once")).unwrap();
    assert!(target.is_held());
    let window = target.map_window(&arena.spec()).unwrap();
    let site =
        target.resolve(&format!("{}:probed_sum", exe.display()).parse().unwrap()).unwrap().site;
    for kind in [Kind::Entry, Kind::Return] {
        target.attach_probe(&probe(site, kind, plain(window, code))).unwrap();
    }
    assert_eq!(arena.word(0), 0);
    target.resume();
    assert_eq!(target.wait().unwrap(), 7 << 8);
    assert_eq!(arena.word(0), 2);
    assert!(SITES.len() > 1);
}

fn errors() {
    assert!(matches!(Target::spawn(Command::new("/no/such/program")), Err(Error::Spawn { .. })));
    let script = std::env::temp_dir().join(format!("stylet-inject-{}", std::process::id()));
    std::fs::write(&script, "no program").unwrap();
    assert!(matches!(Target::spawn(Command::new(&script)), Err(Error::Spawn { .. })));
    std::fs::remove_file(&script).unwrap();
    // Detached before it ever ran: it runs as if nothing had been.
    let arena = Arena::new();
    let mut target = Target::spawn(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap();
    target.map_window(&arena.spec()).unwrap();
    let pid = target.pid();
    assert_eq!(target.detach().unwrap().clean, [pid]);
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 3 << 8);
}

const SOURCE: &str = "int probed(int a) { return a * 2 + 1; }\nint main(void) { volatile int s = 0; int (*volatile f)(int) = probed; \
                      for (int i = 0; i < 10; i++) s += f(i); return s; }\n";

fn statics() {
    let dir = std::env::temp_dir().join(format!("stylet-inject-static-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("t.c"), SOURCE).unwrap();
    for flags in [
        &["-static"][..],
        &["-static-pie"],
        &["-no-pie"],
        &["-pie"],
        &["-static", "-fcf-protection=none", "-O2"],
    ] {
        let program = dir.join("t");
        let mut cc = std::process::Command::new("cc");
        cc.args(flags)
            .args(["-g0", "-o"])
            .arg(&program)
            .arg(dir.join("t.c"))
            .stderr(std::process::Stdio::null());
        if !cc.status().is_ok_and(|s| s.success()) {
            println!("skipped {flags:?}: `cc` cannot build it");
            continue;
        }
        let mut arena = Arena::new();
        let code = arena.counter(0);
        let mut target = Target::spawn(Command::new(&program)).unwrap();
        let window = target.map_window(&arena.spec()).unwrap();
        let site =
            target.resolve(&format!("{}:probed", program.display()).parse().unwrap()).unwrap();
        for kind in [Kind::Entry, Kind::Return] {
            target.attach_probe(&probe(site.site, kind, plain(window, code))).unwrap();
        }
        assert_eq!(target.wait().unwrap(), 100 << 8, "{flags:?}");
        assert_eq!(arena.word(0), 20, "{flags:?}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
