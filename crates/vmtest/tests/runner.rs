//! The runner, on the host, by the deliberate failures of `--selftest`.

use std::process::Command;

#[test]
fn every_way_to_end() {
    let out = Command::new(env!("CARGO_BIN_EXE_stylet-vmtest")).arg("--selftest").output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let lines = String::from_utf8(out.stdout).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let expected = [
        ("passes\tOk(())", ""),
        ("fails\tErr(Failed(\"two is not three\"))", ""),
        (
            "missing\tErr(Missing { message: \"no such feature\", errno: Some(95), since: None })",
            "",
        ),
        ("panics\tErr(Failed(\"panicked: at the disco\"))", ""),
        ("aborts\tErr(Failed(\"killed by signal 6\"))", ""),
        ("exits\tErr(Failed(\"ended with status 0\"))", ""),
        ("hangs\tErr(Failed(\"still running after 1 s\"))", ""),
        ("prints\tErr(Failed(\"after much output\"))", "line 19999"),
        ("leaves_a_child\tOk(())", ""),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (start, end)) in lines.iter().zip(expected) {
        assert!(line.starts_with(start) && line.ends_with(end), "{line}");
    }
}

#[test]
fn list_names_each_test_once() {
    let out = Command::new(env!("CARGO_BIN_EXE_stylet-vmtest")).arg("--list").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut names: Vec<&str> =
        text.lines().map(|l| l.split('\t').next().unwrap_or_default()).collect();
    assert!(names.contains(&"env::marker"), "{text}");
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "a name occurs twice");
}

#[test]
fn refuses_to_run_on_the_host() {
    let out = Command::new(env!("CARGO_BIN_EXE_stylet-vmtest")).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}
