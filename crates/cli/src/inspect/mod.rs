//! `stylet inspect`: what is in a BPF object.

mod json;
mod kernel;
mod kernel_prog;
mod text;
mod x86;

use crate::args::InspectArgs;
use std::io::Write;
use stylet::kernel::Selector;
use stylet::{Error, Object};

/// Prints what `args` asks for to standard output.
pub fn run(args: &InspectArgs) -> Result<(), Error> {
    if let Some(selector) = args.object.to_str().and_then(Selector::parse) {
        return print(&kernel::render(&selector, args)?);
    }
    let mut object = Object::open(&args.object)?;
    if let Some(only) = &args.prog {
        let names: Vec<String> = object.spec().progs.iter().map(|p| p.name.clone()).collect();
        object.set_autoload(only, true)?;
        for name in names.iter().filter(|n| *n != only) {
            object.set_autoload(name, false)?;
        }
    } else {
        // Everything is shown, loaded by default or not.
        let names: Vec<String> = object.spec().progs.iter().map(|p| p.name.clone()).collect();
        for name in names {
            object.set_autoload(&name, true)?;
        }
    }
    if args.disasm || args.jited {
        object = stylet::user::relocate(&object)?;
    }
    print(&if args.json { json::render(&object, args)? } else { text::render(&object, args)? })
}

fn print(out: &str) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    let written = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    written.or_else(crate::run::output_error)
}
