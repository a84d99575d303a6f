//! What becomes of links: pins, ends of processes, detached targets.

use std::path::Path;

use rustix::process::{Pid, Signal, WaitOptions};
use stylet_kernel::attach::{self, RawTpOpts, TracepointOpts};
use stylet_kernel::{Error, Link, LinkDetails, sys};
use stylet_uapi::{AttachType, Cmd, LinkType};

use super::raw_tp;
use crate::guest::Guest;
use crate::objects::{Object, global, system_call};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("a_pin_outlives_its_process", a_pin_outlives_its_process),
    Test::new("nothing_outlives_sigkill", nothing_outlives_sigkill),
    Test::new("unmounted_bpffs", unmounted_bpffs),
    Test::new("pin_exists", pin_exists),
    Test::new("detached_device", detached_device),
    Test::new("program_goes_first", program_goes_first),
];

const PIN: &str = "/sys/fs/bpf/vmtest_link";

/// Runs `body` in a child process, which then waits to be killed; returns once `body` is done.
fn child(body: impl FnOnce() -> Outcome) -> Result<Pid, Failure> {
    let (mut done, mut tell) = std::io::pipe()?;
    // SAFETY: a test's process has one thread, so the child's memory is a consistent copy.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(done);
        let said = match body() {
            Ok(()) => "done".to_string(),
            Err(failure) => format!("{failure:?}"),
        };
        let _ = std::io::Write::write_all(&mut tell, said.as_bytes());
        drop(tell);
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
    drop(tell);
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(std::io::Error::last_os_error)?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut done, &mut said)?;
    if said == "done" { Ok(pid) } else { Err(Failure::new(said)) }
}

fn kill(pid: Pid) -> Outcome {
    rustix::process::kill_process(pid, Signal::KILL)?;
    rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
    Ok(())
}

fn link_ids() -> Result<Vec<u32>, Failure> {
    let mut ids = Vec::new();
    while let Some(id) =
        sys::next_id(Cmd::LINK_GET_NEXT_ID, ids.last().copied().unwrap_or(0)).map_err(Failure::new)?
    {
        ids.push(id);
    }
    Ok(ids)
}

/// Waits until the kernel has freed what it frees later; gives up after a while.
fn until(mut holds: impl FnMut() -> Result<bool, Failure>) -> Result<bool, Failure> {
    for _ in 0..500 {
        if holds()? {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(false)
}

fn a_pin_outlives_its_process(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = raw_tp::object(guest)?.load(kernel, &["raw"])?;
    let pid = child(|| {
        let mut link = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default())?;
        link.pin(PIN)?;
        Ok(())
    })?;
    kill(pid)?;
    system_call();
    assert_eq!(global(&loaded, "raw_hits")?, 1, "the pin holds it");
    let link = Link::open_pinned(PIN)?;
    let info = link.info()?;
    assert!(matches!(&info.details, LinkDetails::RawTracepoint { tp_name, .. } if tp_name == "sys_enter"), "{info:?}");
    link.detach()?;
    assert!(!Path::new(PIN).exists());
    // The kernel frees the pin's inode, and with it the link, a moment later.
    assert!(until(|| Ok(!link_ids()?.contains(&info.id)))?);
    let before = global(&loaded, "raw_hits")?;
    system_call();
    assert_eq!(global(&loaded, "raw_hits")?, before);
    Ok(())
}

/// Links and perf events go with the last descriptor, which is closed however a process ends.
fn nothing_outlives_sigkill(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = raw_tp::object(guest)?.load(kernel, &["raw", "tp", "btf"])?;
    let before = link_ids()?;
    let pid = child(|| {
        let raw = attach::raw_tracepoint(kernel, loaded.prog("raw").ok_or(Failure::new("raw"))?, &RawTpOpts::default())?;
        let tp = attach::tracepoint(kernel, loaded.prog("tp").ok_or(Failure::new("tp"))?, &TracepointOpts::default())?;
        let btf = attach::auto(kernel, loaded.prog("btf").ok_or(Failure::new("btf"))?, &attach::AutoOpts::default())?;
        // Held until the kill.
        std::mem::forget((raw, tp, btf));
        Ok(())
    })?;
    assert!(link_ids()?.len() >= before.len() + 2);
    system_call();
    let hits = || -> Result<Vec<u64>, Failure> {
        ["raw_hits", "tp_hits", "btf_hits"].iter().map(|name| global(&loaded, name)).collect()
    };
    assert_eq!(hits()?, [1, 1, 1]);
    kill(pid)?;
    assert!(until(|| Ok(link_ids()? == before))?, "{:?}", link_ids()?);
    system_call();
    assert_eq!(hits()?, [1, 1, 1]);
    Ok(())
}

fn unmounted_bpffs(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = raw_tp::object(guest)?.load(kernel, &["raw"])?;
    while rustix::mount::unmount("/sys/fs/bpf", rustix::mount::UnmountFlags::empty()).is_ok() {}
    let mut link = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default())?;
    link.pin(PIN)?;
    assert!(Path::new(PIN).exists());
    link.detach()?;
    Ok(())
}

