//! Availability of helpers against what real kernels said: `observed/RELEASE.txt` lists, for each
//! program type, the helpers whose call was not refused as unknown to the type.

use std::collections::BTreeMap;
use stylet_catalog::{Env, Release};
use stylet_uapi::{AttachType, HelperId, ProgType};

const OBSERVED: [(Release, &str); 5] = [
    (Release::V5_10, include_str!("observed/5.10.txt")),
    (Release::V6_1, include_str!("observed/6.1.txt")),
    (Release::V6_12, include_str!("observed/6.12.txt")),
    (Release::V6_18, include_str!("observed/6.18.txt")),
    (Release::V7_3, include_str!("observed/7.3.txt")),
];

/// `TYPE` or `TYPE:ATTACH`, where sleepable is written as an attach type.
fn program(name: &str) -> (ProgType, AttachType, bool) {
    let (prog_type, rest) = name.split_once(':').unwrap_or((name, ""));
    let attach_type = match (prog_type, rest) {
        ("KPROBE_MULTI", _) => AttachType::TRACE_KPROBE_MULTI,
        (_, "RAW_TP") => AttachType::TRACE_RAW_TP,
        (_, "FENTRY") => AttachType::TRACE_FENTRY,
        (_, "FEXIT") => AttachType::TRACE_FEXIT,
        (_, "ITER") => AttachType::TRACE_ITER,
        _ => AttachType(0),
    };
    let base = prog_type.strip_suffix("_MULTI").unwrap_or(prog_type);
    let prog_type = ProgType::from_name(base).unwrap_or_else(|| panic!("{name}"));
    (prog_type, attach_type, rest == "sleepable" || prog_type == ProgType::SYSCALL)
}

/// What the observed kernels were built or run without.
fn left_out(release: Release, id: u32) -> bool {
    id == HelperId::OVERRIDE_RETURN.0
        || (id == HelperId::PROBE_WRITE_USER.0 && release == Release::V6_18)
}

#[test]
fn helpers_are_those_that_kernels_offer() {
    let mut wrong = Vec::new();
    for (release, text) in OBSERVED {
        let env = Env::kernel(release);
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let mut words = line.split(' ');
            let name = words.next().expect("a program type");
            let (prog_type, attach_type, sleepable) = program(name);
            // `s` marks what is the type's own but may sleep.
            let ids: BTreeMap<u32, bool> = words
                .map(|w| (w.trim_start_matches('s').parse().expect("a number"), w.starts_with('s')))
                .collect();
            for id in (1..=211).filter(|id| !left_out(release, *id)) {
                let ours = env.helper(id, prog_type, attach_type, sleepable);
                if ours.is_ok() != ids.contains_key(&id) {
                    wrong.push(format!("{release} {name} {id}: {:?}", ours.map(|p| p.name)));
                }
                if ids.get(&id) == Some(&true) && !ours.is_ok_and(|p| p.might_sleep) {
                    wrong.push(format!("{release} {name} {id}: may sleep there, not here"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
