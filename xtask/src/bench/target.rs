//! The process that is probed: it calls one small function in a loop and says what a call cost.
//!
//! Protocol, a line each: it prints `PID ADDRESS FILE_OFFSET` (hexadecimal but for the pid), then answers every line `N` by
//! calling the function N times and printing the nanoseconds a call took (thread CPU time).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

core::arch::global_asm!(
    ".globl stylet_bench_site",
    ".type stylet_bench_site, @function",
    ".p2align 4",
    "stylet_bench_site:",
    // The five-byte nop is the kernel's best case: it needs no single-stepping and, from 6.18, no trap.
    ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00",
    "lea rax, [rdi + 1]",
    "ret",
    ".p2align 4",
    ".size stylet_bench_site, . - stylet_bench_site",
);

unsafe extern "C" {
    fn stylet_bench_site(n: u64) -> u64;
}

/// Name of the probed function in this executable.
pub const SITE: &str = "stylet_bench_site";

/// The child's side: serves until its input ends.
pub fn serve() -> Result<(), String> {
    let address = stylet_bench_site as *const () as usize;
    let offset = file_offset(address)?;
    println!("{} {address:x} {offset:x}", std::process::id());
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let n: u64 = line.trim().parse().map_err(|_| format!("not a count: {line}"))?;
        let begin = cpu_ns();
        let mut value = 0;
        for _ in 0..n {
            // SAFETY: the function above adds one to its argument and touches nothing else.
            value = unsafe { stylet_bench_site(value) };
        }
        let spent = cpu_ns() - begin;
        if value != n {
            return Err(format!("the probed function was disturbed: {value} for {n}"));
        }
        println!("{}", spent as f64 / n as f64);
        std::io::stdout().flush().map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn cpu_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the result.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Offset in the executable's file of a mapped address.
fn file_offset(address: usize) -> Result<usize, String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|e| e.to_string())?;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().and_then(|r| r.split_once('-'));
        let offset = fields.nth(1).map(|o| usize::from_str_radix(o, 16));
        if let (Some((start, end)), Some(Ok(offset))) = (range, offset) {
            let start = usize::from_str_radix(start, 16).unwrap_or(0);
            let end = usize::from_str_radix(end, 16).unwrap_or(0);
            if (start..end).contains(&address) {
                return Ok(address - start + offset);
            }
        }
    }
    Err("the probed function is not in /proc/self/maps".into())
}

/// The parent's side: a running target.
pub struct Target {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Process number.
    pub pid: i32,
    /// Offset of the site in the executable's file.
    pub file_offset: u64,
}

impl Target {
    /// Starts the target: this executable with `bench target`.
    pub fn start() -> Result<Target, String> {
        let exe = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut child = Command::new(exe)
            .args(["bench", "target"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut hello = String::new();
        output.read_line(&mut hello).map_err(|e| e.to_string())?;
        let words: Vec<&str> = hello.split_whitespace().collect();
        let [pid, _, offset] = words[..] else { return Err(format!("target said: {hello}")) };
        Ok(Target {
            child,
            input,
            output,
            pid: pid.parse().map_err(|_| "bad pid")?,
            file_offset: u64::from_str_radix(offset, 16).map_err(|_| "bad offset")?,
        })
    }

    /// Calls the function `n` times: nanoseconds a call.
    pub fn run(&mut self, n: u64) -> Result<f64, String> {
        writeln!(self.input, "{n}").map_err(|e| e.to_string())?;
        self.input.flush().map_err(|e| e.to_string())?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|e| e.to_string())?;
        line.trim().parse().map_err(|_| format!("target said: {line}"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // The target is our own child; it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
