//! Records of a perf buffer, as bytes.

use stylet_uapi::PerfRecord;

/// Bytes of `struct perf_event_header`.
pub(super) const HEADER: usize = 8;

/// A record of the two kinds that a perf buffer of BPF has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// `PERF_RECORD_SAMPLE` of raw bytes.
    Sample(&'a [u8]),
    /// `PERF_RECORD_LOST`: so many were not written since the last record.
    Lost(u64),
    /// Any other.
    Other,
}

/// Type and size (bytes, with the header) from a record's header (`struct perf_event_header`: type, misc, size).
pub(super) fn header(word: u64) -> (PerfRecord, usize) {
    (PerfRecord(word as u32), usize::from((word >> 48) as u16))
}

/// Reads a record's body (what follows the header); `None` if it is shorter than it must be.
pub(super) fn parse(record_type: PerfRecord, body: &[u8]) -> Option<Record<'_>> {
    Some(match record_type {
        PerfRecord::SAMPLE => {
            let (len, rest) = body.split_first_chunk::<4>()?;
            Record::Sample(rest.get(..u32::from_ne_bytes(*len) as usize)?)
        }
        PerfRecord::LOST => {
            // The event's id comes first.
            let lost = body.get(8..16)?.try_into().ok()?;
            Record::Lost(u64::from_ne_bytes(lost))
        }
        _ => Record::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        // type 9, misc 2, size 32, as the kernel lays them out.
        let bytes = [9, 0, 0, 0, 2, 0, 32, 0];
        assert_eq!(header(u64::from_le_bytes(bytes)), (PerfRecord::SAMPLE, 32));
    }

    #[test]
    fn bodies() {
        let sample = [4, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0];
        assert_eq!(parse(PerfRecord::SAMPLE, &sample), Some(Record::Sample(&[1, 2, 3, 4])));
        assert_eq!(parse(PerfRecord::SAMPLE, &[9, 0, 0, 0, 1]), None);
        assert_eq!(parse(PerfRecord::SAMPLE, &[9]), None);
        let mut lost = [0; 16];
        lost[8] = 7;
        assert_eq!(parse(PerfRecord::LOST, &lost), Some(Record::Lost(7)));
        assert_eq!(parse(PerfRecord::LOST, &lost[..15]), None);
        assert_eq!(parse(PerfRecord::THROTTLE, &[]), Some(Record::Other));
    }
}
