//! The first process of the guest: mounts what a system has, runs the tests, reports, ends the machine.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::process::WaitOptions;

use crate::event::Event;
use crate::guest::Guest;
use crate::test::{Test, Verdict, judge};
use crate::{leftover, runner, tests};

/// What is mounted where: type, directory, options. A kernel without one of them goes without.
const MOUNTS: [(&str, &str, &CStr); 10] = [
    ("proc", "/proc", c""),
    ("sysfs", "/sys", c""),
    ("devtmpfs", "/dev", c""),
    ("tmpfs", "/tmp", c""),
    ("tracefs", "/sys/kernel/tracing", c""),
    ("debugfs", "/sys/kernel/debug", c""),
    ("securityfs", "/sys/kernel/security", c""),
    ("bpf", "/sys/fs/bpf", c"mode=0700"),
    ("cgroup2", "/sys/fs/cgroup", c""),
    ("tmpfs", "/run", c""),
];

/// Names, or parts of names, of the tests to run, one a line; written into the initramfs by the host.
const FILTERS: &str = "/etc/vmtest.tests";

/// With so many tests, what they have in common is found out once; with fewer that takes longer than it saves.
const MANY: usize = 8;

/// The port of QEMU's `isa-debug-exit`: writing `n` ends QEMU with status `2n + 1`.
const EXIT_PORT: u16 = 0xf4;

/// Lets this process write to the exit device. Before the tests, as a kernel that is locked down does not.
fn open_exit_device() {
    // SAFETY: the port is QEMU's exit device: nothing of this process is touched.
    if unsafe { libc::ioperm(EXIT_PORT.into(), 4, 1) } != 0 {
        println!("vmtest: ioperm: {}", std::io::Error::last_os_error());
    }
}

/// Runs as process 1; ends the machine with 0 if every test ended as it should, 1 if not, 2 if they could not be run.
pub fn main() -> ! {
    open_exit_device();
    for (kind, directory, options) in MOUNTS {
        let made = std::fs::create_dir_all(directory);
        if let (Ok(()), Err(e)) = (made, mount(kind, directory, kind, MountFlags::empty(), options))
        {
            println!("{directory}: {e}");
        }
    }
    let code = match run_all() {
        Ok(0) => 0,
        Ok(_) => 1,
        Err(e) => {
            println!("vmtest: {e}");
            2
        }
    };
    power_off(code)
}

/// Runs the chosen tests; the number of those that failed.
fn run_all() -> Result<usize, String> {
    let mut report =
        File::options().write(true).open("/dev/ttyS1").map_err(|e| format!("/dev/ttyS1: {e}"))?;
    let uname = rustix::system::uname().release().to_string_lossy().into_owned();
    // A kernel of unknown configuration has none.
    let _ = std::fs::rename("/boot/config", format!("/boot/config-{uname}"));
    let filters = std::fs::read_to_string(FILTERS).unwrap_or_default();
    let guest =
        Guest::new(filters.lines().map(str::to_owned).collect()).map_err(|e| format!("{e:?}"))?;
    let chosen: Vec<(String, &Test)> = tests::all()
        .map(|(topic, test)| (format!("{topic}::{}", test.name), test))
        .filter(|(name, _)| {
            guest.filters.is_empty() || guest.filters.iter().any(|f| name.contains(f.as_str()))
        })
        .collect();
    send(&mut report, &Event::Boot { release: guest.kernel().running(), tests: chosen.len() })?;
    let before = leftover::all();
    let mut failed = 0;
    for (name, test) in &chosen {
        println!("vmtest: {name}");
        // Tests of the guest itself need none of it, and one loads a module, after which symbols would be read again.
        if chosen.len() >= MANY && !name.starts_with("env::") {
            guest.warm();
        }
        let run = runner::run(test, &guest);
        reap();
        let has_config = test.config.is_none_or(|option| guest.config(option).is_some());
        let (mut verdict, mut message) = judge(test, guest.release(), has_config, &run.outcome);
        let left = leftover::wait(&before);
        if !left.is_empty() {
            verdict = Verdict::Fail;
            message = format!("left behind: {}; {message}", left.join(", "));
            leftover::remove(&before);
        }
        failed += usize::from(verdict == Verdict::Fail);
        let output = if verdict == Verdict::Fail { run.output.as_str() } else { "" };
        let ms = u64::try_from(run.duration.as_millis()).unwrap_or(u64::MAX);
        send(&mut report, &Event::Test { name, verdict, message: &message, output, ms })?;
    }
    send(&mut report, &Event::End { failed })?;
    rustix::termios::tcdrain(&report).map_err(|e| format!("/dev/ttyS1: {e}"))?;
    Ok(failed)
}

/// Writes one event.
fn send(report: &mut File, event: &Event<'_>) -> Result<(), String> {
    let mut line = serde_json::to_vec(event).map_err(|e| e.to_string())?;
    line.push(b'\n');
    report.write_all(&line).map_err(|e| format!("/dev/ttyS1: {e}"))
}

/// Ends every process that a test left behind and takes their remains.
fn reap() {
    // SAFETY: plain system call; for process 1 it means all processes but itself.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::empty()) {}
}

/// Ends QEMU with `2 * code + 1`.
fn power_off(code: u32) -> ! {
    let _ = rustix::termios::tcdrain(std::io::stdout());
    // The emulated port still holds a line's last characters when the driver believes them sent.
    std::thread::sleep(Duration::from_millis(20));
    // SAFETY: writes to QEMU's exit device. Without the right to do so it ends this process, and with it the machine.
    unsafe {
        std::arch::asm!("out dx, eax", in("dx") EXIT_PORT, in("eax") code, options(nomem, nostack));
    }
    // Not under QEMU, or without the device: the panic that follows ends the machine with a status that is no success.
    std::process::exit(1)
}
