//! From `--kernel` and `--btf` to places.

use super::args::CheckArgs;
use std::path::Path;
use stylet::Error;
use stylet::check::{Lender, Place, read_btf};
use stylet_catalog::Release;

/// A column of the table.
pub struct Column {
    /// `6.12`, `running 6.18`, `user`.
    pub label: String,
    pub place: Place,
    /// Position among releases; `None` for what is no release.
    pub release: Option<Release>,
}

/// The columns in the order in which they were asked for, releases of `all` ascending.
pub fn columns(args: &CheckArgs) -> Result<Vec<Column>, Error> {
    let mut names: Vec<String> = Vec::new();
    for name in args.kernel.iter().map(|n| n.trim()) {
        match name {
            "all" => names.extend(Release::KNOWN.iter().map(Release::to_string)),
            _ => names.push(name.to_owned()),
        }
    }
    let mut btfs = given_btfs(args, names.len())?;
    // Types for releases whose own are not known.
    let lender = Place::running_types();
    let mut columns: Vec<Column> = Vec::new();
    for name in names {
        if columns.iter().any(|c| c.label == name) {
            continue;
        }
        let at = btfs.iter().position(|(of, _)| of.as_ref().is_none_or(|of| *of == name));
        let btf = at.map(|at| btfs.remove(at).1);
        columns.push(column(&name, btf, &lender)?);
    }
    match btfs.first() {
        Some((Some(name), _)) => {
            Err(Error::Option { text: format!("--btf {name}=…: {name} is not among --kernel") })
        }
        _ => Ok(columns),
    }
}

fn given_btfs(
    args: &CheckArgs,
    kernels: usize,
) -> Result<Vec<(Option<String>, stylet_btf::Btf)>, Error> {
    let mut btfs = Vec::new();
    for text in &args.btf {
        let named = text.split_once('=').filter(|(name, _)| {
            name.parse::<Release>().is_ok() || ["running", "user"].contains(name)
        });
        let (name, file) = match named {
            Some((name, file)) => (Some(name.to_owned()), file),
            None => (None, text.as_str()),
        };
        if name.is_none() && kernels != 1 {
            let text = format!("--btf {text}: which of the {kernels} kernels? RELEASE=FILE");
            return Err(Error::Option { text });
        }
        btfs.push((name, read_btf(Path::new(file))?));
    }
    Ok(btfs)
}

fn column(name: &str, btf: Option<stylet_btf::Btf>, lender: &Lender) -> Result<Column, Error> {
    let label = name.to_owned();
    match name {
        "user" => Ok(Column { label, place: Place::user()?, release: None }),
        "running" => {
            let place = Place::running()?;
            let place = match btf {
                Some(btf) => place.with_btf(btf),
                None => place,
            };
            let label = format!("running ({})", place.env().release());
            Ok(Column { label, place, release: None })
        }
        _ => {
            let newest = Release::V7_3;
            let release =
                name.parse::<Release>().ok().filter(|r| (Release::V5_10..=newest).contains(r));
            let Some(release) = release else {
                let text = format!(
                    "--kernel {name}: releases from 5.10 to {newest} are known, and `running`, `user`, `all`"
                );
                return Err(Error::Option { text });
            };
            let place = Place::release(release, btf).with_borrowed_types(lender.clone());
            Ok(Column { label: release.to_string(), place, release: Some(release) })
        }
    }
}
