//! USDT markers, by libbpf's contract: `usdt.bpf.h` finds a marker's arguments in a map of the object that we fill.

mod records;

pub(crate) use records::Registry;

use records::{Lease, Records};
use stylet_object::AttachTarget;
use stylet_symbols::usdt::{Marker, parse_args};
use stylet_symbols::{ElfImage, Maps};
use stylet_uapi::AttachType;

use super::event::Attempt;
use super::file::Binary;
use super::multi::{Sites, attach_sites};
use super::{UprobeOpts, uprobe};
use crate::feature::Feature;
use crate::{Error, Kernel, Link, Prog};

/// Which marker and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtOpts {
    /// Path or name of the file.
    pub path: String,
    /// Provider.
    pub provider: String,
    /// Name.
    pub name: String,
    /// Process; [`ALL_PROCESSES`](super::ALL_PROCESSES) or [`THIS_PROCESS`](super::THIS_PROCESS).
    pub pid: i32,
    /// Value for `bpf_usdt_cookie`.
    pub cookie: u64,
}

impl UsdtOpts {
    /// In all processes.
    pub fn new(
        path: impl Into<String>,
        provider: impl Into<String>,
        name: impl Into<String>,
    ) -> UsdtOpts {
        UsdtOpts {
            path: path.into(),
            provider: provider.into(),
            name: name.into(),
            pid: super::ALL_PROCESSES,
            cookie: 0,
        }
    }

    /// What a section name says: `usdt/…`. `None` for others.
    pub fn from_target(target: &AttachTarget) -> Option<UsdtOpts> {
        let AttachTarget::Usdt { path, provider, name } = target else { return None };
        Some(UsdtOpts::new(path, provider, name))
    }
}

/// One place of a marker.
struct Site {
    /// Offset in the file.
    offset: u64,
    /// Offset in the file of its semaphore, 0 for none.
    semaphore: u64,
    /// Number of its record in the program's map.
    spec_id: u32,
}

/// Attaches a program to every place of a USDT marker (`bpf_program__attach_usdt` of libbpf): by one link where it was loaded
/// as uprobe.multi (`SEC("usdt")` where the kernel has it), else by a uprobe for each place.
///
/// The number of the arguments' record reaches the program as the cookie. Before 5.15 there are none: then it is found by
/// address, which is known only of a process or of a file that is not position-independent.
///
/// # Errors
/// [`Error::Symbols`] for a marker that is not there or has arguments that cannot be read; [`Error::Attach`] when the map is
/// full; [`Error::Missing`] for a semaphore before 4.20; else those of [`uprobe()`] and
/// [`uprobe_multi`](super::uprobe_multi()).
pub fn usdt(kernel: &Kernel, prog: &Prog, opts: &UsdtOpts) -> Result<Link, Error> {
    let to = format!("usdt '{}:{}:{}'", opts.path, opts.provider, opts.name);
    let attempt = Attempt { kernel, prog, to };
    attempt.check(&[AttachType(0), AttachType::TRACE_UPROBE_MULTI], "SEC(\"usdt\")")?;
    let file = Binary::find(&opts.path, opts.pid)?;
    let image = file.image()?;
    let markers = image.marker(&opts.provider, &opts.name)?;
    let by_cookie = kernel.has(Feature::PerfLink);
    let mut records = Records::of(&attempt)?;
    let mut sites = Vec::new();
    for marker in markers {
        let offset = code_offset(&attempt, &image, marker)?;
        let semaphore = match marker.semaphore {
            0 => 0,
            vaddr => image
                .offset_of(vaddr)
                .ok_or_else(|| attempt.error(None, "its semaphore is in no segment of the file"))?,
        };
        let mut spec_id = 0;
        if let Some(records) = &mut records {
            let args = parse_args(&marker.args)?;
            spec_id = records.add(&attempt, &marker.args, &args, opts.cookie)?;
            if !by_cookie {
                let address = address(&attempt, &file, &image, marker, offset, opts.pid)?;
                records.at(&attempt, address, spec_id)?;
            }
        }
        sites.push(Site { offset, semaphore, spec_id });
    }
    let link = attach(&attempt, &file, &sites, opts, by_cookie)?;
    Ok(match records.map(Records::lease) {
        Some(lease) => link.with_leftover(Box::<Lease>::new(lease)),
        None => link,
    })
}

fn attach(
    attempt: &Attempt<'_>,
    file: &Binary,
    sites: &[Site],
    opts: &UsdtOpts,
    by_cookie: bool,
) -> Result<Link, Error> {
    if attempt.prog.attach_type() == AttachType::TRACE_UPROBE_MULTI {
        let offsets: Vec<u64> = sites.iter().map(|site| site.offset).collect();
        let cookies: Vec<u64> = sites.iter().map(|site| site.spec_id.into()).collect();
        let mut counters: Vec<u64> = sites.iter().map(|site| site.semaphore).collect();
        if counters.iter().all(|counter| *counter == 0) {
            counters.clear();
        }
        let sites = Sites { offsets: &offsets, ref_ctr_offsets: &counters, cookies: &cookies };
        return attach_sites(attempt, file, &sites, false, opts.pid);
    }
    let links = sites.iter().map(|site| {
        let probe = UprobeOpts {
            pid: opts.pid,
            ref_ctr_offset: site.semaphore,
            cookie: if by_cookie { site.spec_id.into() } else { 0 },
            ..UprobeOpts::offset(opts.path.as_str(), site.offset)
        };
        uprobe::at(attempt.kernel, attempt.prog, file, site.offset, &probe)
    });
    Ok(Link::group(links.collect::<Result<Vec<_>, _>>()?))
}

fn code_offset(attempt: &Attempt<'_>, image: &ElfImage, marker: &Marker) -> Result<u64, Error> {
    image
        .offset_of(marker.vaddr)
        .ok_or_else(|| attempt.error(None, "a place of it is in no segment of the file"))
}

/// The marker's address in the process.
fn address(
    attempt: &Attempt<'_>,
    file: &Binary,
    image: &ElfImage,
    marker: &Marker,
    offset: u64,
    pid: i32,
) -> Result<u64, Error> {
    if !image.is_dyn {
        return Ok(marker.vaddr);
    }
    let pid = match pid {
        0 => std::process::id() as i32,
        pid if pid > 0 => pid,
        _ => {
            let why = "before Linux 5.15 (cookies) a marker of position-independent code is attached in one process \
                       only: name it";
            return Err(attempt.error(None, why));
        }
    };
    let maps = Maps::of(pid)?;
    let path = std::fs::canonicalize(&file.shown).unwrap_or_else(|_| file.shown.clone());
    let covers = |map: &&stylet_symbols::Map| {
        let inside = offset.checked_sub(map.offset).is_some_and(|d| d < map.size());
        map.exec && inside && map.path().is_some_and(|p| p == path || p == file.shown)
    };
    match maps.0.iter().find(covers) {
        Some(map) => Ok(map.start + (offset - map.offset)),
        None => Err(stylet_symbols::Error::NotMapped { path: file.shown.clone(), pid }.into()),
    }
}
