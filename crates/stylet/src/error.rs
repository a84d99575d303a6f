//! The library's one error type.

use std::io;
use std::path::PathBuf;
use stylet_verifier::Rejection;

/// Whose fault an error is; the command's exit code follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The verifier refuses a program: exit code 1.
    Verdict,
    /// An object, a name, a process or an option is wrong: exit code 2.
    Input,
    /// A privilege or a feature of this machine is missing: exit code 3.
    Environment,
    /// A defect of Stylet: exit code 2, with a request to report it.
    Bug,
}

/// What can go wrong from an object file to a probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no BPF object that can be used.
    #[error("{}: {source}", path.display())]
    Object {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<stylet_object::Error>,
    },
    /// No program of that name.
    #[error("{}: no program '{name}' (it has: {})", object.display(), known.join(", "))]
    NoSuchProg {
        /// The object.
        object: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No map of that name.
    #[error("{}: no map '{name}' (it has: {})", object.display(), known.join(", "))]
    NoSuchMap {
        /// The object.
        object: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No global variable of that name.
    #[error("{}: no global variable '{name}' (it has: {})", object.display(), known.join(", "))]
    NoSuchGlobal {
        /// The object.
        object: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A text that is no value of a global variable's type.
    #[error("global variable '{name}': '{value}': {reason}")]
    GlobalValue {
        /// The variable.
        name: String,
        /// The text.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// An attach target that can not be understood.
    #[error("'{text}' is no attach target: {reason}")]
    AttachSyntax {
        /// The text.
        text: String,
        /// What was expected.
        reason: &'static str,
    },
    /// The object asks for something that the user backend does not have.
    #[error("{}: {what} is not there in the user backend{}", object.display(), advice_suffix(advice))]
    Unsupported {
        /// The object.
        object: PathBuf,
        /// What is asked for, and by which map or program.
        what: String,
        /// Where it is to be had, maybe empty.
        advice: &'static str,
    },
    /// A program that changes what it traces, without leave.
    #[error(
        "{}: program '{prog}' {what}: allow it with --allow-write", object.display()
    )]
    WriteNotAllowed {
        /// The object.
        object: PathBuf,
        /// The program.
        prog: String,
        /// What it does.
        what: &'static str,
    },
    /// The verifier refuses a program.
    #[error("{}: program '{prog}' is rejected: {}", object.display(), rejection.message())]
    Rejected {
        /// The object.
        object: PathBuf,
        /// The program.
        prog: String,
        /// Why.
        rejection: Box<Rejection>,
        /// The same for people.
        report: Box<stylet_diag::Report>,
    },
    /// The kernel does not let programs of this type call a helper that it has.
    #[error("{}: program '{prog}': the kernel withholds {helper}: {why}", object.display())]
    HelperWithheld {
        /// The object.
        object: PathBuf,
        /// The program.
        prog: String,
        /// The helper.
        helper: &'static str,
        /// What would provide it.
        why: &'static str,
    },
    /// The kernel's verifier refuses a program.
    #[error("{}: program '{prog}' is rejected by the kernel: {}", object.display(), finding.message)]
    RejectedByKernel {
        /// The object.
        object: PathBuf,
        /// The program.
        prog: String,
        /// What the kernel said; its log is whole.
        finding: Box<stylet_diag::Finding>,
        /// The same for people.
        report: Box<stylet_diag::Report>,
    },
    /// A symbol, a process or a site can not be had.
    #[error("{context}{source}")]
    Inject {
        /// What was being done, ending in `: `, or empty.
        context: String,
        /// Why not.
        source: stylet_inject::Error,
    },
    /// The tracer was asked to trace itself.
    #[error("process {pid} is the tracer itself, which cannot stop its own threads")]
    Itself {
        /// Its id.
        pid: i32,
    },
    /// The arena or a map can not be made.
    #[error("{what}: {source}")]
    Runtime {
        /// What was being made.
        what: String,
        /// Why not.
        source: stylet_runtime::host::Error,
    },
    /// A verified program could not be compiled.
    #[error("program '{prog}': {source}")]
    Jit {
        /// The program.
        prog: String,
        /// Why not.
        source: stylet_jit::Error,
    },
    /// An initial entry of a map of maps or a program array that does not fit in.
    #[error("{}: map '{map}': entry {slot}: {reason}", object.display())]
    MapEntry {
        /// The object.
        object: PathBuf,
        /// The map.
        map: String,
        /// The entry.
        slot: u32,
        /// Why not.
        reason: &'static str,
    },
    /// Generated code refers to something that is not there.
    #[error("program '{prog}': generated code refers to what the arena does not have")]
    Link {
        /// The program.
        prog: String,
    },
    /// A defect of Stylet.
    #[error("internal error: {what}")]
    Bug {
        /// What went wrong.
        what: String,
    },
    /// An object without BTF, where types are wanted.
    #[error("{}: the object has no BTF (compile it with -g)", object.display())]
    NoBtf {
        /// The object.
        object: PathBuf,
    },
    /// The object's BTF can not be printed.
    #[error("{}: BTF: {source}", object.display())]
    Btf {
        /// The object.
        object: PathBuf,
        /// Why.
        source: stylet_btf::Error,
    },
    /// An option that can not be meant so.
    #[error("{text}")]
    Option {
        /// Which, and why.
        text: String,
    },
    /// A file that holds no BTF of a kernel.
    #[error("{}: no BTF of a kernel: {source}", path.display())]
    KernelBtf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: stylet_btf::Error,
    },
    /// A type for events that no object has.
    #[error("{what}")]
    EventType {
        /// Which.
        what: String,
    },
    /// A program whose section names no target, and none was given.
    #[error(
        "{}: program '{prog}' (SEC(\"{section}\")) names no function: give one with --attach {prog}={}",
        object.display(), place_of(section)
    )]
    NoTarget {
        /// The object.
        object: PathBuf,
        /// The program.
        prog: String,
        /// Its section.
        section: String,
    },
    /// The kernel refuses, or does not have what is asked for.
    #[error("{context}{source}")]
    Kernel {
        /// What was being done, ending in `: `, or empty.
        context: String,
        /// Why not.
        source: Box<stylet_kernel::Error>,
    },
    /// The kernel holds nothing by that id, name or tag.
    #[error("the kernel holds no {kind} '{wanted}'{}", advice_suffix(advice))]
    NoSuchKernelObject {
        /// `prog`, `map` or `link`.
        kind: &'static str,
        /// What was asked for.
        wanted: String,
        /// What would help, maybe empty.
        advice: String,
    },
    /// The kernel does not show a program's code.
    #[error(
        "the kernel does not show the {what} of program {prog}: it needs root and kernel.kptr_restrict below 2"
    )]
    NotShown {
        /// Its id.
        prog: u32,
        /// `instructions` or `machine code`.
        what: &'static str,
    },
    /// A program that is run with a context that does not fit it.
    #[error(
        "program '{prog}' does not run with a context of {len} bytes: it uses more, or the kernel takes no such size (65535 \
         at most); give it one with --ctx {prog}=FILE"
    )]
    Context {
        /// The program.
        prog: String,
        /// Bytes that it was given.
        len: usize,
    },
    /// No such process.
    #[error("process {pid}: {source}")]
    NoProcess {
        /// Its id.
        pid: i32,
        /// Why not.
        source: io::Error,
    },
    /// Nothing was attached.
    #[error("{what}")]
    NothingAttached {
        /// Why, for each program.
        what: String,
    },
    /// A command could not be started.
    #[error("{command}: {source}")]
    Spawn {
        /// Its name.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// A system call of the tracer failed.
    #[error("{what}: {source}")]
    System {
        /// Which, for what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The form of what a section leaves open.
fn place_of(section: &str) -> &'static str {
    match section.split(['/', '.']).next().unwrap_or_default() {
        "kprobe" | "kretprobe" | "fentry" | "fexit" | "fmod_ret" => "FUNC",
        "ksyscall" | "kretsyscall" => "SYSCALL",
        "tracepoint" | "tp" => "CATEGORY:NAME",
        "raw_tracepoint" | "raw_tp" | "tp_btf" => "NAME",
        _ => "PATH:FUNC",
    }
}

fn advice_suffix(advice: &str) -> String {
    if advice.is_empty() { String::new() } else { format!(": {advice}") }
}

impl From<stylet_kernel::Error> for Error {
    fn from(source: stylet_kernel::Error) -> Error {
        Error::Kernel { context: String::new(), source: Box::new(source) }
    }
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Rejected { .. } | Error::RejectedByKernel { .. } => Fault::Verdict,
            Error::Inject { source: stylet_inject::Error::Permission { .. }, .. } => {
                Fault::Environment
            }
            Error::NotShown { .. }
            | Error::HelperWithheld { .. }
            | Error::Unsupported { .. }
            | Error::Runtime { .. }
            | Error::System { .. } => Fault::Environment,
            Error::Jit { .. } | Error::Link { .. } | Error::Bug { .. } => Fault::Bug,
            Error::Kernel { source, .. } => match source.fault() {
                stylet_kernel::Fault::Verdict => Fault::Verdict,
                stylet_kernel::Fault::Input => Fault::Input,
                stylet_kernel::Fault::Environment => Fault::Environment,
                stylet_kernel::Fault::Bug => Fault::Bug,
            },
            _ => Fault::Input,
        }
    }

    /// An error of the kernel backend with what was being done: text that ends in `: `, or none.
    pub(crate) fn kernel(context: impl Into<String>) -> impl FnOnce(stylet_kernel::Error) -> Error {
        let context = context.into();
        move |source| Error::Kernel { context, source: Box::new(source) }
    }
}
