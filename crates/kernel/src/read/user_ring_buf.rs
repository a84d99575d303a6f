//! The ring buffer that user space writes and a program drains (`BPF_MAP_TYPE_USER_RINGBUF`): the producer.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use stylet_uapi::MapType;
use stylet_uapi::flags::ringbuf;

use super::poll::{Interest, Poll, left};
use crate::sys::{self, Mapping};
use crate::{Error, Map};

const BUSY: u32 = ringbuf::BUSY_BIT as u32;
const DISCARD: u32 = ringbuf::DISCARD_BIT as u32;
const HEADER: u64 = ringbuf::HDR_SZ;
/// Bytes of the largest dynptr (`DYNPTR_MAX_SIZE`).
const DYNPTR_MAX: u64 = (1 << 24) - 1;

/// The writer of a user ring buffer. There must be only one, here and elsewhere: the kernel's side trusts nobody, but two
/// writers would overwrite each other.
#[derive(Debug)]
pub struct UserRingBuf {
    name: String,
    consumer: Mapping,
    producer: Mapping,
    data: usize,
    size: u64,
    poll: Poll,
}

/// Room for one record. Dropped without [`submit`](Reservation::submit), it is discarded. The kernel reads records in the
/// order of their reservation and stops at one that is neither submitted nor discarded.
#[derive(Debug)]
pub struct Reservation<'a> {
    ring: &'a UserRingBuf,
    /// Of the header, in the mapping.
    offset: usize,
    len: u32,
}

impl UserRingBuf {
    /// Maps a user ring buffer.
    ///
    /// # Errors
    /// [`Error::MapUse`] for another type of map; [`Error::Sys`] when it cannot be mapped.
    pub fn new(map: &Map) -> Result<UserRingBuf, Error> {
        if map.map_type() != MapType::USER_RINGBUF {
            return Err(Error::map_use(
                map,
                "written as a user ring buffer",
                "it is of another type",
            ));
        }
        let (page, size) = (sys::page_size() as usize, map.max_entries() as usize);
        let failed =
            |errno| Error::sys("mmap", format!("mapping user ring buffer '{}'", map.name()))(errno);
        let consumer = Mapping::new(map.as_fd(), 0, page, false).map_err(failed)?;
        let producer = Mapping::new(map.as_fd(), page, page + 2 * size, true).map_err(failed)?;
        let mut poll = Poll::new()?;
        poll.add(map.as_fd(), 0, Interest::WritableEdge)?;
        Ok(UserRingBuf {
            name: map.name().to_string(),
            consumer,
            producer,
            data: page,
            size: size as u64,
            poll,
        })
    }

    /// Reserves `len` bytes; `None` while the ring has no room for them.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when they will never fit; [`Error::Corrupt`] when the ring's words make no sense.
    pub fn reserve(&mut self, len: usize) -> Result<Option<Reservation<'_>>, Error> {
        let whole = (len as u64).saturating_add(HEADER).checked_next_multiple_of(8);
        // What the kernel refuses to hand to a program (`__bpf_user_ringbuf_peek`).
        let limit = (self.size - HEADER).min(DYNPTR_MAX) as usize;
        let (Some(whole), Ok(len_word), true) = (whole, u32::try_from(len), len <= limit) else {
            let what = format!("a record in user ring buffer '{}'", self.name);
            return Err(Error::TooLarge { what, len, limit });
        };
        let positions = self.consumer.load_u64(0).zip(self.producer.load_u64(0));
        let (from, to) = positions.ok_or_else(|| self.corrupt(0))?;
        let used = to.wrapping_sub(from);
        if used > self.size || to % 8 != 0 {
            return Err(self.corrupt(to));
        }
        if self.size - used < whole {
            return Ok(None);
        }
        let offset = self.data + (to & (self.size - 1)) as usize;
        // The kernel must see the busy bit before it sees the position that makes the record its own to read.
        self.producer
            .store_u32(offset + 4, 0)
            .and_then(|()| self.producer.store_u32(offset, len_word | BUSY))
            .and_then(|()| self.producer.store_u64(0, to.wrapping_add(whole)))
            .ok_or_else(|| self.corrupt(to))?;
        Ok(Some(Reservation { ring: self, offset, len: len_word }))
    }

    /// Writes one record; `false` while there is no room for it.
    ///
    /// # Errors
    /// As for [`reserve`](UserRingBuf::reserve).
    pub fn push(&mut self, record: &[u8]) -> Result<bool, Error> {
        let Some(reservation) = self.reserve(record.len())? else { return Ok(false) };
        reservation.write(0, record)?;
        reservation.submit();
        Ok(true)
    }

    /// Writes one record, waiting for room until the time is over (`None`: without end); `false` if there was none.
    /// The kernel wakes a waiting writer when a program has drained records.
    ///
    /// # Errors
    /// As for [`reserve`](UserRingBuf::reserve).
    pub fn push_blocking(
        &mut self,
        record: &[u8],
        timeout: Option<Duration>,
    ) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            if self.push(record)? {
                return Ok(true);
            }
            let left = left(start, timeout);
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            self.poll.wait(left)?;
        }
    }

    fn corrupt(&self, position: u64) -> Error {
        Error::Corrupt { what: format!("user ring buffer '{}'", self.name), position }
    }
}

impl Reservation<'_> {
    /// Bytes reserved.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none are reserved.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes at a byte offset in the record.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond its end.
    pub fn write(&self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let end = at.saturating_add(bytes.len());
        let inside = end <= self.len();
        let to = self.offset + HEADER as usize;
        inside.then(|| self.ring.producer.write(to + at, bytes)).flatten().ok_or_else(|| {
            Error::TooLarge {
                what: "what is written into a reserved record".into(),
                len: end,
                limit: self.len(),
            }
        })
    }

    /// Gives the record to the kernel.
    pub fn submit(mut self) {
        self.finish(0);
    }

    /// Gives the room back, as dropping does.
    pub fn discard(self) {}

    fn finish(&mut self, bits: u32) {
        // Inside the mapping: the reservation's own header.
        let _ = self.ring.producer.store_u32(self.offset, self.len | bits);
        self.offset = usize::MAX;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.offset != usize::MAX {
            self.finish(DISCARD);
        }
    }
}
