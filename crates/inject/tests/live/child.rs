//! The traced side's process, from the tracing side.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running part of this binary that obeys one command per line.
pub struct Traced {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Traced {
    pub fn start(part: &str) -> Traced {
        let exe = std::env::current_exe().expect("own path");
        let mut command = Command::new(exe);
        command.env("STYLET_TARGET", part).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts itself");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Traced { child, stdin, stdout }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a line and gives the answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the traced process reads");
    }

    pub fn hear(&mut self) -> String {
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).expect("the traced process answers");
        assert!(!answer.is_empty(), "the traced process ended: {:?}", self.child.wait());
        answer.trim().to_owned()
    }

    /// A number the traced process prints.
    pub fn number(&mut self, line: &str) -> u64 {
        self.ask(line).parse().expect("a number")
    }

    /// Lets it end by itself; it must have found nothing wrong.
    pub fn quit(mut self) {
        self.tell("quit");
        assert!(self.child.wait().expect("waits").success());
    }

    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
