//! Programs that run once, and iterators: only the kernel backend has them.

use crate::command::run;
use crate::kernel;
use crate::target::Target;
use libtest_mimic::Trial;
use std::path::PathBuf;

const SYSCALL: &str = "filetests/kernel/syscall.bpf.o --prog multiply";
const ITER: &str = "filetests/kernel/iter.bpf.o";

pub fn trials() -> Vec<Trial> {
    vec![
        kernel("kernel_runs_syscall_programs", syscall),
        kernel("kernel_reads_iterators", iterators),
        kernel("once_only_in_the_kernel", only_in_the_kernel),
    ]
}

/// A file that goes with the test.
struct Context(PathBuf);

impl Context {
    fn of(words: &[u64]) -> Context {
        let name = format!("stylet-ctx-{}-{}", std::process::id(), words.len());
        let path = std::env::temp_dir().join(name);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        std::fs::write(&path, bytes).expect("a file");
        Context(path)
    }

    fn option(&self) -> String {
        format!("--ctx multiply={}", self.0.display())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn syscall() {
    let command = format!("run --backend kernel {SYSCALL}");
    let output = run(&command);
    output.expect(0, "");
    assert_eq!(output.stdout, "multiply returned 42, context {a: 0, b: 0, product: 0}\n");
    let given = Context::of(&[6, 7, 0]);
    run(&format!("{command} {}", given.option())).shows(&["context {a: 6, b: 7, product: 42}\n"]);
    let json = run(&format!("{command} --json {}", given.option()));
    let line = json.json().into_iter().find(|line| line["type"] == "run").expect("the run");
    assert_eq!((&line["prog"], &line["retval"]), (&"multiply".into(), &42.into()));
    assert_eq!(line["ctx"], serde_json::json!({"a": 6, "b": 7, "product": 42}));
    // Longer than its type: bytes.
    let longer = Context::of(&[2, 3, 0, 9]);
    run(&format!("{command} {}", longer.option()))
        .shows(&["context 02 00 00 00 00 00 00 00 03 ", " 06 00 00 00 00 00 00 00 09 "]);
    let shorter = Context::of(&[6, 7]);
    run(&format!("{command} {}", shorter.option()))
        .error(2, "program 'multiply' does not run with a context of 16 bytes");
    run(&format!("{command} --ctx /no/such/file")).error(2, "/no/such/file: ");
    run(&format!("{command} --ctx other=/dev/null"))
        .error(2, "--ctx other=/dev/null: no program of type SYSCALL");
}

fn iterators() {
    let command = format!("run --backend kernel {ITER} --prog tasks");
    let output = run(&command);
    if output.code == 3 {
        return println!("skipped: {}", output.stderr.trim());
    }
    let target = Target::start();
    let pid = target.pid();
    run(&command).shows(&[&format!("\n{pid} {pid}\n")]);
    let output = run(&format!("{command} -p {pid}"));
    output.shows(&[&format!("{pid} {pid}\n")]);
    assert!(output.stdout.lines().all(|l| l.starts_with(&format!("{pid} "))), "{}", output.stdout);
    let output = run(&format!("{command} -p {pid} --json"));
    let line = output.json().into_iter().find(|line| line["type"] == "iter").expect("its text");
    assert_eq!(line["prog"], "tasks");
    assert!(line["text"].as_str().is_some_and(|text| text.contains(&format!("{pid} {pid}\n"))));
    target.quit();
    let elements = format!("run --backend kernel {ITER} --prog elements");
    run(&format!("{elements} -a elements=bpf_map_elem:squares")).shows(&["0=0\n1=0\n2=0\n3=0\n"]);
    run(&format!("{elements} -a elements=bpf_map_elem:moon")).error(2, "no map 'moon'");
    run(&elements).error(2, "no map is given");
    run(&format!("{command} --cookie 7")).error(2, "an iterator has no cookie");
}

fn only_in_the_kernel() {
    run(&format!("run {SYSCALL} -- true")).error(3, "a SYSCALL program is not there in the user");
    run(&format!("run {ITER} --prog tasks -- true")).error(3, "a TRACING program is not there");
}
