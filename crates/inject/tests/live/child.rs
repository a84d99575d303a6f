//! The traced side's process, from the tracing side.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use stylet_inject::proc::{Map, Maps, Memory};

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

    /// Address of one of the functions of `parts::SITES`.
    pub fn addr(&mut self, name: &str) -> u64 {
        let index =
            crate::parts::SITES.iter().position(|(n, _)| *n == name).expect("a known function");
        self.number(&format!("addr {index}"))
    }

    /// Lets it end by itself; it must have found nothing wrong.
    pub fn quit(mut self) {
        self.tell("quit");
        assert!(self.child.wait().expect("waits").success());
    }
}

/// Code bytes and mappings of a process, to compare.
pub struct Snapshot {
    maps: Maps,
    code: Vec<u8>,
}

impl Snapshot {
    /// Of all code of the process's executable.
    pub fn of(pid: i32) -> Snapshot {
        let mut maps = Maps::of(pid).expect("maps");
        let exe = std::env::current_exe().expect("own path");
        let code = maps.0.iter().find(|m| m.exec && m.path().as_ref() == Some(&exe)).expect("code");
        let code = Memory::open(pid)
            .expect("memory")
            .bytes(code.start, code.size() as usize)
            .expect("bytes");
        // What the process itself allocates meanwhile.
        maps.0.retain(|m| m.is_file() || m.exec);
        Snapshot { maps, code }
    }

    /// Panics with the differences.
    pub fn assert_same(&self, before: &Snapshot) {
        let only = |a: &Snapshot, b: &Snapshot| -> Vec<Map> {
            a.maps.0.iter().filter(|m| !b.maps.0.contains(m)).cloned().collect()
        };
        let (new, lost) = (only(self, before), only(before, self));
        assert!(new.is_empty() && lost.is_empty(), "mappings: new {new:#x?}, lost {lost:#x?}");
        self.assert_same_code(before);
    }

    /// Panics if code differs.
    pub fn assert_same_code(&self, before: &Snapshot) {
        let bytes = self.code.iter().zip(&before.code).position(|(a, b)| a != b);
        assert_eq!(bytes, None, "offset of the first code byte that differs");
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
