//! Boots one guest and collects what it reports.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::kernels::Kernel;
use super::report::{Event, KernelReport};

const QEMU: &str = "qemu-system-x86_64";

/// The kernel's command line. Grace periods of RCU are most of what detaching waits for, so they are expedited.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off random.trust_cpu=on no_timer_check \
     rcupdate.rcu_expedited=1";

/// How long a guest may be silent: while it boots, and between two results. Generous: hosts are busy.
const SILENCE: Duration = Duration::from_secs(180);

/// Status with which QEMU ends if the guest writes 0 (all as declared) or 1 (a test failed) to the exit device.
const EXITS: [i32; 2] = [1, 3];

/// Whether QEMU is there; the error says how to get it.
pub fn find_qemu() -> Result<(), String> {
    let out = Command::new(QEMU).arg("--version").output();
    out.map(drop).map_err(|e| format!("{QEMU}: {e} (package qemu-system-x86)"))
}

/// Boots `kernel`; `folder` takes the console's output and the results.
pub fn boot(kernel: &Kernel, initramfs: &Path, folder: &Path) -> Result<KernelReport, String> {
    let start = Instant::now();
    let run = raw(kernel, initramfs, folder)?;
    let events: Vec<Event> =
        run.results.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut report = KernelReport::new(kernel, events, run.boot, start.elapsed());
    match run.ended {
        Err(why) => report.broken = Some(why),
        Ok(status) if !report.complete || !status.code().is_some_and(|c| EXITS.contains(&c)) => {
            report.broken = Some(format!("the guest ended early ({status})"));
        }
        Ok(_) => {}
    }
    if report.broken.is_some() {
        let console =
            String::from_utf8_lossy(&std::fs::read(folder.join("console")).unwrap_or_default())
                .into_owned();
        let lines: Vec<&str> = console.lines().collect();
        report.console = lines[lines.len().saturating_sub(40)..].join("\n");
    }
    Ok(report)
}

/// What became of a guest.
pub struct Run {
    /// How QEMU ended, or why it was ended.
    pub ended: Result<ExitStatus, String>,
    /// What the guest wrote to its second serial line.
    pub results: String,
    /// When the first of it came, after QEMU's start; all the time there was if nothing came.
    pub boot: Duration,
}

/// Boots `kernel`; `folder` takes the console's output and the results.
pub fn raw(kernel: &Kernel, initramfs: &Path, folder: &Path) -> Result<Run, String> {
    let (console, results) = (folder.join("console"), folder.join("results"));
    let mut child = command(kernel, initramfs, &console, &results)
        .spawn()
        .map_err(|e| format!("{QEMU}: {e}"))?;
    let (ended, boot) = wait(&mut child, &results, SILENCE);
    let text = String::from_utf8_lossy(&std::fs::read(&results).unwrap_or_default()).into_owned();
    Ok(Run { ended, results: text.replace("\r\n", "\n"), boot })
}

/// QEMU's command line: emulated (a `/dev/kvm` that is there may hang), single-threaded (other modes oops now and then).
fn command(kernel: &Kernel, initramfs: &Path, console: &Path, results: &Path) -> Command {
    let mut command = Command::new(QEMU);
    command
        .args(["-accel", "tcg,thread=single", "-cpu", "max,la57=off", "-m", "512", "-smp", "1"])
        .args(["-nographic", "-nodefaults", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", results.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
        .stdin(Stdio::null());
    command
}

/// Waits for QEMU; ends it if the guest is silent for `silence`. How it ended, and when the guest was first heard.
fn wait(
    child: &mut Child,
    results: &Path,
    silence: Duration,
) -> (Result<ExitStatus, String>, Duration) {
    let start = Instant::now();
    let (mut length, mut heard, mut boot) = (0, start, None);
    let ended = loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => break Ok(status),
            Err(e) => break Err(format!("{QEMU}: {e}")),
        }
        let now = std::fs::metadata(results).map_or(0, |m| m.len());
        if now != length {
            (length, heard) = (now, Instant::now());
            boot.get_or_insert(start.elapsed());
        }
        if heard.elapsed() > silence {
            let _ = child.kill();
            let _ = child.wait();
            break Err(format!("the guest was silent for {} s", silence.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    (ended, boot.unwrap_or_else(|| start.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_hangs_is_ended() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let (ended, _) = wait(&mut child, Path::new("/no/results"), Duration::ZERO);
        assert_eq!(ended.unwrap_err(), "the guest was silent for 0 s");
        assert!(child.try_wait().unwrap().is_some());
    }

    #[test]
    fn a_guest_that_ends_is_heard() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let (ended, _) = wait(&mut child, Path::new("/no/results"), SILENCE);
        assert_eq!(ended.unwrap().code(), Some(3));
    }
}
