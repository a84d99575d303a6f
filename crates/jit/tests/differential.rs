//! Generated programs give the same result compiled as interpreted.

mod common;

use arbitrary::{Result, Unstructured};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static RUN: AtomicU32 = AtomicU32::new(0);
static TOO_LONG: AtomicU32 = AtomicU32::new(0);
static INSNS: AtomicU32 = AtomicU32::new(0);

fn same(u: &mut Unstructured) -> Result<()> {
    let mut case = common::generate::case(u)?;
    case.limit = 100_000;
    // Programs that call themselves through tail calls may take too long.
    let expected = match case.interp() {
        Ok(expected) => expected,
        Err(error) if error.starts_with("more than") => {
            TOO_LONG.fetch_add(1, Relaxed);
            return Ok(());
        }
        Err(error) => panic!("{error}\n{}", common::listing(&case.main)),
    };
    RUN.fetch_add(1, Relaxed);
    INSNS.fetch_add(case.main.insns().len() as u32, Relaxed);
    for cpu in common::cpus() {
        let got = case.jit(cpu);
        if got.as_ref() != Ok(&expected) {
            panic!(
                "{cpu:?}\nexpected {expected:x?}\ngot      {got:x?}\n{}",
                common::listing(&case.main)
            );
        }
    }
    Ok(())
}

#[test]
fn generated_programs() {
    let budget =
        std::env::var("STYLET_JIT_BUDGET_MS").ok().and_then(|v| v.parse().ok()).unwrap_or(5_000);
    let mut check = arbtest::arbtest(same).size_min(2_000).size_max(60_000).budget_ms(budget);
    if let Some(seed) =
        std::env::var("STYLET_JIT_SEED").ok().and_then(|v| u64::from_str_radix(&v, 16).ok())
    {
        check = check.seed(seed);
    }
    check.run();
    let (run, too_long, insns) = (RUN.load(Relaxed), TOO_LONG.load(Relaxed), INSNS.load(Relaxed));
    println!(
        "{run} programs of {} instructions on average, {too_long} ran too long",
        insns / run.max(1)
    );
    assert!(run > too_long, "most generated programs must be runnable");
}
