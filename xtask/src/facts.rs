//! `facts DIR`: writes crates/catalog/src/tables/*.rs from tables of facts (TSV files in DIR)
//! and from `corrections/*.tsv` beside this file, which win.

mod proto;
mod render;
mod tsv;

use std::path::Path;

/// One line of help.
pub const USAGE: &str = "facts DIR    regenerate crates/catalog/src/tables from the tables in DIR";

/// Runs the task; `args` is the directory of the tables.
pub fn run(args: &[String]) -> Result<(), String> {
    let [dir] = args else { return Err(format!("usage: cargo xtask {USAGE}")) };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = root.join("../crates/catalog/src/tables");
    let input = tsv::Input::read(Path::new(dir), &root.join("src/facts/corrections"))?;
    let mut files = render::helpers(&input)?;
    files.push(render::variants(&input)?);
    files.push(render::prog_helpers(&input)?);
    files.extend(render::kfuncs(&input)?);
    files.push(render::since("map_types.rs", "MAP_TYPES", "MapType", &input.map_types)?);
    files.push(render::since("prog_types.rs", "PROG_TYPES", "ProgType", &input.prog_types)?);
    files.push(render::since(
        "attach_types.rs",
        "ATTACH_TYPES",
        "AttachType",
        &input.attach_types,
    )?);
    for (name, text) in files {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    rustfmt(&out.join("mod.rs"))
}

/// Formats a file and the modules that it names.
fn rustfmt(path: &Path) -> Result<(), String> {
    let run = std::process::Command::new("rustfmt").args(["--edition", "2024"]).arg(path).status();
    match run {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("rustfmt {}: {status}", path.display())),
        Err(e) => Err(format!("rustfmt: {e}")),
    }
}
