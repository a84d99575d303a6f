//! The memory a program sees: separate regions at made-up addresses.

use crate::Error;

#[derive(Clone, Debug)]
struct Region {
    addr: u64,
    bytes: Vec<u8>,
    writable: bool,
}

/// Regions, ascending by address, never adjacent.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    regions: Vec<Region>,
    next: u64,
}

/// First address that is handed out: small integers are never valid pointers.
const FIRST: u64 = 0x1_0000_0000;
/// Regions start at multiples of this.
const ALIGN: u64 = 4096;

impl Memory {
    /// Adds a region and gives its address.
    pub fn map(&mut self, bytes: Vec<u8>, writable: bool) -> u64 {
        let addr = self.next.max(FIRST);
        self.next = (addr + bytes.len() as u64 + ALIGN).next_multiple_of(ALIGN);
        self.regions.push(Region { addr, bytes, writable });
        addr
    }

    fn find(&self, addr: u64, size: u64) -> Result<(usize, usize), Error> {
        let no_memory = Error::NoMemory { addr, size };
        let after = self.regions.partition_point(|r| r.addr <= addr);
        let at = after.checked_sub(1).ok_or(no_memory.clone())?;
        let off = addr - self.regions[at].addr;
        let fits =
            off.checked_add(size).is_some_and(|end| end <= self.regions[at].bytes.len() as u64);
        if fits { Ok((at, off as usize)) } else { Err(no_memory) }
    }

    /// The `len` bytes at `addr`.
    pub fn bytes(&self, addr: u64, len: u64) -> Result<&[u8], Error> {
        let (at, off) = self.find(addr, len)?;
        Ok(&self.regions[at].bytes[off..off + len as usize])
    }

    /// The `len` bytes at `addr`, to change.
    pub fn bytes_mut(&mut self, addr: u64, len: u64) -> Result<&mut [u8], Error> {
        let (at, off) = self.find(addr, len)?;
        let region = &mut self.regions[at];
        if !region.writable {
            return Err(Error::ReadOnly { addr });
        }
        Ok(&mut region.bytes[off..off + len as usize])
    }

    /// The little-endian number of `size` (1, 2, 4 or 8) bytes at `addr`, zero-extended.
    pub fn load(&self, addr: u64, size: u32) -> Result<u64, Error> {
        let mut le = [0; 8];
        let bytes = self.bytes(addr, u64::from(size))?;
        le[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(le))
    }

    /// Stores the low `size` (1, 2, 4 or 8) bytes of `value` at `addr`, little-endian.
    pub fn store(&mut self, addr: u64, size: u32, value: u64) -> Result<(), Error> {
        let bytes = self.bytes_mut(addr, u64::from(size))?;
        let len = bytes.len();
        bytes.copy_from_slice(&value.to_le_bytes()[..len]);
        Ok(())
    }
}
