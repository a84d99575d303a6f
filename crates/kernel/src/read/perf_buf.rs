//! Perf buffers (`BPF_MAP_TYPE_PERF_EVENT_ARRAY`): a ring for each CPU, written by `perf_event_output`.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use stylet_uapi::{MapType, perf};

use super::perf_record::{self, HEADER, Record};
use super::poll::{Interest, Poll};
use crate::sys::{self, Errno, Mapping, PerfEventAttr};
use crate::{Error, Map};

/// Where positions and sizes are in `struct perf_event_mmap_page`, in bytes.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// How a perf buffer is made.
#[derive(Clone, Debug)]
pub struct PerfBufOptions {
    /// Pages of each CPU's ring: a power of two.
    pub pages: usize,
    /// Records after which the reader is woken.
    pub wakeup_events: u32,
    /// CPUs; `None`: all that run now.
    pub cpus: Option<Vec<u32>>,
}

impl Default for PerfBufOptions {
    fn default() -> Self {
        PerfBufOptions { pages: 64, wakeup_events: 1, cpus: None }
    }
}

/// What a perf buffer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfEvent<'a> {
    /// What a program wrote, padded by the kernel to a multiple of 8 bytes with the 4 of its length: up to 7 bytes more, of
    /// no meaning.
    Data(&'a [u8]),
    /// So many records did not fit since the last one that did.
    Lost(u64),
}

/// The rings of a perf event array. They are taken out of the map when this is dropped.
#[derive(Debug)]
pub struct PerfBuf {
    map: Map,
    rings: Vec<Ring>,
    poll: Poll,
    /// One record's body, copied.
    body: Vec<u8>,
}

#[derive(Debug)]
struct Ring {
    cpu: u32,
    mapping: Mapping,
    /// Bytes of data, a power of two, behind the first page.
    size: u64,
    data: usize,
    lost: u64,
    /// Last: the mapping keeps the event alive.
    event: OwnedFd,
}

impl PerfBuf {
    /// Opens an event for each CPU and puts it into the map. CPUs whose number the map has no slot for are left out, as the
    /// kernel would drop what they write.
    ///
    /// # Errors
    /// [`Error::MapUse`] for another type of map or a size that is no power of two; [`Error::Sys`] when an event cannot be
    /// opened, mapped or put into the map.
    pub fn new(map: &Map, options: &PerfBufOptions) -> Result<PerfBuf, Error> {
        let what = "read as a perf buffer";
        if map.map_type() != MapType::PERF_EVENT_ARRAY {
            return Err(Error::map_use(map, what, "it is of another type"));
        }
        if !options.pages.is_power_of_two() {
            return Err(Error::map_use(map, what, "the number of pages is not a power of two"));
        }
        let duplicate =
            map.as_fd().try_clone_to_owned().map_err(Errno::from).and_then(Map::from_fd);
        let mut buf = PerfBuf {
            map: duplicate.map_err(Error::sys("dup", format!("sharing map '{}'", map.name())))?,
            rings: Vec::new(),
            poll: Poll::new()?,
            body: Vec::new(),
        };
        let cpus = match &options.cpus {
            Some(cpus) => cpus.clone(),
            None => sys::online_cpus().map_err(Error::sys("read", "the CPUs that run"))?,
        };
        for cpu in cpus.into_iter().filter(|cpu| *cpu < map.max_entries()) {
            buf.add(cpu, options)?;
        }
        Ok(buf)
    }

    fn add(&mut self, cpu: u32, options: &PerfBufOptions) -> Result<(), Error> {
        let what = format!("perf buffer '{}' of CPU {cpu}", self.map.name());
        let attr = PerfEventAttr {
            type_: perf::TYPE_SOFTWARE,
            config: perf::COUNT_SW_BPF_OUTPUT,
            sample_type: perf::SAMPLE_RAW,
            sample_period: 1,
            wakeup_events: options.wakeup_events,
            ..PerfEventAttr::default()
        };
        let event = sys::perf_event_open(&attr, -1, cpu as i32)
            .map_err(Error::sys("perf_event_open", what.clone()))?;
        let (page, size) = (sys::page_size() as usize, sys::page_size() as usize * options.pages);
        // Written: the kernel overwrites nothing that the reader has not passed.
        let mapping = Mapping::new(event.as_fd(), 0, page + size, true)
            .map_err(Error::sys("mmap", what.clone()))?;
        self.map
            .update_fd(&cpu.to_ne_bytes(), event.as_fd())
            .and_then(|()| sys::perf_event_enable(event.as_fd()))
            .map_err(Error::sys("BPF_MAP_UPDATE_ELEM", what))?;
        self.poll.add(event.as_fd(), self.rings.len() as u64, Interest::Readable)?;
        self.rings.push(Ring { cpu, mapping, size: size as u64, data: page, lost: 0, event });
        Ok(())
    }

