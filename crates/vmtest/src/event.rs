//! What a guest tells the host: one JSON object a line, on its second serial port. `cargo xtask vm` reads them.

use serde::Serialize;

use crate::test::Verdict;

/// One line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The guest is up.
    Boot {
        /// What uname(2) says.
        release: &'a str,
        /// Tests that will run.
        tests: usize,
    },
    /// A test ended.
    Test {
        /// `topic::name`.
        name: &'a str,
        /// Whether that is right.
        verdict: Verdict,
        /// Why.
        message: &'a str,
        /// What the test printed; empty if it passed.
        output: &'a str,
        /// Duration as the guest saw it.
        ms: u64,
    },
    /// The marker of a complete run.
    End {
        /// Tests that failed.
        failed: usize,
    },
}
