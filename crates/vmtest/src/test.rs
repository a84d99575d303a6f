//! What a test is, how it ends, and what that means on a given release.

use std::fmt;

use serde::{Deserialize, Serialize};
use stylet_kernel::{Error, Release};

use crate::guest::Guest;

/// A test and what is expected of it on each release.
pub struct Test {
    /// Its name within its topic.
    pub name: &'static str,
    /// The test.
    pub run: fn(&Guest) -> Outcome,
    /// The first release on which it must pass; on earlier ones it must end in [`Failure::Missing`]. `None`: on all.
    pub since: Option<Release>,
    /// A kernel configuration option without which it must end in [`Failure::Missing`] whatever the release.
    pub config: Option<&'static str>,
    /// Why it may pass before `since`.
    pub backport: Option<&'static str>,
    /// Seconds after which it is killed. Generous: guests are emulated, and hosts busy.
    pub limit: u32,
}

impl Test {
    /// A test that must pass on every release, within 60 seconds.
    pub const fn new(name: &'static str, run: fn(&Guest) -> Outcome) -> Self {
        Self { name, run, since: None, config: None, backport: None, limit: 60 }
    }

    /// The first release on which it must pass.
    pub const fn since(mut self, major: u8, minor: u8) -> Self {
        self.since = Some(Release::new(major, minor));
        self
    }

    /// The option (`CONFIG_…`) that the kernel must be configured with.
    pub const fn config(mut self, option: &'static str) -> Self {
        self.config = Some(option);
        self
    }

    /// Why it may pass on releases before its first.
    pub const fn backport(mut self, note: &'static str) -> Self {
        self.backport = Some(note);
        self
    }

    /// Another time limit, in seconds.
    pub const fn limit(mut self, seconds: u32) -> Self {
        self.limit = seconds;
        self
    }
}

/// How a test's function ends. Panics are failures too, so that `assert_eq!` may be used.
pub type Outcome = Result<(), Failure>;

/// Why a test did not pass.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The kernel has not got what the test needs, and the library said so by its error for this.
    Missing {
        /// The error's text.
        message: String,
        /// What the kernel answered.
        errno: Option<i32>,
        /// The first release that has it, as the library says: two numbers.
        since: Option<(u8, u8)>,
    },
    /// Anything else.
    Failed(String),
}

impl Failure {
    /// A failure with a message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut at: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(inner) = at {
            let own = inner.downcast_ref().or_else(|| Some(&**inner.downcast_ref::<Box<Error>>()?));
            if let Some(missing @ Error::Missing { feature, errno, .. }) = own {
                let since = feature.since().map(|release| (release.major, release.minor));
                return Self::Missing {
                    message: missing.to_string(),
                    errno: errno.map(|e| e.0),
                    since,
                };
            }
            let text = inner.to_string();
            if !message.contains(&text) {
                message += &format!(": {text}");
            }
            at = inner.source();
        }
        Self::Failed(message)
    }
}

/// What a test's end means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passed where it must, or earlier, as noted.
    Pass,
    /// It failed, or ended in another way than the release makes it.
    Fail,
    /// The release (or its configuration) has not got the feature, and that is what the library said.
    Unsupported,
}

/// Judges how `test` ended on `release`; `has_config` says whether the kernel has the option that the test names.
pub fn judge(
    test: &Test,
    release: Release,
    has_config: bool,
    outcome: &Outcome,
) -> (Verdict, String) {
    let early = test.since.filter(|since| release < *since);
    match outcome {
        Err(Failure::Failed(message)) => (Verdict::Fail, message.clone()),
        Err(Failure::Missing { message, errno, since: said_since }) => {
            let said = match errno {
                Some(errno) => format!("errno {errno}: {message}"),
                None => message.clone(),
            };
            match (early, test.config) {
                (_, Some(option)) if !has_config => {
                    (Verdict::Unsupported, format!("not configured ({option}): {said}"))
                }
                (Some(_), _) if said_since.is_some_and(|(a, b)| Release::new(a, b) <= release) => (
                    Verdict::Fail,
                    format!(
                        "said to be missing, with a first release that this is not before: {said}"
                    ),
                ),
                (Some(since), _) => (Verdict::Unsupported, format!("before {since}: {said}")),
                _ => (Verdict::Fail, format!("said to be missing where it must work: {said}")),
            }
        }
        Ok(()) => match (early, test.backport) {
            (Some(_), Some(note)) => (Verdict::Pass, format!("early: {note}")),
            (Some(since), None) => {
                (Verdict::Fail, format!("passed, though declared to need {since}"))
            }
            (None, _) if test.config.is_some() && !has_config => {
                (Verdict::Fail, format!("passed without {}", test.config.unwrap_or_default()))
            }
            _ => (Verdict::Pass, String::new()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &Guest) -> Outcome {
        Ok(())
    }

    fn missing() -> Outcome {
        Err(Failure::Missing { message: "no multi".into(), errno: Some(95), since: None })
    }

    fn missing_since(major: u8, minor: u8) -> Outcome {
        Err(Failure::Missing {
            message: "no multi".into(),
            errno: Some(95),
            since: Some((major, minor)),
        })
    }

    #[test]
    fn missing_features_are_recognised() {
        let Ok(kernel) = stylet_kernel::Kernel::open() else { return };
        let error = kernel.missing(stylet_kernel::Feature::UprobeSession, None);
        let Failure::Missing { since, .. } = Failure::from(error) else { panic!("not recognised") };
        assert_eq!(since, Some((6, 13)));
    }

    #[test]
    fn verdicts() {
        const ANY: Test = Test::new("any", nothing);
        const NEW: Test = Test::new("new", nothing).since(6, 12);
        const BACKPORTED: Test =
            Test::new("new", nothing).since(6, 12).backport("distributors have it");
        const CONFIGURED: Test =
            Test::new("configured", nothing).config("CONFIG_BPF_KPROBE_OVERRIDE");
        let (old, new) = (Release::new(6, 1), Release::new(6, 12));
        let failed = || Err(Failure::new("wrong"));
        for (test, release, has_config, outcome, expected) in [
            (&ANY, old, true, Ok(()), Verdict::Pass),
            (&ANY, old, true, missing(), Verdict::Fail),
            (&ANY, old, true, failed(), Verdict::Fail),
            (&NEW, new, true, Ok(()), Verdict::Pass),
            (&NEW, new, true, missing(), Verdict::Fail),
            (&NEW, old, true, missing(), Verdict::Unsupported),
            (&NEW, old, true, Ok(()), Verdict::Fail),
            (&NEW, old, true, failed(), Verdict::Fail),
            (&NEW, old, true, missing_since(5, 18), Verdict::Fail),
            (&NEW, old, true, missing_since(6, 12), Verdict::Unsupported),
            (&BACKPORTED, old, true, Ok(()), Verdict::Pass),
            (&CONFIGURED, new, false, missing(), Verdict::Unsupported),
            (&CONFIGURED, new, false, Ok(()), Verdict::Fail),
            (&CONFIGURED, new, true, missing(), Verdict::Fail),
        ] {
            let (verdict, message) = judge(test, release, has_config, &outcome);
            assert_eq!(verdict, expected, "{} on {release}: {message}", test.name);
        }
    }
}
