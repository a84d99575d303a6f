//! The tests, by topic. A topic is a file with `pub const TESTS: &[Test]` and its name in the list below.

use crate::test::Test;

/// Declares the topics' modules and lists their tests.
macro_rules! topics {
    ($($topic:ident)*) => {
        $(mod $topic;)*
        const TOPICS: &[(&str, &[Test])] = &[$((stringify!($topic), $topic::TESTS)),*];
    };
}

mod nbd;

topics! {
    env
    backends
    iter
    kprobe
    ksyscall
    limits
    links
    load
    multi
    override_return
    perf
    raw
    raw_tp
    raw_tp_writable
    read
    session
    tracing
    uprobe
    usdt
    lockdown
}

/// All tests with their topics, in the order of the list.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Test)> {
    TOPICS.iter().flat_map(|(topic, tests)| tests.iter().map(|test| (*topic, test)))
}
