//! `struct __sk_buff` (include/uapi/linux/bpf.h).

use super::{CtxAccess, CtxLoad};
use core::ops::Range;
use stylet_uapi::ProgType;

const MARK: Range<u32> = 8..12;
const QUEUE_MAPPING: Range<u32> = 12..16;
const PRIORITY: Range<u32> = 32..36;
const TC_INDEX: Range<u32> = 44..48;
const CB: Range<u32> = 48..68;
const TC_CLASSID: Range<u32> = 72..76;
const DATA: Range<u32> = 76..80;
const DATA_END: Range<u32> = 80..84;
/// `family` to `local_port`.
const SOCK_FIELDS: Range<u32> = 88..140;
/// Addresses, within those.
const ADDRESSES: Range<u32> = 92..132;
const DATA_META: Range<u32> = 140..144;
const FLOW_KEYS: Range<u32> = 144..152;
const TSTAMP: Range<u32> = 152..160;
const WIRE_LEN: Range<u32> = 160..164;
const SK: Range<u32> = 168..176;
const TSTAMP_TYPE: u32 = 180;
const PADDING: Range<u32> = 180..184;
const HWTSTAMP: Range<u32> = 184..192;
const SIZE: u32 = 192;

/// How a program type sees it.
pub(super) struct Rules {
    /// Fields that are not there.
    denied: &'static [Range<u32>],
    /// Fields that may be written.
    writable: &'static [Range<u32>],
    /// `tstamp_type` is there.
    tstamp_type: bool,
}

static SOCKET_FILTER: Rules = Rules {
    denied: &[TC_CLASSID, DATA, DATA_META, DATA_END, SOCK_FIELDS, TSTAMP, WIRE_LEN, HWTSTAMP],
    writable: &[CB],
    tstamp_type: false,
};
static CGROUP_SKB: Rules = Rules {
    denied: &[TC_CLASSID, DATA_META, WIRE_LEN],
    writable: &[MARK, PRIORITY, CB, TSTAMP],
    tstamp_type: false,
};
static LWT: Rules = Rules {
    denied: &[TC_CLASSID, SOCK_FIELDS, DATA_META, TSTAMP, WIRE_LEN, HWTSTAMP],
    writable: &[MARK, PRIORITY, CB],
    tstamp_type: false,
};
static TC: Rules = Rules {
    denied: &[SOCK_FIELDS],
    writable: &[MARK, TC_INDEX, PRIORITY, TC_CLASSID, CB, TSTAMP, QUEUE_MAPPING],
    tstamp_type: true,
};
static SK_SKB: Rules = Rules {
    denied: &[TC_CLASSID, DATA_META, TSTAMP, WIRE_LEN, HWTSTAMP, MARK],
    writable: &[TC_INDEX, PRIORITY],
    tstamp_type: false,
};

/// The rules of a program type whose context it is.
pub(super) fn rules(prog_type: ProgType) -> Option<&'static Rules> {
    Some(match prog_type {
        ProgType::SOCKET_FILTER => &SOCKET_FILTER,
        ProgType::CGROUP_SKB => &CGROUP_SKB,
        ProgType::LWT_IN | ProgType::LWT_OUT | ProgType::LWT_XMIT | ProgType::LWT_SEG6LOCAL => &LWT,
        ProgType::SCHED_CLS | ProgType::SCHED_ACT => &TC,
        ProgType::SK_SKB => &SK_SKB,
        _ => return None,
    })
}

fn packet(off: u32) -> Option<CtxLoad> {
    [(DATA, CtxLoad::Packet), (DATA_END, CtxLoad::PacketEnd), (DATA_META, CtxLoad::PacketMeta)]
        .into_iter()
        .find_map(|(field, load)| field.contains(&off).then_some(load))
}

impl Rules {
    pub(super) fn access(&self, off: u32, a: CtxAccess) -> Option<CtxLoad> {
        let among = |fields: &[Range<u32>]| fields.iter().any(|f| f.contains(&off));
        if off >= SIZE || among(self.denied) || a.write && !among(self.writable) {
            return None;
        }
        if let Some(load) = packet(off) {
            return (a.size == 4 && !a.sign).then_some(load);
        }
        let scalar = |ok: bool| ok.then_some(CtxLoad::Scalar);
        if CB.contains(&off) {
            return scalar(off + a.size <= CB.end);
        }
        if ADDRESSES.contains(&off) {
            return scalar(a.size == 4);
        }
        if TSTAMP.contains(&off) || HWTSTAMP.contains(&off) {
            return scalar(a.size == 8);
        }
        if SK.contains(&off) {
            return (a.size == 8).then_some(CtxLoad::SockCommonOrNull);
        }
        if FLOW_KEYS.contains(&off) || PADDING.contains(&off) {
            return scalar(off == TSTAMP_TYPE && self.tstamp_type && a.size == 1);
        }
        scalar(if a.write { a.size == 4 } else { a.size <= 4 })
    }
}

/// `BPF_PROG_TYPE_FLOW_DISSECTOR` sees the packet and its keys only.
pub(super) fn flow_dissector(off: u32, a: CtxAccess) -> Option<CtxLoad> {
    if a.write {
        return None;
    }
    match packet(off).filter(|l| *l != CtxLoad::PacketMeta) {
        Some(load) => (a.size == 4 && !a.sign).then_some(load),
        None => (FLOW_KEYS.contains(&off) && a.size == 8).then_some(CtxLoad::FlowKeys),
    }
}
