//! `struct __sk_buff` as a context (`bpf_skb_is_valid_access`, `sk_filter_is_valid_access`, `tc_cls_act_is_valid_access`).

use stylet_uapi::ProgType;

use super::mem::{Access, Dir};

/// What an access of the context gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SkbField {
    /// A number.
    Number,
    /// A pointer into the packet or to a socket.
    Pointer,
}

/// Offsets of `struct __sk_buff` (include/uapi/linux/bpf.h).
mod at {
    use core::ops::Range;

    pub const MARK: Range<i64> = 8..12;
    pub const QUEUE_MAPPING: Range<i64> = 12..16;
    pub const PRIORITY: Range<i64> = 32..36;
    pub const TC_INDEX: Range<i64> = 44..48;
    pub const CB: Range<i64> = 48..68;
    pub const TC_CLASSID: Range<i64> = 72..76;
    pub const DATA: Range<i64> = 76..80;
    pub const DATA_END: Range<i64> = 80..84;
    pub const FAMILY_TO_LOCAL_PORT: Range<i64> = 88..140;
    pub const DATA_META: Range<i64> = 140..144;
    pub const FLOW_KEYS: Range<i64> = 144..152;
    pub const TSTAMP: Range<i64> = 152..160;
    pub const WIRE_LEN: Range<i64> = 160..164;
    pub const SK: Range<i64> = 168..176;
    pub const TSTAMP_TYPE: i64 = 180;
    pub const PADDING: Range<i64> = 181..184;
    pub const HWTSTAMP: Range<i64> = 184..192;
    pub const END: i64 = 192;
}

/// What programs of this type find at `off`; `None` when they may not access it so.
pub(super) fn skb_access(prog: ProgType, off: i64, a: &Access) -> Option<SkbField> {
    if prog == ProgType::SOCKET_FILTER { filter(off, a) } else { classifier(off, a) }
}

fn filter(off: i64, a: &Access) -> Option<SkbField> {
    let hidden = [
        at::TC_CLASSID,
        at::DATA,
        at::DATA_META,
        at::DATA_END,
        at::FAMILY_TO_LOCAL_PORT,
        at::TSTAMP,
        at::WIRE_LEN,
        at::HWTSTAMP,
    ];
    if hidden.iter().any(|r| r.contains(&off)) || a.dir == Dir::Write && !at::CB.contains(&off) {
        return None;
    }
    any(off, a)
}

fn classifier(off: i64, a: &Access) -> Option<SkbField> {
    let writable = [
        at::MARK,
        at::TC_INDEX,
        at::PRIORITY,
        at::TC_CLASSID,
        at::CB,
        at::TSTAMP,
        at::QUEUE_MAPPING,
    ];
    if a.dir == Dir::Write && !writable.iter().any(|r| r.contains(&off)) {
        return None;
    }
    if at::FAMILY_TO_LOCAL_PORT.contains(&off) {
        return None;
    }
    if off == at::TSTAMP_TYPE {
        return (a.size == 1).then_some(SkbField::Number);
    }
    any(off, a)
}

fn any(off: i64, a: &Access) -> Option<SkbField> {
    let size = i64::from(a.size);
    if !(0..at::END).contains(&off) || off % size != 0 {
        return None;
    }
    let is = |range: core::ops::Range<i64>| range.contains(&off);
    let number = |ok: bool| ok.then_some(SkbField::Number);
    if is(at::CB) {
        number(off + size <= at::CB.end)
    } else if is(at::DATA) || is(at::DATA_META) || is(at::DATA_END) {
        (!a.sign && size == 4).then_some(SkbField::Pointer)
    } else if is(at::FLOW_KEYS) || off == at::TSTAMP_TYPE || is(at::PADDING) {
        None
    } else if is(at::HWTSTAMP) {
        number(a.dir == Dir::Read && size == 8)
    } else if is(at::TSTAMP) {
        number(size == 8)
    } else if is(at::SK) {
        (a.dir == Dir::Read && size == 8).then_some(SkbField::Pointer)
    } else {
        number(if a.dir == Dir::Write { size == 4 } else { size <= 4 })
    }
}
