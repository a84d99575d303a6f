//! First-fit allocation of ranges of one part of the window.

/// Free ranges of a part, ascending, never adjacent: (offset, bytes).
pub(super) struct Ranges {
    free: Vec<(u64, u64)>,
}

/// Every range begins and ends on a cache line.
const ALIGN: u64 = 64;

impl Ranges {
    pub(super) fn new(start: u64, bytes: u64) -> Ranges {
        Ranges { free: vec![(start, bytes)] }
    }

    /// Takes `bytes` at a multiple of `align` (a power of two, at least a cache line is used).
    pub(super) fn alloc(&mut self, bytes: u64, align: u64) -> Option<u64> {
        let bytes = bytes.max(1).checked_next_multiple_of(ALIGN)?;
        let align = align.max(ALIGN);
        let (i, start) = self.free.iter().enumerate().find_map(|(i, &(off, len))| {
            let start = off.next_multiple_of(align);
            (start + bytes <= off + len).then_some((i, start))
        })?;
        let (off, len) = self.free.remove(i);
        let tail = (start + bytes, off + len - start - bytes);
        let head = (off, start - off);
        for range in [tail, head] {
            if range.1 != 0 {
                self.free.insert(i, range);
            }
        }
        Some(start)
    }

    /// Gives back `bytes` at `off` as they were taken.
    pub(super) fn free(&mut self, off: u64, bytes: u64) {
        let mut range = (off, bytes.max(1).next_multiple_of(ALIGN));
        let mut i = self.free.partition_point(|&(o, _)| o < off);
        if let Some(&next) = self.free.get(i)
            && range.0 + range.1 == next.0
        {
            range.1 += next.1;
            self.free.remove(i);
        }
        if i > 0
            && let Some(&prev) = self.free.get(i - 1)
            && prev.0 + prev.1 == range.0
        {
            range = (prev.0, prev.1 + range.1);
            self.free.remove(i - 1);
            i -= 1;
        }
        self.free.insert(i, range);
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;

    #[test]
    fn ranges_merge_again() {
        let mut r = Ranges::new(0, 1024);
        let a = r.alloc(100, 1).unwrap();
        let b = r.alloc(64, 256).unwrap();
        let c = r.alloc(64, 1).unwrap();
        assert_eq!((a, b, c), (0, 256, 128));
        assert_eq!(r.alloc(1024, 1), None);
        for (off, len) in [(b, 64), (a, 100), (c, 64)] {
            r.free(off, len);
        }
        assert_eq!(r.free, [(0, 1024)]);
    }
}