    /// Waits until a CPU has something or the time is over (`None`: without end), and reads what there is on the CPUs that
    /// have. Returns how many records were read; at once after a signal.
    ///
    /// # Errors
    /// As for [`consume`](PerfBuf::consume).
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(u32, PerfEvent<'_>) -> ControlFlow<()>,
    ) -> Result<usize, Error> {
        let ready = self.poll.wait(timeout)?;
        let mut records = 0;
        for token in ready {
            let Some(ring) = self.rings.get_mut(token as usize) else { continue };
            let (read, flow) = ring.consume(&mut self.body, &mut each)?;
            records += read;
            if flow.is_break() {
                break;
            }
        }
        Ok(records)
    }

    /// Reads what is there now, CPU by CPU; `each` gets the CPU. Records of one CPU come in order, those of several do not.
    /// What comes meanwhile is left for the next call. Returns how many records were read.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a ring makes no sense.
    pub fn consume(
        &mut self,
        mut each: impl FnMut(u32, PerfEvent<'_>) -> ControlFlow<()>,
    ) -> Result<usize, Error> {
        let mut records = 0;
        for ring in &mut self.rings {
            let (read, flow) = ring.consume(&mut self.body, &mut each)?;
            records += read;
            if flow.is_break() {
                break;
            }
        }
        Ok(records)
    }

    /// How many records each CPU lost so far: CPU, count.
    pub fn lost(&self) -> impl Iterator<Item = (u32, u64)> {
        self.rings.iter().map(|ring| (ring.cpu, ring.lost))
    }
}

impl AsFd for PerfBuf {
    /// Readable while there is something to read: for another loop that waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

impl Drop for PerfBuf {
    fn drop(&mut self) {
        for ring in &self.rings {
            let _ = sys::perf_event_disable(ring.event.as_fd());
            // The map would keep the event, and programs would write to a ring that nobody reads.
            let _ = self.map.delete(&ring.cpu.to_ne_bytes());
        }
    }
}

impl Ring {
    fn consume(
        &mut self,
        body: &mut Vec<u8>,
        mut each: impl FnMut(u32, PerfEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(usize, ControlFlow<()>), Error> {
        let positions = self.mapping.load_u64(DATA_TAIL).zip(self.mapping.load_u64(DATA_HEAD));
        let (mut at, head) = positions.ok_or_else(|| self.corrupt(0))?;
        if head.wrapping_sub(at) > self.size {
            return Err(self.corrupt(at));
        }
        let (mut records, mut flow) = (0, ControlFlow::Continue(()));
        while at != head && flow.is_continue() {
            let word = self.mapping.load_u64(self.offset(at)).ok_or_else(|| self.corrupt(at))?;
            let (record_type, len) = perf_record::header(word);
            if len < HEADER || len as u64 > head.wrapping_sub(at) {
                return Err(self.corrupt(at));
            }
            self.copy(at.wrapping_add(HEADER as u64), len - HEADER, body)
                .ok_or_else(|| self.corrupt(at))?;
            let record = perf_record::parse(record_type, body).ok_or_else(|| self.corrupt(at))?;
            flow = match record {
                Record::Sample(data) => {
                    records += 1;
                    each(self.cpu, PerfEvent::Data(data))
                }
                Record::Lost(count) => {
                    self.lost += count;
                    each(self.cpu, PerfEvent::Lost(count))
                }
                Record::Other => flow,
            };
            at = at.wrapping_add(len as u64);
            self.mapping.store_u64(DATA_TAIL, at).ok_or_else(|| self.corrupt(at))?;
        }
        Ok((records, flow))
    }

    /// Where a position is in the mapping.
    fn offset(&self, at: u64) -> usize {
        self.data + (at & (self.size - 1)) as usize
    }

    /// Copies bytes that may go on at the ring's start.
    fn copy(&self, at: u64, len: usize, body: &mut Vec<u8>) -> Option<()> {
        body.clear();
        let until_end = (self.size - (at & (self.size - 1))) as usize;
        self.mapping.append_to(self.offset(at), len.min(until_end), body)?;
        self.mapping.append_to(self.data, len.saturating_sub(until_end), body)
    }

    fn corrupt(&self, position: u64) -> Error {
        Error::Corrupt { what: format!("the perf buffer of CPU {}", self.cpu), position }
    }
}
