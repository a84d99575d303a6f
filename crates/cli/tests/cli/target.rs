//! The traced program: this test binary, which obeys one command a line.

use crate::command::PATIENCE;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Set in the environment of the traced program.
pub const MARK: &str = "STYLET_TARGET";

/// The traced side.
pub fn obey() {
    for line in std::io::stdin().lines() {
        let line = line.expect("commands are text");
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let number = || rest.parse::<u64>().expect("a number");
        let answer = match word {
            // The parent's id, by as many calls of getppid.
            "call" => (0..number()).fold(0, |_, _| std::os::unix::process::parent_id()).to_string(),
            // By getenv.
            "env" => std::env::var_os(rest).map_or("missing", |_| "found").to_owned(),
            "threads" => {
                (0..number()).for_each(|_| drop(std::thread::spawn(busy)));
                rest.to_owned()
            }
            "quit" => return,
            _ => "unknown".to_owned(),
        };
        println!("{answer}");
    }
}

/// A thread that calls getppid for ever.
fn busy() {
    loop {
        std::hint::black_box(std::os::unix::process::parent_id());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A running traced program, or any other that answers a line with a line.
pub struct Target {
    child: Child,
    stdin: ChildStdin,
    stdout: Receiver<String>,
}

impl Target {
    /// Starts this test binary.
    pub fn start() -> Target {
        let exe = std::env::current_exe().expect("own path");
        let mut target = Target::of(Command::new(exe).env(MARK, "1").env("STYLET_MARK", "1"));
        // Once it answers, it has its libraries.
        assert_eq!(target.ask("threads 0"), "0");
        target
    }

    /// Starts it with threads that call getppid all the time.
    pub fn busy() -> Target {
        let mut target = Target::start();
        assert_eq!(target.ask("threads 3"), "3");
        target
    }

    /// Starts a command.
    pub fn of(command: &mut Command) -> Target {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the target starts");
        let stdin = child.stdin.take().expect("piped");
        let pipe = BufReader::new(child.stdout.take().expect("piped"));
        let (send, stdout) = channel();
        std::thread::spawn(move || {
            pipe.lines().map_while(Result::ok).take_while(|l| send.send(l.clone()).is_ok()).count()
        });
        Target { child, stdin, stdout }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `-p PID` as two words.
    pub fn option(&self) -> [String; 2] {
        ["-p".into(), self.pid().to_string()]
    }

    /// Sends a line.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the target reads");
    }

    /// The next line of the target.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("the target answers")
    }

    /// Sends a line and gives the answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    /// Whether it still does what it is told, without any other effect.
    #[track_caller]
    pub fn assert_answers(&mut self) {
        assert_eq!(self.ask("call 1"), std::process::id().to_string());
    }

    /// Lets it end; it must end well.
    #[track_caller]
    pub fn quit(mut self) {
        self.tell("quit");
        assert!(crate::command::wait(&mut self.child).success());
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What must be the same after a detach: the mappings of files and of code, and the bytes of the C library's code.
#[derive(PartialEq, Eq)]
pub struct Footprint {
    maps: Vec<String>,
    code: Vec<u8>,
}

impl Footprint {
    /// Of a running process.
    pub fn of(pid: u32) -> Footprint {
        let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        let field = |l: &str, n: usize| l.split_whitespace().nth(n).unwrap_or("").to_owned();
        let kept = |l: &&str| field(l, 1).contains('x') || field(l, 5).starts_with('/');
        let maps: Vec<String> = text.lines().filter(kept).map(str::to_owned).collect();
        let libc = maps.iter().find(|l| l.contains("libc.so.6") && field(l, 1).contains('x'));
        let range = field(libc.expect("a C library"), 0);
        let (start, end) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let mut code = vec![0; (number(end) - number(start)) as usize];
        let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("memory");
        memory.read_exact_at(&mut code, number(start)).expect("code");
        Footprint { maps, code }
    }

    /// Panics with what differs.
    #[track_caller]
    pub fn assert_now(&self, pid: u32) {
        let now = Footprint::of(pid);
        assert_eq!(self.maps, now.maps);
        self.assert_code(&now);
    }

    /// Panics if the code differs.
    #[track_caller]
    pub fn assert_code(&self, other: &Footprint) {
        let differs = self.code.iter().zip(&other.code).position(|(a, b)| a != b);
        assert_eq!(differs, None, "offset in the C library's code");
    }

    /// Whether anything of Stylet's is mapped.
    pub fn is_marked(&self) -> bool {
        self.maps.iter().any(|l| l.contains("memfd:stylet"))
    }
}
