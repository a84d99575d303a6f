//! Bytes as values.

use stylet_btf::builder::{BtfBuilder, IntEncoding, MemberDef};
use stylet_btf::value::{Value, decode};
use stylet_btf::{Btf, SecVar, TypeId, VarLinkage};

struct Ids {
    int: TypeId,
    uint: TypeId,
    ch: TypeId,
    state: TypeId,
}

/// Some types, and one more that `add` makes of them.
fn with(add: impl FnOnce(&mut BtfBuilder, Ids) -> TypeId) -> (Btf, TypeId) {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    let uint = b.int("unsigned int", 4, IntEncoding::Unsigned);
    let ch = b.int("char", 1, IntEncoding::Signed);
    let state = b.enumeration("state", 4, true, &[("RUN", 0), ("DEAD", -1)]);
    let id = add(&mut b, Ids { int, uint, ch, state });
    (b.build().expect("valid"), id)
}

fn text((btf, id): &(Btf, TypeId), bytes: &[u8]) -> String {
    decode(btf, *id, bytes).to_string()
}

#[test]
fn event() {
    let event = with(|b, ids| {
        let comm = b.array(ids.ch, ids.int, 8);
        let ptr = b.ptr(0);
        let name = [
            MemberDef::new("pid", ids.int, 0),
            MemberDef::new("comm", comm, 4),
            MemberDef::new("state", ids.state, 12),
            MemberDef::new("addr", ptr, 16),
        ];
        b.structure("event", 24, &name)
    });
    let mut bytes = [12, 0, 0, 0].to_vec();
    bytes.extend(b"ls\0junk!");
    bytes.extend([0xff; 4]);
    bytes.extend(0xffff_8000_dead_beef_u64.to_le_bytes());
    let whole = "{pid: 12, comm: \"ls\", state: DEAD, addr: 0xffff8000deadbeef}";
    assert_eq!(text(&event, &bytes), whole);
    let cut = "{pid: 12, comm: \"ls\", state: DEAD, addr: <truncated>}";
    assert_eq!(text(&event, &bytes[..20]), cut);
    let cut = "{pid: 12, comm: <6c>, state: <truncated>, addr: <truncated>}";
    assert_eq!(text(&event, &bytes[..5]), cut);
    let none = "{pid: <truncated>, comm: <truncated>, state: <truncated>, addr: <truncated>}";
    assert_eq!(text(&event, &[]), none);
    assert_eq!(decode(&event.0, 4, &7u32.to_le_bytes()), Value::Enum { name: None, val: 7 });
}

#[test]
fn bitfields_and_anonymous_members() {
    let s = with(|b, ids| {
        let bit =
            |name, ty, bit_offset, bitfield_size| MemberDef { name, ty, bit_offset, bitfield_size };
        let inner = [MemberDef::new("x", ids.int, 0), MemberDef::new("y", ids.uint, 0)];
        let inner = b.union("", 4, &inner);
        let members = [
            bit("low", ids.uint, 0, 3),
            bit("neg", ids.int, 3, 5),
            bit("st", ids.state, 8, 2),
            MemberDef::new("", inner, 4),
        ];
        b.structure("s", 8, &members)
    });
    let bytes = [0b1111_1101, 0b11, 0, 0, 0xfe, 0xff, 0xff, 0xff];
    assert_eq!(text(&s, &bytes), "{low: 5, neg: -1, st: DEAD, x: -2, y: 4294967294}");
}

#[test]
fn arrays() {
    let flexible = with(|b, ids| {
        let tail = b.array(ids.int, ids.int, 0);
        b.structure("f", 4, &[MemberDef::new("n", ids.int, 0), MemberDef::new("v", tail, 4)])
    });
    let bytes: Vec<u8> = (1..=3i32).flat_map(i32::to_le_bytes).collect();
    assert_eq!(text(&flexible, &bytes), "{n: 1, v: [2, 3]}");
    assert_eq!(text(&flexible, &bytes[..4]), "{n: 1, v: []}");
    let fixed = with(|b, ids| b.array(ids.int, ids.int, 4));
    assert_eq!(text(&fixed, &bytes), "[1, 2, 3, <truncated>]");
    let endless = with(|b, ids| {
        let empty = b.structure("empty", 0, &[]);
        b.array(empty, ids.int, u32::MAX)
    });
    assert_eq!(text(&endless, &bytes), "[]");
    let chars = with(|b, ids| b.array(ids.ch, ids.int, 3));
    assert_eq!(text(&chars, b"a\"\0"), "\"a\\\"\"");
    assert_eq!(text(&chars, b"abc"), "<61 62 63>");
    assert_eq!(text(&chars, &[0xff, 0, 0]), "<ff>".replace("ff", "ff 00 00"));
}

#[test]
fn scalars() {
    let mut b = BtfBuilder::new();
    let flag = b.int("_Bool", 1, IntEncoding::Bool);
    let ch = b.int("char", 1, IntEncoding::Signed);
    let f32 = b.float("float", 4);
    let f64 = b.float("double", 8);
    let wide = b.int("unsigned __int128", 16, IntEncoding::Unsigned);
    let big = b.enum64("big", 8, false, &[("TOP", i64::MIN)]);
    let var = b.var("counter", VarLinkage::Global, wide);
    let sec = b.datasec(".bss", 16, &[SecVar { ty: var, offset: 0, size: 16 }]);
    let btf = b.build().expect("valid");
    let text = |id, bytes: &[u8]| decode(&btf, id, bytes).to_string();
    assert_eq!(text(flag, &[2]), "true");
    assert_eq!((text(ch, b"a"), text(ch, &[7])), ("'a'".into(), "7".into()));
    assert_eq!(text(f32, &1.5f32.to_le_bytes()), "1.5");
    assert_eq!(text(f64, &(-0.25f64).to_le_bytes()), "-0.25");
    assert_eq!(text(wide, &[0xff; 16]), u128::MAX.to_string());
    assert_eq!(text(big, &(1u64 << 63).to_le_bytes()), "TOP");
    assert_eq!(text(sec, &[1; 16]), format!("{{counter: {}}}", u128::from_le_bytes([1; 16])));
    assert_eq!(text(0, &[1, 2]), "<01 02>");
}
