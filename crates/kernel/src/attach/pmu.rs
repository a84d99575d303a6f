//! The `kprobe` and `uprobe` PMUs: probes made by perf_event_open itself, which end with the descriptor.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use stylet_uapi::perf;

use crate::feature::Feature;
use crate::sys::{self, Errno, PerfEventAttr};
use crate::{Error, Kernel};

/// Where the kernel describes its PMUs.
const DEVICES: &str = "/sys/bus/event_source/devices";

/// A PMU as sysfs describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pmu {
    /// `attr.type`
    pub type_: u32,
    /// Bit of `attr.config` that makes it a return probe.
    pub retprobe: u32,
    /// First bit of `attr.config` for the reference counter's offset, where it has one (uprobe, since 4.20).
    pub ref_ctr: Option<u32>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PmuKind {
    /// Kernel functions.
    Kprobe,
    /// Places in files.
    Uprobe,
}

impl PmuKind {
    fn name(self) -> &'static str {
        match self {
            PmuKind::Kprobe => "kprobe",
            PmuKind::Uprobe => "uprobe",
        }
    }

    /// What a kernel without it has not got.
    pub(crate) fn feature(self) -> Feature {
        match self {
            PmuKind::Kprobe => Feature::KprobePmu,
            PmuKind::Uprobe => Feature::UprobePmu,
        }
    }
}

impl Pmu {
    /// A PMU's description.
    ///
    /// # Errors
    /// [`Error::Missing`] when the kernel has none (before 4.17).
    pub fn find(kernel: &Kernel, kind: PmuKind) -> Result<Pmu, Error> {
        kernel.pmu(kind).ok_or_else(|| kernel.missing(kind.feature(), None))
    }

    /// Reads a PMU's description from sysfs, once for each [`Kernel`].
    pub(crate) fn of_sysfs(kind: PmuKind) -> Option<Pmu> {
        Pmu::read(&Path::new(DEVICES).join(kind.name()))
    }

    fn read(device: &Path) -> Option<Pmu> {
        let read = |name: &str| std::fs::read_to_string(device.join(name)).ok();
        let bit = |name: &str| first_bit(read(name)?.trim());
        Some(Pmu {
            type_: read("type")?.trim().parse().ok()?,
            retprobe: bit("format/retprobe")?,
            ref_ctr: bit("format/ref_ctr_offset"),
        })
    }

    /// Opens a kprobe: a function and an offset in it, or without function an address.
    pub(crate) fn open_kprobe(
        &self,
        function: Option<&CStr>,
        offset_or_addr: u64,
        ret: bool,
    ) -> Result<OwnedFd, Errno> {
        let name = function.map_or(0, |name| name.as_ptr() as u64);
        let attr = self.attr(ret, 0, name, offset_or_addr);
        // A probe of the kernel is on every CPU, whichever CPU its event is of.
        sys::perf_event_open(&attr, -1, 0)
    }

    /// Opens a uprobe at an offset of a file; `pid` -1 is every process, 0 this one.
    pub(crate) fn open_uprobe(
        &self,
        path: &CStr,
        offset: u64,
        ret: bool,
        ref_ctr: u64,
        pid: i32,
    ) -> Result<OwnedFd, Errno> {
        let shift = self.ref_ctr.unwrap_or(0);
        let attr = self.attr(ret, ref_ctr << shift, path.as_ptr() as u64, offset);
        let (pid, cpu) = task(pid);
        sys::perf_event_open(&attr, pid, cpu)
    }

    fn attr(&self, ret: bool, config: u64, config1: u64, config2: u64) -> PerfEventAttr {
        let retprobe = if ret { 1 << self.retprobe } else { 0 };
        PerfEventAttr {
            type_: self.type_,
            config: config | retprobe,
            config1,
            config2,
            ..sampled()
        }
    }
}

/// Opens a tracepoint event, of a tracefs event's id.
pub(crate) fn open_tracepoint(id: u64, pid: i32) -> Result<OwnedFd, Errno> {
    let attr = PerfEventAttr { type_: perf::TYPE_TRACEPOINT, config: id, ..sampled() };
    let (pid, cpu) = task(pid);
    sys::perf_event_open(&attr, pid, cpu)
}

/// What all these events have: each hit is a sample, should someone map the event's buffer.
fn sampled() -> PerfEventAttr {
    PerfEventAttr {
        sample_period: 1,
        sample_type: perf::SAMPLE_RAW,
        wakeup_events: 1,
        ..PerfEventAttr::default()
    }
}

/// Process and CPU for perf_event_open: not both may be "any", and one CPU's event covers all for a probe.
fn task(pid: i32) -> (i32, i32) {
    if pid < 0 { (-1, 0) } else { (pid, -1) }
}

/// The first bit in `config:0` or `config:32-63`.
fn first_bit(text: &str) -> Option<u32> {
    let bits = text.strip_prefix("config:")?;
    let first = bits.split('-').next()?;
    first.parse().ok().filter(|bit| *bit < u64::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        assert_eq!(first_bit("config:0"), Some(0));
        assert_eq!(first_bit("config:32-63"), Some(32));
        for bad in ["", "config1:0", "config:", "config:64", "config:x-3"] {
            assert_eq!(first_bit(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_description() {
        let dir = std::env::temp_dir().join(format!("stylet-pmu-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("format")).unwrap();
        std::fs::write(dir.join("type"), "9\n").unwrap();
        assert_eq!(Pmu::read(&dir), None);
        std::fs::write(dir.join("format/retprobe"), "config:0\n").unwrap();
        assert_eq!(Pmu::read(&dir), Some(Pmu { type_: 9, retprobe: 0, ref_ctr: None }));
        std::fs::write(dir.join("format/ref_ctr_offset"), "config:32-63\n").unwrap();
        assert_eq!(Pmu::read(&dir).unwrap().ref_ctr, Some(32));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
