//! `stylet list`: what the kernel holds, and who holds it.

pub mod json;
mod link;
pub mod text;

use crate::args::{ListArgs, Listed};
use serde_json::Value;
use std::io::Write;
use stylet::Error;
use stylet::kernel::{Holders, Kernel, links, maps, progs};

/// Prints what `args` asks for to standard output.
pub fn run(args: &ListArgs) -> Result<(), Error> {
    let kernel = Kernel::open().map_err(Error::from)?;
    let holders = Holders::scan();
    let wants = |what| args.what.is_none_or(|w| w == what);
    let mut all = serde_json::Map::new();
    let mut text = String::new();
    if wants(Listed::Progs) {
        let progs = progs(&kernel, &holders)?;
        text::progs(&mut text, &progs);
        all.insert("progs".into(), progs.iter().map(json::prog).collect());
    }
    if wants(Listed::Maps) {
        let maps = maps(&kernel, &holders)?;
        text::maps(&mut text, &maps);
        all.insert("maps".into(), maps.iter().map(json::map).collect());
    }
    if wants(Listed::Links) {
        let links = links(&kernel, &holders)?;
        text::links(&mut text, &links);
        all.insert("links".into(), links.iter().map(|l| json::link(&kernel, l)).collect());
    }
    if wants(Listed::Perf) {
        text::events(&mut text, holders.events());
        all.insert("perf".into(), holders.events().iter().map(json::event).collect());
    }
    let out = match args.json {
        true if args.what.is_some() => {
            format!("{}\n", all.into_iter().next().map_or(Value::Null, |(_, list)| list))
        }
        true => format!("{}\n", Value::Object(all)),
        false => text.trim_start_matches('\n').to_owned(),
    };
    let mut stdout = anstream::stdout().lock();
    let written = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    written.or_else(crate::run::output_error)
}
