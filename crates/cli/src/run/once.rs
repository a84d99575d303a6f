//! Programs that run once, and iterators, which run while they are read.

use super::output_error;
use crate::args::{RunArgs, for_prog};
use crate::value::{hex, to_json};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::PathBuf;
use stylet::{AttachTarget, Error, ForProg, Object, OnceOutput, ProgSpec, Session};
use stylet_btf::{Value, value};
use stylet_uapi::ProgType;

/// The files of `--ctx`, read.
pub fn contexts(args: &RunArgs, objects: &[Object]) -> Result<Vec<ForProg<Vec<u8>>>, Error> {
    let read = |text: &String| {
        let (prog, file) = for_prog(text);
        let mut progs = objects.iter().flat_map(Object::autoload_progs);
        if !progs.any(|spec| is_run(spec) && prog.as_ref().is_none_or(|name| *name == spec.name)) {
            let text =
                format!("--ctx {text}: no program of type SYSCALL (SEC(\"syscall\")) takes it");
            return Err(Error::Option { text });
        }
        let path = PathBuf::from(file);
        let value = std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
        Ok(ForProg { prog, value })
    };
    args.contexts.iter().map(read).collect()
}

/// Runs what is to be run once, and prints what it returned.
pub fn run(args: &RunArgs, session: &Session, contexts: &[ForProg<Vec<u8>>]) -> Result<(), Error> {
    for output in session.run_once(contexts)? {
        let line = match args.json {
            true => returned_json(session, &output).to_string(),
            false => returned(session, &output),
        };
        print(format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

/// Reads the iterators, each to its end, and prints what they wrote.
pub fn iterate(args: &RunArgs, session: &Session) -> Result<(), Error> {
    for (prog, bytes) in session.read_iters()? {
        if !args.json {
            print(&bytes)?;
            continue;
        }
        let mut line = json!({"type": "iter", "prog": prog});
        match String::from_utf8(bytes) {
            Ok(text) => line["text"] = text.into(),
            Err(other) => line["data"] = other.into_bytes().into(),
        }
        print(format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

/// Whether a program is loaded that runs when something happens.
pub fn waits(session: &Session) -> bool {
    let mut progs = session.objects().flat_map(Object::autoload_progs);
    progs.any(|spec| !is_run(spec) && !matches!(spec.sec.target, AttachTarget::Iter { .. }))
}

fn is_run(spec: &ProgSpec) -> bool {
    spec.sec.prog_type == ProgType::SYSCALL
}

/// `multiply returned 42, context {a: 6, b: 7}`; errors by their negative number, too.
fn returned(session: &Session, output: &OnceOutput) -> String {
    let negative = ((output.retval as i32) < 0).then(|| format!(" ({})", output.retval as i32));
    let context = match context(session, output) {
        Some(value) => format!(", context {value}"),
        None if output.ctx.is_empty() => String::new(),
        None => format!(", context {}", hex(&output.ctx)),
    };
    format!("{} returned {}{}{context}", output.prog, output.retval, negative.unwrap_or_default())
}

fn returned_json(session: &Session, output: &OnceOutput) -> Json {
    let mut line = json!({"type": "run", "prog": output.prog, "retval": output.retval});
    line["ctx"] = match context(session, output) {
        Some(value) => to_json(&value),
        None => output.ctx.clone().into(),
    };
    line
}

/// The context by its type.
fn context<'a>(session: &'a Session, output: &'a OnceOutput) -> Option<Value<'a>> {
    let btf = session.object(output.object)?.spec().btf.as_ref()?;
    Some(value::decode(btf, output.ctx_type?, &output.ctx))
}

fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).or_else(output_error)
}
