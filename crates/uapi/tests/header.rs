//! Against the installed kernel headers: every name that they have too has the same number.

use std::collections::HashMap;
use std::fs;

use stylet_uapi::flags::*;
use stylet_uapi::{AttachType, Cmd, HelperId, LinkType, MapType, PerfRecord, ProgType};

/// Names and numbers of all enums and simple `#define`s of a header.
fn parse(text: &str) -> HashMap<String, i128> {
    let mut values = HashMap::new();
    let text = strip_comments(text);
    let mut next = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("enum") {
            next = Some(0);
        }
        if line.starts_with('}') {
            next = None;
        }
        if let Some(define) = line.strip_prefix("#define ") {
            if let Some((name, value)) =
                define.split_once(char::is_whitespace).filter(|(n, _)| !n.contains('('))
            {
                values.extend(eval(value, &values).map(|value| (name.to_string(), value)));
            }
            continue;
        }
        helper(line, &mut values);
        if next.is_none() {
            continue;
        }
        for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, value) = match entry.split_once('=') {
                Some((name, value)) => (name.trim(), eval(value, &values)),
                None => (entry, next),
            };
            let is_name =
                name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
            if let (true, Some(value)) = (is_name, value) {
                values.insert(name.to_string(), value);
                next = Some(value + 1);
            }
        }
    }
    values
}

/// A line of `__BPF_FUNC_MAPPER`: `FN(name, number, …)`, before release 6.2 `FN(name),` in the order of numbers.
fn helper(line: &str, values: &mut HashMap<String, i128>) {
    let Some((args, _)) = line.strip_prefix("FN(").and_then(|rest| rest.split_once(')')) else {
        return;
    };
    let (name, number) = match args.split_once(',') {
        Some((name, rest)) => {
            (name, rest.split(',').next().and_then(|number| number.trim().parse().ok()))
        }
        None => {
            (args, Some(values.keys().filter(|key| key.starts_with("BPF_FUNC_")).count() as i128))
        }
    };
    values.extend(number.map(|number| (format!("BPF_FUNC_{}", name.to_uppercase()), number)));
}

fn strip_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    out + rest
}

/// A number, a name, or a shift of two numbers, perhaps in brackets.
fn eval(text: &str, values: &HashMap<String, i128>) -> Option<i128> {
    let text = text.trim().trim_matches(['(', ')', ',']).trim();
    if let Some((left, right)) = text.split_once("<<") {
        return Some(eval(left, values)? << eval(right, values)?);
    }
    let digits = text.trim_end_matches(['U', 'L']);
    match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok().or_else(|| values.get(text).copied()),
    }
}

/// Our names with our numbers.
fn ours() -> Vec<(String, i128)> {
    let mut all: Vec<(String, i128)> = Vec::new();
    macro_rules! newtypes {
        ($($type:ident)*) => { $(
            all.extend($type::ALL.iter().map(|(v, n)| (format!("{}{n}", $type::PREFIX), v.0.into())));
        )* };
    }
    macro_rules! groups {
        ($($group:ident)*) => { $(
            all.extend($group::ALL.iter().map(|(n, v)| (n.to_string(), (*v).into())));
        )* };
    }
    newtypes!(AttachType Cmd HelperId LinkType MapType PerfRecord ProgType);
    groups!(map_flags update_flags prog_flags link_flags stack_flags perf_flags ringbuf);
    groups!(timer_flags kfunc_flags storage_flags test_run_flags btf_flags);
    all
}

#[test]
fn parser_reads_what_headers_have() {
    let text = "enum x {\n A_A,\n A_B = 5, /* x,\n y */\n A_C,\n};\n#define F (1ULL << 3)\n#define G F\nFN(foo, 7, ##ctx) \\\n";
    let values = parse(text);
    let expect = [("A_A", 0), ("A_B", 5), ("A_C", 6), ("F", 8), ("G", 8), ("BPF_FUNC_FOO", 7)];
    for (name, value) in expect {
        assert_eq!(values.get(name), Some(&value), "{name}");
    }
}

#[test]
fn numbers_equal_the_headers() {
    let mut values = HashMap::new();
    for path in ["/usr/include/linux/bpf.h", "/usr/include/linux/perf_event.h"] {
        match fs::read_to_string(path) {
            Ok(text) => values.extend(parse(&text)),
            Err(err) => {
                eprintln!("skipped: {path}: {err}");
                return;
            }
        }
    }
    let mut compared = 0;
    for (name, value) in ours() {
        if let Some(theirs) = values.get(&name) {
            assert_eq!(value, *theirs, "{name}");
            compared += 1;
        }
    }
    // headers of release 5.15 have more than these
    assert!(compared > 300, "only {compared} names compared");
}

#[test]
fn names_and_numbers_are_unique() {
    for (value, name) in HelperId::ALL {
        assert_eq!(HelperId::from_name(name), Some(*value));
        assert_eq!(value.name(), Some(*name));
    }
    let mut names: Vec<String> = ours().into_iter().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
