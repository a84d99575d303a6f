//! Ring buffers (`BPF_MAP_TYPE_RINGBUF`): the consumer.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use stylet_uapi::MapType;
use stylet_uapi::flags::{map_flags, ringbuf};

use super::poll::{Interest, Poll};
use crate::sys::{self, Mapping};
use crate::{Error, Map};

const BUSY: u32 = ringbuf::BUSY_BIT as u32;
const DISCARD: u32 = ringbuf::DISCARD_BIT as u32;
const HEADER: u64 = ringbuf::HDR_SZ;

/// Ring buffers that are read together.
#[derive(Debug)]
pub struct RingBuf {
    rings: Vec<Ring>,
    poll: Poll,
    /// One record, copied: nobody can change what the callback is given.
    record: Vec<u8>,
}

/// One ring: a page with the consumer's position, a page with the producer's, and the data twice, so that a record at the
/// end is contiguous (kernel/bpf/ringbuf.c).
#[derive(Debug)]
struct Ring {
    name: String,
    consumer: Mapping,
    producer: Mapping,
    data: usize,
    size: u64,
}

impl RingBuf {
    /// A reader of no ring yet.
    ///
    /// # Errors
    /// [`Error::Sys`] when there are no descriptors left.
    pub fn new() -> Result<RingBuf, Error> {
        Ok(RingBuf { rings: Vec::new(), poll: Poll::new()?, record: Vec::new() })
    }

    /// Adds a ring buffer; returns its number, from 0, which the callback is given.
    ///
    /// # Errors
    /// [`Error::MapUse`] for another type of map, or one whose new records overwrite the old; [`Error::Sys`] when it
    /// cannot be mapped.
    pub fn add(&mut self, map: &Map) -> Result<usize, Error> {
        if map.map_type() != MapType::RINGBUF {
            return Err(Error::map_use(map, "read as a ring buffer", "it is of another type"));
        }
        if map.map_flags() & map_flags::RB_OVERWRITE != 0 {
            let why = "its new records overwrite old ones (BPF_F_RB_OVERWRITE): there is no reader of it here";
            return Err(Error::map_use(map, "read as a ring buffer", why));
        }
        let ring = Ring::map(map)?;
        let number = self.rings.len();
        self.poll.add(map.as_fd(), number as u64, Interest::Readable)?;
        self.rings.push(ring);
        Ok(number)
    }

    /// Waits until there is a record or the time is over (`None`: without end), and reads what there is, as
    /// [`consume`](RingBuf::consume). Returns at once after a signal.
    ///
    /// # Errors
    /// As for [`consume`](RingBuf::consume).
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> Result<usize, Error> {
        let ready = self.poll.wait(timeout)?;
        let mut records = 0;
        for token in ready {
            let number = token as usize;
            let Some(ring) = self.rings.get(number) else { continue };
            let (read, flow) = ring.consume(&mut self.record, |record| each(number, record))?;
            records += read;
            if flow.is_break() {
                break;
            }
        }
        Ok(records)
    }

    /// Reads the records that are there now, ring by ring, without waiting; those that come meanwhile are left for the next
    /// call, so that it ends. Stops after a record for which `each` breaks, which is read, too. Returns how many were read.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the ring's words make no sense: another process writes to it.
    pub fn consume(
        &mut self,
        mut each: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> Result<usize, Error> {
        let mut records = 0;
        for (number, ring) in self.rings.iter().enumerate() {
            let (read, flow) = ring.consume(&mut self.record, |record| each(number, record))?;
            records += read;
            if flow.is_break() {
                break;
            }
        }
        Ok(records)
    }

    /// Bytes in a ring that are not read yet, with headers and records that are still being written.
    pub fn available(&self, number: usize) -> u64 {
        self.rings
            .get(number)
            .and_then(Ring::positions)
            .map_or(0, |(from, to)| to.wrapping_sub(from))
    }
}

impl AsFd for RingBuf {
    /// Readable while there is something to read: for another loop that waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

impl Ring {
    fn map(map: &Map) -> Result<Ring, Error> {
        let (page, size) = (sys::page_size() as usize, map.max_entries() as usize);
        if !size.is_power_of_two() || size % page != 0 {
            return Err(Error::map_use(
                map,
                "read as a ring buffer",
                "its size is not a power of two of pages",
            ));
        }
        let failed =
            |errno| Error::sys("mmap", format!("mapping ring buffer '{}'", map.name()))(errno);
        Ok(Ring {
            name: map.name().to_string(),
            consumer: Mapping::new(map.as_fd(), 0, page, true).map_err(failed)?,
            producer: Mapping::new(map.as_fd(), page, page + 2 * size, false).map_err(failed)?,
            data: page,
            size: size as u64,
        })
    }

    /// Positions of consumer and producer.
    fn positions(&self) -> Option<(u64, u64)> {
        Some((self.consumer.load_u64(0)?, self.producer.load_u64(0)?))
    }

    /// Reads up to the producer's position as it is now.
    fn consume(
        &self,
        record: &mut Vec<u8>,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(usize, ControlFlow<()>), Error> {
        let (mut at, end) = self.positions().ok_or_else(|| self.corrupt(0))?;
        let mut records = 0;
        if end.wrapping_sub(at) > self.size || at % 8 != 0 {
            return Err(self.corrupt(at));
        }
        while at != end {
            let offset = self.data + (at & (self.size - 1)) as usize;
            let header = self.producer.load_u32(offset).ok_or_else(|| self.corrupt(at))?;
            if header & BUSY != 0 {
                break;
            }
            let len = header & !DISCARD;
            let whole = (u64::from(len) + HEADER).next_multiple_of(8);
            if whole > end.wrapping_sub(at) {
                return Err(self.corrupt(at));
            }
            let mut flow = ControlFlow::Continue(());
            if header & DISCARD == 0 {
                record.clear();
                self.producer
                    .append_to(offset + HEADER as usize, len as usize, record)
                    .ok_or_else(|| self.corrupt(at))?;
                records += 1;
                flow = each(record);
            }
            at = at.wrapping_add(whole);
            self.consumer.store_u64(0, at).ok_or_else(|| self.corrupt(at))?;
            if flow.is_break() {
                return Ok((records, flow));
            }
        }
        Ok((records, ControlFlow::Continue(())))
    }

    fn corrupt(&self, position: u64) -> Error {
        Error::Corrupt { what: format!("ring buffer '{}'", self.name), position }
    }
}
