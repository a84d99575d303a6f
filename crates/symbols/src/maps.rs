//! /proc/PID/maps.

use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// One line of /proc/PID/maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// `r`.
    pub read: bool,
    /// `w`.
    pub write: bool,
    /// `x`.
    pub exec: bool,
    /// `s` (else `p`).
    pub shared: bool,
    /// Offset in the file.
    pub offset: u64,
    /// Device, `major:minor` as printed.
    pub dev: (u32, u32),
    /// Inode, 0 for none.
    pub inode: u64,
    /// Last column with octal escapes and ` (deleted)` as they are: path, `[stack]`, or nothing.
    pub name: String,
}

impl Map {
    fn parse(line: &str) -> Option<Map> {
        let mut rest = line;
        let mut word = || {
            let (first, tail) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = tail.trim_start();
            first
        };
        let (start, end) = word().split_once('-')?;
        let perms = word().as_bytes();
        let offset = word();
        let (major, minor) = word().split_once(':')?;
        let inode = word();
        let hex = |s: &str| u64::from_str_radix(s, 16).ok();
        Some(Map {
            start: hex(start)?,
            end: hex(end)?,
            read: perms.first() == Some(&b'r'),
            write: perms.get(1) == Some(&b'w'),
            exec: perms.get(2) == Some(&b'x'),
            shared: perms.get(3) == Some(&b's'),
            offset: hex(offset)?,
            dev: (hex(major)? as u32, hex(minor)? as u32),
            inode: inode.parse().ok()?,
            name: rest.to_owned(),
        })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Path of the mapped file in the process's mount namespace, without the kernel's ` (deleted)`.
    pub fn path(&self) -> Option<PathBuf> {
        let name = self.name.strip_suffix(" (deleted)").unwrap_or(&self.name);
        name.starts_with('/').then(|| PathBuf::from(name.replace("\\012", "\n")))
    }

    /// Whether the mapping is of a file.
    pub fn is_file(&self) -> bool {
        self.inode != 0
    }
}

/// All mappings, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps(pub Vec<Map>);

/// Lowest address used: above any `vm.mmap_min_addr`.
const LOWEST: u64 = 0x10_0000;
/// End of user space with four-level page tables (`TASK_SIZE_MAX`), less the guard page.
const HIGHEST: u64 = 0x7fff_ffff_e000;
/// Kept free on both sides of a region of ours: stacks and the heap grow.
const MARGIN: u64 = 1 << 20;

/// Room for most processes' mappings: the file does not tell its size, and each read of it walks them again.
const MAPS_BYTES: usize = 1 << 16;

impl Maps {
    /// Reads /proc/PID/maps.
    pub fn of(pid: i32) -> Result<Maps> {
        let failed = |source| Error::Proc { pid, file: "maps", source };
        let mut text = Vec::with_capacity(MAPS_BYTES);
        let mut file = File::open(format!("/proc/{pid}/maps")).map_err(failed)?;
        file.read_to_end(&mut text).map_err(failed)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Parses the text of /proc/PID/maps; lines that are none are left out.
    pub fn parse(text: &str) -> Maps {
        Maps(text.lines().filter_map(Map::parse).collect())
    }

    /// The mapping around an address.
    pub fn at(&self, addr: u64) -> Option<&Map> {
        let i = self.0.partition_point(|m| m.end <= addr);
        self.0.get(i).filter(|m| m.start <= addr)
    }

    /// A free, page-aligned range of `len` bytes that lies entirely within `reach` bytes of all of `near..near_end`, as
    /// close as possible. The heap's growth direction and stacks are left room where possible.
    pub fn gap(&self, len: u64, near: std::ops::Range<u64>, reach: u64) -> Option<u64> {
        let lo = near.end.saturating_sub(reach).max(LOWEST);
        let hi = near.start.saturating_add(reach).min(HIGHEST);
        let mut best: Option<(u64, u64)> = None;
        let mut prev = 0;
        let ends = self
            .0
            .iter()
            .map(|m| (m.start, m.end, m.name.as_str()))
            .chain([(HIGHEST, HIGHEST, "")]);
        let mut prev_margin = 0;
        for (start, end, name) in ends {
            // Below a stack there must remain room for its growth.
            let top_margin = if name == "[stack]" { 64 * MARGIN } else { 0 };
            let from = (prev + prev_margin).max(lo);
            let to = start.saturating_sub(top_margin).min(hi);
            prev = end;
            prev_margin = if name == "[heap]" { 64 * MARGIN } else { 0 };
            if to < from || to - from < len {
                continue;
            }
            let at = if to <= near.start { (to - len) & !0xfff } else { (from + 0xfff) & !0xfff };
            if at < from || at + len > to {
                continue;
            }
            let distance = at.abs_diff(near.start);
            if best.is_none_or(|(d, _)| distance < d) {
                best = Some((distance, at));
            }
        }
        best.map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
555555554000-555555556000 r--p 00000000 08:01 42                         /usr/bin/a b
555555556000-55555555a000 r-xp 00002000 08:01 42                         /usr/bin/a b
55555555a000-55555557b000 rw-p 00000000 00:00 0                          [heap]
7ffff7dd0000-7ffff7f50000 r-xp 00028000 08:01 77                         /lib/libc.so.6 (deleted)
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
";

    #[test]
    fn parses_names_with_blanks_and_deleted_files() {
        let maps = Maps::parse(TEXT);
        assert_eq!(maps.0.len(), 5);
        assert_eq!(maps.0[1].path().unwrap().to_str(), Some("/usr/bin/a b"));
        assert_eq!(maps.0[3].path().unwrap().to_str(), Some("/lib/libc.so.6"));
        assert!(maps.0[1].exec && !maps.0[1].write && !maps.0[1].shared);
        assert_eq!(maps.0[2].path(), None);
        assert_eq!(maps.at(0x5555_5555_6fff).unwrap().offset, 0x2000);
        assert_eq!(maps.at(0x5555_5555_3fff), None);
    }

    #[test]
    fn gaps_are_near_and_free() {
        let maps = Maps::parse(TEXT);
        let below = maps.gap(0x10000, 0x7fff_f7dd_0000..0x7fff_f7f5_0000, 1 << 31).unwrap();
        assert_eq!(below, 0x7fff_f7dd_0000 - 0x10000);
        let big = maps.gap(1 << 30, 0x5555_5555_4000..0x5555_5555_a000, 1 << 31).unwrap();
        assert!(big.abs_diff(0x5555_5555_4000) < 1 << 31);
        assert!(maps.at(big).is_none() && maps.at(big + (1 << 30) - 1).is_none());
        assert_eq!(maps.gap(1 << 32, 0x5555_5555_4000..0x5555_5555_a000, 1 << 31), None);
    }
}