fn pin_exists(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    // Before 6.10 a tracepoint takes a program once.
    let loaded = raw_tp::object(guest)?.load(kernel, &["raw"])?;
    let again = raw_tp::object(guest)?.load(kernel, &["raw"])?;
    let mut one = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default())?;
    let mut other = attach::raw_tracepoint(kernel, &again.progs[0], &RawTpOpts::default())?;
    one.pin(PIN)?;
    let error = other.pin(PIN).err().ok_or_else(|| Failure::new("pinned twice"))?;
    assert_eq!(error.errno().map(|errno| errno.0), Some(libc::EEXIST), "{error}");
    assert!(error.to_string().contains("already"), "{error}");
    one.detach()?;
    other.pin(PIN)?;
    other.detach()?;
    Ok(())
}

/// A link on a device can be detached while it is held: what is left is a link to nothing.
fn detached_device(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "syscall")?.load(kernel, &["shorten"])?;
    let prog = std::os::fd::AsFd::as_fd(&loaded.progs[0]);
    const LOOPBACK: i32 = 1;
    // SKB mode (`XDP_FLAGS_SKB_MODE`): the loopback device has no other.
    let fd = sys::link_create(prog, LOOPBACK, AttachType::XDP, 2, &sys::LinkExtra::None).map_err(Failure::new)?;
    let path = std::ffi::CString::new(PIN).map_err(Failure::new)?;
    sys::pin(std::os::fd::AsFd::as_fd(&fd), &path).map_err(Failure::new)?;
    let link = Link::from_link(fd);
    let info = link.info()?;
    assert_eq!((info.link_type, &info.details), (LinkType::XDP, &LinkDetails::Xdp { ifindex: 1 }));
    link.update(&loaded.progs[0], None)?;
    link.detach()?;
    let left = Link::open_pinned(PIN)?;
    assert_eq!(left.info()?.details, LinkDetails::Xdp { ifindex: 0 }, "of no device any more");
    match left.update(&loaded.progs[0], None) {
        Err(error @ Error::LinkOp { .. }) => assert!(error.to_string().contains("it is detached"), "{error}"),
        other => return Err(Failure::new(format!("{other:?}"))),
    }
    left.detach()?;
    assert!(!Path::new(PIN).exists());
    Ok(())
}

/// The kernel keeps a program for its links: dropping ours detaches nothing.
fn program_goes_first(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let mut loaded = raw_tp::object(guest)?.load(kernel, &["raw"])?;
    let link = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default())?;
    loaded.progs.clear();
    system_call();
    assert_eq!(global(&loaded, "raw_hits")?, 1);
    assert_ne!(link.info()?.prog_id, 0);
    link.detach()?;
    Ok(())
}
