//! The cases in a guest of another release (`cargo xtask verdicts`): this test program is its first process.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::kernel::{load, message};
use super::{Case, errno_name, target};
use stylet_btf::Btf;

/// Where the host puts the cases.
pub const CASES: &str = "/cases";
/// Last line of the results.
const END: &str = "END";

/// Loads every case and sends a line for each: name, verdict, errno, message. Then the machine ends.
pub fn main(cases: Vec<(String, PathBuf)>) -> ! {
    if let Err(e) = run(cases) {
        println!("verdicts: {e}");
    }
    // SAFETY: the guest's first process ends the guest.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    loop {
        std::thread::park();
    }
}

fn run(cases: Vec<(String, PathBuf)>) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    // SAFETY: the strings are constants that end in zero; a failure shows at the open below.
    unsafe {
        for (name, dir) in [(c"devtmpfs", c"/dev"), (c"sysfs", c"/sys")] {
            libc::mount(name.as_ptr(), dir.as_ptr(), name.as_ptr(), 0, std::ptr::null());
        }
        let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all);
    }
    let mut out = File::options().write(true).open("/dev/ttyS1").map_err(text)?;
    // The host takes a guest for dead that is silent for long; a million instructions take minutes here.
    let mut beat = out.try_clone().map_err(text)?;
    std::thread::spawn(move || {
        while beat.write_all(b"#\n").is_ok() {
            std::thread::sleep(std::time::Duration::from_secs(20));
        }
    });
    let btf = target::running()?;
    let cut: String = target::cut(&btf)?.iter().map(|byte| format!("{byte:02x}")).collect();
    out.write_all(format!("BTF\t{cut}\n").as_bytes()).map_err(text)?;
    for (name, path) in cases {
        println!("{name}");
        let line = format!("{name}\t{}\n", verdict(&path, &btf));
        out.write_all(line.as_bytes()).map_err(text)?;
    }
    out.write_all(format!("{END}\n").as_bytes()).map_err(text)?;
    // SAFETY: the descriptor is open.
    unsafe { libc::tcdrain(std::os::fd::AsRawFd::as_raw_fd(&out)) };
    Ok(())
}

/// `accept`, `reject ERRNO MESSAGE`, or `none REASON` when the kernel could not be asked; separated by tabs.
fn verdict(path: &Path, btf: &Btf) -> String {
    let line = |text: &str| text.trim().replace('\n', "\\n").replace('\t', " ");
    match Case::load(path, btf).and_then(|case| load(&case)) {
        Err(reason) => format!("none\t-\t{}", line(&reason)),
        Ok((Ok(()), _)) => "accept".into(),
        Ok((Err(e), log)) => format!("reject\t{}\t{}", errno_name(e), line(&message(&log).0)),
    }
}
