//! `cargo xtask bench probes`: what a probe costs a call, beside the kernel's uprobe on the same five-byte nop.
//!
//! Every round measures the bare call, each program on the user backend and each program in the kernel, one after the other
//! in the same process; the figures are medians over the rounds of the cost over the bare call of the same round.

use super::kernel;
use super::target::{SITE, Target};
use stylet::user::Session;
use stylet::{AttachOptions, LoadOptions, Object, Override, Spec};

/// Programs measured: name, and whether they run at the return.
const PROGS: [(&str, bool); 10] = [
    ("empty", false),
    ("empty_ret", true),
    ("cpu_slot", false),
    ("pid_tgid", false),
    ("hash_lookup", false),
    ("hash_update", false),
    ("hash_count", false),
    ("percpu_count", false),
    ("ringbuf_event", false),
    ("read_user", false),
];
/// Rounds.
const ROUNDS: usize = 9;
/// Calls a measurement on the user backend, and in the kernel, where a call costs a hundred times more.
const CALLS: u64 = 2_000_000;
const KERNEL_CALLS: u64 = 50_000;

/// Costs of one program in nanoseconds a call, one a round.
#[derive(Default)]
struct Row {
    user: Vec<f64>,
    kernel: Vec<f64>,
}

/// Runs the benchmark and prints a table.
pub fn run(root: &std::path::Path) -> Result<(), String> {
    let path = root.join("bench/probes/probes.bpf.o");
    let object = Object::open(&path).map_err(|e| e.to_string())?;
    let mut target = Target::start()?;
    let mut rows: Vec<Row> = PROGS.iter().map(|_| Row::default()).collect();
    let mut bare = Vec::new();
    let mut kernel_error = None;
    target.run(CALLS)?;
    for _ in 0..ROUNDS {
        for (row, (name, ret)) in rows.iter_mut().zip(PROGS) {
            let base = target.run(CALLS)?;
            bare.push(base);
            row.user.push(user(&object, &mut target, name)? - base);
            match in_kernel(object.spec(), &mut target, name, ret) {
                Ok(cost) => row.kernel.push(cost - base),
                Err(error) => kernel_error = Some(error),
            }
        }
    }
    print(&mut bare, rows, kernel_error);
    Ok(())
}

fn user(object: &Object, target: &mut Target, name: &str) -> Result<f64, String> {
    let text = |e: stylet::Error| e.to_string();
    let mut object = object.clone();
    for (other, _) in PROGS {
        object.set_autoload(other, other == name).map_err(text)?;
    }
    let mut session = Session::new().map_err(text)?;
    session.load(&object, &LoadOptions::default()).map_err(text)?;
    let id = session.attach_pid(target.pid).map_err(text)?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let to = Override::parse(&format!("{}:{SITE}", exe.display())).map_err(text)?;
    let options = AttachOptions { overrides: vec![to], ..AttachOptions::default() };
    session.attach_all(&[id], &options).map_err(text)?;
    let cost = target.run(CALLS);
    session.detach_all().map_err(text)?;
    cost
}

fn in_kernel(spec: &Spec, target: &mut Target, name: &str, ret: bool) -> Result<f64, String> {
    let prog = spec.prog(name).ok_or("no such program")?;
    let _probe = kernel::attach(spec, prog, target.pid, target.file_offset, ret)?;
    target.run(KERNEL_CALLS)
}

fn print(bare: &mut [f64], rows: Vec<Row>, kernel_error: Option<String>) {
    println!("bare call: {:.2} ns (spread {:.0}%)", median(bare), spread(bare));
    println!(
        "{:<16}{:>12}{:>9}{:>14}{:>9}{:>10}",
        "ns over bare", "user", "spread", "kernel", "spread", "ratio"
    );
    for ((name, _), mut row) in PROGS.into_iter().zip(rows) {
        let user = median(&mut row.user);
        let user_spread = spread(&row.user);
        if row.kernel.is_empty() {
            println!("{name:<16}{user:>12.1}{user_spread:>8.0}%{:>14}", "-");
            continue;
        }
        let kernel = median(&mut row.kernel);
        let kernel_spread = spread(&row.kernel);
        println!(
            "{name:<16}{user:>12.1}{user_spread:>8.0}%{kernel:>14.1}{kernel_spread:>8.0}%{:>9.0}x",
            kernel / user.max(0.1)
        );
    }
    if let Some(error) = kernel_error {
        eprintln!("the kernel's figures are missing: {error}");
    }
}

/// The middle value; sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Distance of the quartiles in percent of the median, of sorted values.
fn spread(sorted: &[f64]) -> f64 {
    let at = |q: usize| sorted.get(sorted.len() * q / 4).copied().unwrap_or(f64::NAN);
    (at(3) - at(1)).abs() / at(2).abs().max(0.1) * 100.0
}
