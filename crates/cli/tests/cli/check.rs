//! `stylet check`.

use crate::command::{object, run};
use crate::trial;
use libtest_mimic::Trial;
use serde_json::Value;
use std::path::Path;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("check_table", table),
        trial("check_causes", causes),
        trial("check_core_without_types", core_without_types),
        trial("check_json", as_json),
        trial("check_sarif", as_sarif),
        trial("check_csv_and_compare", csv_and_compare),
        trial("check_log", log),
        trial("check_bad_input", bad_input),
    ]
}

const RELEASES: &str = "5.10,5.15,6.1,6.6,6.12,6.18,7.3";

/// The words of a program's line in the table.
fn words(text: &str, prog: &str) -> Vec<String> {
    let line = text.lines().find(|l| l.split_whitespace().next() == Some(prog)).expect("a line");
    line.split_whitespace().skip(2).map(str::to_owned).collect()
}

fn table() {
    let output = run(&format!("check {}", object("releases")));
    assert_eq!(output.code, 1, "{}", output.stderr);
    let head: Vec<String> = words(&output.stdout, "program");
    assert_eq!(head[..7].join(","), RELEASES);
    let ok = |n: usize| vec!["ok"; n].join(" ");
    assert_eq!(words(&output.stdout, "plain").join(" "), format!("{} 5.10", ok(7)));
    assert_eq!(words(&output.stdout, "looped").join(" "), format!("fail fail {} 6.1", ok(5)));
    assert_eq!(words(&output.stdout, "guarded").join(" "), format!("{} 5.10", ok(7)));
    assert_eq!(words(&output.stdout, "beyond").join(" "), "fail fail fail fail fail fail fail -");
    // Exit code 0 when all that was asked for is accepted.
    run(&format!("check {} --prog plain --prog looped --kernel 6.1,7.3", object("releases")))
        .shows(&["6.1  7.3  from"]);
    run(&format!("check {} --prog plain --kernel user", object("releases"))).shows(&["user"]);
}

fn causes() {
    let output = run(&format!("check {} --prog looped --prog beyond", object("releases")));
    for text in [
        "looped on 5.10: fail\nerror: ",
        "functions that helpers call back are there since Linux 5.13",
        "looped on 5.15: fail\nerror: ",
        "bpf_loop is available to KPROBE programs since Linux 5.17",
        "where the value comes from:\n           ./filetests/cli/releases.bpf.c:",
        "beyond on 5.10, 5.15, 6.1, 6.6, 6.12, 6.18, 7.3: fail\nerror: invalid access to map value",
        "return ((unsigned char *)value)[index + 1];",
    ] {
        assert!(output.stdout.contains(text), "{text:?}\n{}", output.stdout);
    }
}

fn core_without_types() {
    let output = run(&format!("check {} --prog field --kernel 6.1,6.12", object("releases")));
    let word = match Path::new("/sys/kernel/btf/vmlinux").exists() {
        true => "depends",
        false => "unknown",
    };
    assert_eq!(words(&output.stdout, "field"), [word, word, "-"]);
    assert!(output.stdout.contains("types"), "{}", output.stdout);
    if word == "depends" {
        let btf = "--kernel 6.1 --btf /sys/kernel/btf/vmlinux";
        run(&format!("check {} --prog field {btf}", object("releases"))).shows(&["  ok"]);
    }
}

fn as_json() {
    let output = run(&format!("check {} --json --kernel 5.10,6.6", object("releases")));
    assert_eq!(output.code, 1);
    let all = &output.json()[0]["progs"];
    let prog = |name: &str| {
        let mut progs = all.as_array().expect("a list").iter();
        progs.find(|p| p["prog"] == name).expect("the program").clone()
    };
    let looped = prog("looped");
    assert_eq!((&looped["from"], &looped["type"]), (&"6.6".into(), &"kprobe".into()));
    let [old, new] = looped["verdicts"].as_array().expect("a list").as_slice() else {
        panic!("{looped}")
    };
    assert_eq!((&old["kernel"], &old["verdict"]), (&"5.10".into(), &"fail".into()));
    assert_eq!(old["rejection"]["line"], 48);
    assert_eq!(new["verdict"], "ok");
    assert!(new["insns"].as_u64() > Some(10), "{new}");
    assert_eq!(prog("beyond")["from"], Value::Null);
}

