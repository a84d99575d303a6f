//! What a refused BPF_PROG_LOAD means: the kernel lacks something, we lack a right, or the program is wrong.

use stylet_uapi::flags::prog_flags;
use stylet_uapi::{HelperId, ProgType};

use super::ProgLoad;
use crate::Error;
use crate::feature::Feature;
use crate::kernel::Kernel;
use crate::sys::Errno;

/// Which error it is.
pub(super) fn error(kernel: &Kernel, load: &ProgLoad<'_>, errno: Errno, log: String) -> Error {
    if log.is_empty() && matches!(errno, Errno(libc::EPERM | libc::ENOSYS)) {
        return kernel.denied(&format!("loading program '{}'", load.name), errno);
    }
    let of_program = if log.is_empty() { of_load(load) } else { of_log(kernel, load, &log) };
    // A program for a kind of attaching that is not there uses what is not there either: the kind is what to name.
    let kind = Feature::of_attach_type(load.attach_type);
    for feature in kind.into_iter().chain(of_program) {
        if let Err(missing @ Error::Missing { .. }) = kernel.require(feature) {
            return missing;
        }
    }
    Error::Rejected { prog: load.name.to_string(), errno, hint: hint(load, &log), log }
}

/// What a program needs whose load is refused before it is looked at.
fn of_load(load: &ProgLoad<'_>) -> Vec<Feature> {
    [Feature::ProgType(load.prog_type)].into_iter().chain(sleepable(load)).collect()
}

fn sleepable(load: &ProgLoad<'_>) -> Option<Feature> {
    let may_sleep = load.prog_flags & prog_flags::SLEEPABLE != 0;
    (may_sleep && load.prog_type == ProgType::KPROBE).then_some(Feature::SleepableUprobe)
}

/// What the verifier misses, as its words say (`check_helper_call`, `bpf_prog_check` in kernel/bpf/verifier.c).
fn of_log(kernel: &Kernel, load: &ProgLoad<'_>, log: &str) -> Vec<Feature> {
    let last = log.lines().rev().take(4).collect::<Vec<_>>().join("\n");
    if last.contains("can be sleepable") {
        return sleepable(load).into_iter().collect();
    }
    let refused = ["unknown func ", "invalid func ", "cannot use helper "]
        .into_iter()
        .find_map(|text| last.split_once(text));
    let id = refused.and_then(|(_, name)| {
        let number = name.split_once('#')?.1;
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        number[..end].parse().ok()
    });
    let Some(id) = id else { return Vec::new() };
    let helper = Feature::Helper(HelperId(id), load.prog_type);
    // One that this release has is withheld by its configuration, and one that no release lets such programs call is the
    // program's fault: neither is missing.
    let is_later = helper.since().is_some_and(|since| since > kernel.release());
    is_later.then_some(helper).into_iter().collect()
}

/// Better words for what is not in the source.
fn hint(load: &ProgLoad<'_>, log: &str) -> Option<String> {
    let last = log.lines().rev().take(4).collect::<Vec<_>>().join("\n");
    let gpl = last.contains("GPL-restricted function")
        || last.contains("must have a GPL compatible license");
    gpl.then(|| {
        let license = match load.license {
            "" => "the object has no licence".to_string(),
            license => format!("the licence \"{license}\" is not compatible with the GPL"),
        };
        let line = last.lines().find(|line| line.contains("GPL")).unwrap_or_default();
        format!("{line}: {license} (SEC(\"license\"))")
    })
}
