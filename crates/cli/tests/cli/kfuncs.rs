//! What programs do by kernel functions: sessions, strings in dynptrs, loops.

use crate::command::{Run, object};
use crate::live;
use crate::target::{Footprint, Target};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![
        live("sessions_share_a_cookie_and_suppress_returns", sessions),
        live("sessions_of_threads", threads),
        live("strings_in_dynptrs_and_loops", strings),
    ]
}

fn tracer(target: &Target, words: &[&str]) -> Run {
    let option = target.option();
    let first = ["run", &option[0], &option[1]];
    Run::start(first.into_iter().chain(words.iter().copied())).attached()
}

fn sessions() {
    let mut target = Target::start();
    let before = Footprint::of(target.pid());
    let tracer = tracer(&target, &[&object("session"), "--cookie", "halves=77"]);
    target.ask("call 5");
    let parent = format!("last_result: {}\n", std::process::id());
    let output = tracer.interrupt();
    // The cookies of calls 0, 2 and 4; 1 and 3 want no return.
    output.shows(&[
        "\nentries: 5\n",
        "returns: 3\n",
        "cookies: 6\n",
        &parent,
        "attach_cookie: 77\n",
    ]);
    output.shows(&[
        "other_entries: 5\n",
        "other_returns: 5\n",
        "other_cookies: 5010\n",
        "fresh: 5\n",
    ]);
    target.assert_answers();
    before.assert_now(target.pid());
    target.quit();
}

/// Half of many threads' calls return, each with its own cookie.
fn threads() {
    let mut target = Target::busy();
    let tracer = tracer(&target, &[&object("session")]);
    target.ask("call 1000");
    let output = tracer.interrupt();
    let value = |name: &str| -> u64 {
        let line = output.stdout.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")));
        line.and_then(|v| v.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {}", output.stdout))
    };
    let (entries, returns) = (value("entries"), value("returns"));
    assert!(
        entries >= 1000 && returns.abs_diff(entries.div_ceil(2)) <= 4,
        "{returns} of {entries}"
    );
    assert_eq!(value("fresh"), value("other_entries"));
    // Three threads may have been between entry and return.
    assert!(value("other_entries") - value("other_returns") <= 3, "{}", output.stdout);
    target.assert_answers();
    target.quit();
}

fn strings() {
    let mut target = Target::start();
    let tracer = tracer(&target, &[&object("strings")]);
    assert_eq!(target.ask("env STYLET_MARK"), "found");
    let output = tracer.interrupt();
    output.shows(&["whole: \"STYLET_MARK\"\n", "\nlength: 12\n", "bad: -14\n", "no_room: -7\n"]);
    output.shows(&["cut: \"abSTY\"\n", "cut_length: 4\n"]);
    output.shows(&["padded: \"STYLET_MARK\"\n", "padded_length: 12\n"]);
    output.shows(&["adjusted: 32\n", "third: 'Y'\n", "null: 0\n"]);
    output.shows(&["sum: 5450\n", "backwards: -22\n", "exists: 0\n"]);
    target.assert_answers();
    target.quit();
}
