//! Running `stylet`, with every wait bounded.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything; only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A run that has ended.
#[derive(Clone)]
pub struct Output {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output, without the lines taken before.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Checks the exit code and that standard error has `text`, which is shown when not.
    #[track_caller]
    pub fn expect(&self, code: i32, text: &str) -> &Output {
        assert!(
            self.code == code && self.stderr.contains(text),
            "wanted exit code {code} and {text:?}, got {}\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Checks for an error: exit code and text, and nothing on standard output.
    #[track_caller]
    pub fn error(&self, code: i32, text: &str) {
        self.expect(code, text);
        assert_eq!(self.stdout, "");
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
    }

    /// Checks that it ended well and that standard output has each of `texts`.
    #[track_caller]
    pub fn shows(&self, texts: &[&str]) {
        for text in texts {
            assert!(
                self.code == 0 && self.stdout.contains(text),
                "wanted {text:?}, got {}\n{}\n{}",
                self.code,
                self.stdout,
                self.stderr
            );
        }
    }

    /// Lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// Lines of standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// `stylet` at work.
pub struct Run {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// Lines of standard error that have been waited for.
    seen: String,
    readers: Vec<JoinHandle<()>>,
}

impl Run {
    /// Starts it in the folder of the repository.
    pub fn start(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        Run::of(stylet().args(args))
    }

    /// Starts a command, whose output is collected.
    pub fn of(command: &mut Command) -> Run {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let (out, one) = lines(child.stdout.take().expect("piped"));
        let (err, two) = lines(child.stderr.take().expect("piped"));
        Run { child, stdout: out, stderr: err, seen: String::new(), readers: vec![one, two] }
    }

    /// The next line of standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line came"),
            Err(RecvTimeoutError::Disconnected) => panic!("it ended: {}", self.errors()),
        }
    }

    /// Waits for a line of standard error that contains `text`.
    #[track_caller]
    pub fn says(&mut self, text: &str) -> String {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen += &format!("{line}\n");
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(e) => panic!("{text:?} was not said ({e}): {}", self.seen),
            }
        }
    }

    /// Waits until the probes are in place.
    #[track_caller]
    pub fn attached(mut self) -> Run {
        self.says("attached ");
        self
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it as Ctrl-C does.
    #[track_caller]
    pub fn interrupt(self) -> Output {
        self.signal(Signal::INT);
        self.finish()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let status = wait(&mut self.child);
        self.readers.drain(..).for_each(|r| r.join().expect("a reader"));
        let stdout = self.stdout.try_iter().map(|l| l + "\n").collect();
        Output { code: status.code().unwrap_or(-1), stdout, stderr: self.errors() }
    }

    fn errors(&mut self) -> String {
        let rest: String = self.stderr.try_iter().map(|l| l + "\n").collect();
        std::mem::take(&mut self.seen) + &rest
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process of ours.
#[track_caller]
pub fn wait(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    let _ = child.kill();
    panic!("process {} did not end", child.id());
}

/// Lines of a pipe as they come. Bytes that are no UTF-8 are replaced.
fn lines(pipe: impl Read + Send + 'static) -> (Receiver<String>, JoinHandle<()>) {
    let (send, receive) = channel();
    let reader = std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            line.clear();
            if send.send(text).is_err() {
                break;
            }
        }
    });
    (receive, reader)
}

/// The command under test, in the repository's folder.
pub fn stylet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stylet"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).env_remove("RUST_BACKTRACE");
    command
}

/// Runs `stylet` with words separated by blanks to its end.
pub fn run(words: &str) -> Output {
    Run::start(words.split_whitespace()).finish()
}

/// The same as a user without rights; `None` where that is not possible.
pub fn run_as_nobody(words: &str) -> Option<Output> {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let mut command = stylet();
    command.args(words.split_whitespace()).uid(NOBODY).gid(NOBODY);
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Some(Output { code: output.status.code().unwrap_or(-1), stdout, stderr })
}

/// Whether something comes true while there is patience.
pub fn eventually(test: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if test() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Path of a prebuilt object of these tests.
pub fn object(name: &str) -> String {
    format!("filetests/cli/{name}.bpf.o")
}

/// Why no process can be traced here, if so.
pub fn no_tracing() -> Option<&'static str> {
    static REASON: LazyLock<Option<String>> = LazyLock::new(|| {
        let output = run(&format!("run {} -q -- true", object("calls")));
        (output.code == 3).then_some(output.stderr)
    });
    REASON.as_deref()
}

/// For the tests that load the machine: one at a time.
pub static ALONE: Mutex<()> = Mutex::new(());