fn as_sarif() {
    let output = run(&format!("check {} --sarif", object("releases")));
    assert_eq!(output.code, 1);
    let log: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "stylet");
    let results = run["results"].as_array().expect("results");
    let of =
        |prog: &str| results.iter().find(|r| r["properties"]["program"] == prog).expect("a result");
    let beyond = of("beyond");
    assert_eq!(beyond["level"], "error");
    let place = &beyond["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "./filetests/cli/releases.bpf.c");
    assert_eq!(place["region"]["startLine"], 82);
    assert_eq!(beyond["properties"]["kernels"].as_array().map(Vec::len), Some(7));
    let flow = &beyond["codeFlows"][0]["threadFlows"][0]["locations"];
    assert_eq!(flow[0]["location"]["physicalLocation"]["region"]["startLine"], 80);
    // Each result's rule is declared.
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    assert!(results.iter().all(|r| rules.iter().any(|rule| rule["id"] == r["ruleId"])));
    assert!(results.iter().all(|r| r["properties"]["program"] != "plain"));
}

fn csv_and_compare() {
    let args = format!("check {} --prog plain --prog beyond --kernel 6.12", object("releases"));
    let output = run(&format!("{args} --csv"));
    let lines = output.lines();
    assert_eq!(
        lines[0],
        "file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,max_states_per_insn,max_mark_read_len,\
         prog_size,prog_size_jited,prog_type,attach_type,stack_depth,max_stack_depth,mem_peak"
    );
    assert!(lines[1].starts_with("releases.bpf.o,plain,success,"), "{}", lines[1]);
    assert!(lines[2].starts_with("releases.bpf.o,beyond,failure,"), "{}", lines[2]);
    assert_eq!(lines[1].split(',').count(), 16);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("old.csv");
    std::fs::write(&file, &output.stdout).expect("written");
    let same = run(&format!("{args} --compare {}", file.display()));
    assert_eq!(same.stdout, "2 as before, 0 not, 0 gone\n");
    // A shorter table in another order, as `veristat -e` writes it.
    let old = "prog_name,file_name,verdict,total_insns,total_states\n\
               plain,releases.bpf.o,failure,1,0\nolder,releases.bpf.o,success,5,0\n";
    std::fs::write(&file, old).expect("written");
    let differs = run(&format!("{args} --compare {}", file.display()));
    for text in [
        "releases.bpf.o plain on 6.12: failure -> success, insns 1 -> ",
        "releases.bpf.o beyond on 6.12: failure (new)",
        "releases.bpf.o older: not there any more",
        "0 as before, 2 not, 1 gone",
    ] {
        assert!(differs.stdout.contains(text), "{text:?}\n{}", differs.stdout);
    }
    let several =
        run(&format!("check {} --prog plain --csv --kernel 6.1,6.12", object("releases")));
    assert!(several.lines()[0].ends_with(",mem_peak,kernel"));
    assert!(several.lines()[2].ends_with(",6.12"));
}

fn log() {
    let output = run(&format!("check {} --prog beyond --kernel 6.18 -v", object("releases")));
    let (_, log) = output.stdout.split_once("\nlog of beyond on 6.18:\n").expect("a log");
    let last = log.lines().last().expect("a line");
    assert!(last.starts_with("processed ") && last.contains(" insns (limit 1000000)"), "{last}");
}

fn bad_input() {
    let releases = object("releases");
    run("check no/such.bpf.o").error(2, "No such file");
    run("check Cargo.toml").error(2, "not an ELF file");
    run(&format!("check {releases} --kernel 4.19")).error(2, "releases from 5.10 to 7.3");
    run(&format!("check {releases} --kernel nonsense")).error(2, "--kernel nonsense");
    run(&format!("check {releases} --btf Cargo.toml")).error(2, "which of the 7 kernels?");
    run(&format!("check {releases} --kernel 6.1 --btf Cargo.toml")).error(2, "no BTF of a kernel");
    run(&format!("check {releases} --prog nope")).error(2, "no object has such a program");
    run(&format!("check {releases} --compare Cargo.toml")).error(2, "no column file_name");
}
