//! Results: what a guest sends, and how they are shown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kernels::Kernel;

/// What `crates/vmtest` sends, one JSON object a line.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The guest is up.
    Boot {
        /// What uname(2) says.
        release: String,
        /// Tests that will run.
        tests: usize,
    },
    /// A test ended.
    Test(TestReport),
    /// The run is complete.
    End {},
}

/// One test in one guest.
#[derive(Serialize, Deserialize)]
pub struct TestReport {
    /// `topic::name`.
    pub name: String,
    /// `pass`, `fail`, or `unsupported` where that is what the release makes it.
    pub verdict: String,
    /// Why.
    pub message: String,
    /// What a failed test printed.
    pub output: String,
    /// Duration as the guest saw it.
    pub ms: u64,
}

/// One guest.
#[derive(Serialize)]
pub struct KernelReport {
    /// As on the command line.
    pub kernel: String,
    /// Version of the package.
    pub version: String,
    /// What uname(2) said.
    pub release: String,
    /// Tests that were to run.
    pub expected: usize,
    /// Tests that ended.
    pub tests: Vec<TestReport>,
    /// The marker of a complete run came.
    pub complete: bool,
    /// Why the run is not to be trusted.
    pub broken: Option<String>,
    /// Then, the console's last lines.
    pub console: String,
    /// From QEMU's start until the guest said that it is up.
    pub boot_seconds: f64,
    /// From QEMU's start to its end.
    pub seconds: f64,
}

impl KernelReport {
    /// What the events say; `boot`: until the first came, `duration`: of all.
    pub fn new(kernel: &Kernel, events: Vec<Event>, boot: Duration, duration: Duration) -> Self {
        let tenths = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
        let mut report = Self {
            kernel: kernel.name.clone(),
            version: kernel.version.clone(),
            release: String::new(),
            expected: 0,
            tests: Vec::new(),
            complete: false,
            broken: None,
            console: String::new(),
            boot_seconds: tenths(boot),
            seconds: tenths(duration),
        };
        for event in events {
            match event {
                Event::Boot { release, tests } => {
                    (report.release, report.expected) = (release, tests)
                }
                Event::Test(test) => report.tests.push(test),
                Event::End {} => report.complete = true,
            }
        }
        if report.complete && report.tests.len() != report.expected {
            report.broken =
                Some(format!("{} of {} results arrived", report.tests.len(), report.expected));
        }
        report
    }

    /// Whether a test failed, or the run broke off, or there was nothing to run.
    pub fn failed(&self) -> bool {
        self.broken.is_some() || self.expected == 0 || self.count("fail") > 0
    }

    fn count(&self, verdict: &str) -> usize {
        self.tests.iter().filter(|t| t.verdict == verdict).count()
    }

    /// One line.
    pub fn summary(&self) -> String {
        let mut line = format!(
            "{} ({}): {} passed, {} failed, {} not supported, {:.1} s, {:.1} s of it until it was up",
            self.kernel,
            self.release,
            self.count("pass"),
            self.count("fail"),
            self.count("unsupported"),
            self.seconds,
            self.boot_seconds
        );
        if let Some(why) = &self.broken {
            let _ = write!(line, "; {why}");
        } else if self.expected == 0 {
            line += "; no test has such a name";
        }
        line
    }
}

/// A table of tests by kernel, then the notes: why something failed or is not supported.
pub fn table(reports: &[KernelReport]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for test in reports.iter().flat_map(|r| &r.tests) {
        if !names.contains(&test.name.as_str()) {
            names.push(&test.name);
        }
    }
    let width = names.iter().map(|n| n.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}", "");
    for report in reports {
        let _ = write!(text, "  {:>6}", report.kernel);
    }
    text.push('\n');
    let mut notes: BTreeMap<(bool, &str, &str), Vec<&str>> = BTreeMap::new();
    for name in names {
        let _ = write!(text, "{name:width$}");
        for report in reports {
            let test = report.tests.iter().find(|t| t.name == name);
            let word = match test.map(|t| t.verdict.as_str()) {
                Some("pass") => "ok",
                Some("fail") => "FAIL",
                Some("unsupported") => "n/s",
                _ => "?",
            };
            let _ = write!(text, "  {word:>6}");
            if let Some(test) = test.filter(|t| !t.message.is_empty()) {
                let key = (test.verdict == "fail", name, test.message.as_str());
                notes.entry(key).or_default().push(&report.kernel);
            }
        }
        text.push('\n');
    }
    text += &slowest(reports);
    for ((_, name, message), kernels) in &notes {
        let _ = writeln!(text, "{} on {}: {message}", name, kernels.join(", "));
    }
    for report in reports {
        for test in report.tests.iter().filter(|t| !t.output.is_empty()) {
            let _ = writeln!(
                text,
                "--- {} on {} printed\n{}",
                test.name,
                report.kernel,
                test.output.trim_end()
            );
        }
        if let Some(why) = &report.broken {
            let _ = writeln!(
                text,
                "--- {}: {why}; the console's last lines\n{}",
                report.kernel, report.console
            );
        }
    }
    text
}

/// The tests that took longest in each guest, if any took long.
fn slowest(reports: &[KernelReport]) -> String {
    const LONG_MS: u64 = 1000;
    let mut text = String::new();
    for report in reports {
        let mut tests: Vec<&TestReport> = report.tests.iter().filter(|t| t.ms >= LONG_MS).collect();
        tests.sort_by_key(|test| std::cmp::Reverse(test.ms));
        let times: Vec<String> = tests
            .iter()
            .take(5)
            .map(|t| format!("{} {:.1} s", t.name, t.ms as f64 / 1e3))
            .collect();
        if !times.is_empty() {
            let _ = writeln!(text, "slowest on {}: {}", report.kernel, times.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, lines: &str) -> KernelReport {
        let kernel = Kernel {
            name: name.into(),
            version: String::new(),
            image: "k".into(),
            config: None,
            modules: Vec::new(),
        };
        let events = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        KernelReport::new(&kernel, events, Duration::from_secs(3), Duration::from_secs(4))
    }

    const BOOT: &str = r#"{"event":"boot","release":"6.1.0-50","tests":2}"#;
    const PASS: &str =
        r#"{"event":"test","name":"a::b","verdict":"pass","message":"","output":"","ms":3}"#;
    const UNSUPPORTED: &str = r#"{"event":"test","name":"a::c","verdict":"unsupported","message":"before 6.6: no multi","output":"","ms":3}"#;
    const FAIL: &str = r#"{"event":"test","name":"a::c","verdict":"fail","message":"1 is not 2","output":"line\n","ms":1250}"#;
    const END: &str = r#"{"event":"end","failed":0}"#;

    #[test]
    fn a_table_with_its_notes() {
        let old = report("6.1", &[BOOT, PASS, UNSUPPORTED, END].join("\n"));
        let new = report("6.12", &[BOOT, PASS, FAIL, END].join("\n"));
        assert!(!old.failed() && new.failed());
        assert_eq!(
            table(&[old, new]),
            "         6.1    6.12\na::b      ok      ok\na::c     n/s    FAIL\n\
             slowest on 6.12: a::c 1.2 s\na::c on 6.1: before 6.6: no multi\na::c on 6.12: 1 is not 2\n--- a::c on 6.12 printed\nline\n"
        );
    }

    #[test]
    fn a_run_without_all_its_results_failed() {
        assert!(report("6.1", &[BOOT, PASS, END].join("\n")).failed());
        assert!(report("6.1", r#"{"event":"boot","release":"6.1.0-50","tests":0}"#).failed());
    }
}
