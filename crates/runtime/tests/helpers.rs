//! Helpers, called as generated code calls them.

mod common;

use common::{Edge, addr, arena, call, call_held, call_in, def, ptr, ptr_mut};
use std::time::Duration;
use stylet_runtime::abi::{RUN_CAN_OVERRIDE, RUN_OVERRIDE, RunCtx};
use stylet_runtime::helpers::text::PrintkHdr;
use stylet_runtime::host::RingReader;
use stylet_runtime::map::{BPF_ANY, MapDef};
use stylet_runtime::{helpers, slot_enter, slot_leave};
use stylet_uapi::errno::*;
use stylet_uapi::{MapType, PtRegs};

const EFAULT_: i64 = -EFAULT as i64;

#[test]
fn probe_read() {
    let (a, edge) = (arena(2), Edge::new());
    let src = edge.put(b"12345678");
    let mut dst = [0xaau8; 16];
    assert_eq!(call(&a, 4, [ptr_mut(&mut dst), 8, src, 0, 0]), 0);
    assert_eq!(&dst[..9], b"12345678\xaa");
    for (len, from) in [(9, src), (8, 0), (16, src + 4), (4, u64::MAX), (8, 0xffff_8000_0000_0000)]
    {
        dst.fill(0xaa);
        assert_eq!(
            call(&a, 112, [ptr_mut(&mut dst), len, from, 0, 0]),
            EFAULT_,
            "{len} bytes at {from:#x}"
        );
        assert!(dst[..len as usize].iter().all(|&b| b == 0), "not zeroed: {dst:x?}");
        assert!(dst[len as usize..].iter().all(|&b| b == 0xaa), "beyond the end: {dst:x?}");
    }
    assert_eq!(call(&a, 113, [ptr_mut(&mut dst), 0, 0, 0, 0]), 0);
}

#[test]
fn probe_read_str() {
    let (a, edge) = (arena(2), Edge::new());
    // (bytes at the end of good memory, size, result, what is in the buffer)
    let cases: [(&[u8], u64, i64, &[u8]); 7] = [
        (b"hello\0", 16, 6, b"hello\0"),
        (b"hello\0", 6, 6, b"hello\0"),
        (b"hello\0", 4, 4, b"hel\0"),
        (b"hello\0", 1, 1, b"\0"),
        (b"hello", 16, EFAULT_, &[0; 16]),
        (b"hello", 5, 5, b"hell\0"),
        (b"hello", 6, EFAULT_, &[0; 6]),
    ];
    for (text, size, want, then) in cases {
        let mut dst = [0xaau8; 16];
        let src = edge.put(text);
        assert_eq!(call(&a, 114, [ptr_mut(&mut dst), size, src, 0, 0]), want, "{text:?} {size}");
        assert_eq!(&dst[..then.len()], then, "{text:?} {size}");
        assert!(dst[size.min(16) as usize..].iter().all(|&b| b == 0xaa));
    }
    let long = [b'x'; 3000];
    let mut dst = [0u8; 2500];
    assert_eq!(call(&a, 45, [ptr_mut(&mut dst), 2500, edge.put(&long), 0, 0]), 2500);
    assert_eq!(dst.iter().position(|&b| b == 0), Some(2499));
}

#[test]
fn probe_write_user() {
    let (a, edge) = (arena(2), Edge::new());
    let to = edge.put(&[0; 8]);
    assert_eq!(call(&a, 36, [to, ptr(b"abcdefgh"), 8, 0, 0]), 0);
    // SAFETY: written above.
    assert_eq!(unsafe { *(to as *const [u8; 8]) }, *b"abcdefgh");
    assert_eq!(call(&a, 36, [to + 4096, ptr(b"abcdefgh"), 8, 0, 0]), EFAULT_);
    static READ_ONLY: [u8; 8] = *b"constant";
    assert_eq!(call(&a, 36, [ptr(&READ_ONLY), ptr(b"abcdefgh"), 8, 0, 0]), EFAULT_);
    assert_eq!(READ_ONLY, *b"constant");
}

#[test]
fn identity() {
    let a = arena(2);
    let ids = std::thread::scope(|s| {
        let t = s.spawn(|| {
            (call(&a, 14, [0; 5]) as u64, rustix::thread::gettid().as_raw_nonzero().get())
        });
        t.join().unwrap()
    });
    assert_eq!(ids.0 >> 32, std::process::id() as u64);
    assert_eq!(ids.0 as u32, ids.1 as u32);
    let thread = std::thread::Builder::new().name("a-long-thread-name".into());
    std::thread::scope(|s| {
        thread
            .spawn_scoped(s, || {
                let mut buf = [0xaau8; 20];
                assert_eq!(call(&a, 16, [ptr_mut(&mut buf), 20, 0, 0, 0]), 0);
                assert_eq!(&buf, b"a-long-thread-n\0\0\0\0\0");
                let mut buf = [0xaau8; 8];
                assert_eq!(call(&a, 16, [ptr_mut(&mut buf), 4, 0, 0, 0]), 0);
                assert_eq!(&buf, b"a-l\0\xaa\xaa\xaa\xaa");
            })
            .unwrap();
    });
    assert!(call(&a, 8, [0; 5]) < 2);
    let mut rc = a.run_ctx();
    (rc.cookie, rc.func_ip) = (7, 0x1234);
    assert_eq!(call_in(&mut rc, 174, [0; 5]), 7);
    assert_eq!(call_in(&mut rc, 173, [0; 5]), 0x1234);
    assert_eq!(call_in(&mut rc, 58, [0, 5, 0, 0, 0]), -EINVAL as i64);
    rc.flags = RUN_CAN_OVERRIDE;
    assert_eq!(call_in(&mut rc, 58, [0, 5, 0, 0, 0]), 0);
    assert_eq!((rc.flags & RUN_OVERRIDE, rc.override_rc), (RUN_OVERRIDE, 5));
}

#[test]
fn clocks_agree() {
    let a = arena(2);
    let now = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
    };
    let between = |what: &str| {
        let (before, ns, after) = (now(), call(&a, 5, [0; 5]) as u64, now());
        // A microsecond for the two readings that made the rate.
        assert!(before <= ns + 1000 && ns <= after + 1000, "{what}: {before} {ns} {after}");
    };
    between("system call");
    a.refresh_clock();
    std::thread::sleep(Duration::from_millis(60));
    eprintln!("time-stamp counter in use: {}", a.refresh_clock());
    between("counter");
    std::thread::sleep(Duration::from_millis(30));
    between("counter, later");
    for (id, clock) in [(125, 7), (208, 11)] {
        let (before, ns) = (stylet_runtime::sys::clock_ns(clock), call(&a, id, [0; 5]) as u64);
        assert!(before <= ns + 2000 && ns < before + 1_000_000_000, "helper {id}: {before} {ns}");
    }
}

fn formatted(fmt: &str, args: &[u64]) -> (i64, String) {
    let a = arena(2);
    let (mut buf, fmt) = ([0xaau8; 64], format!("{fmt}\0"));
    let data = if args.is_empty() { 0 } else { args.as_ptr() as u64 };
    let r =
        call(&a, 165, [ptr_mut(&mut buf), 64, fmt.as_ptr() as u64, data, 8 * args.len() as u64]);
    let end = buf.iter().position(|&b| b == 0).unwrap_or(0);
    (r, String::from_utf8_lossy(&buf[..end]).into_owned())
}

#[test]
fn snprintf() {
    let s = b"text\0";
    let ip = [192u8, 168, 0, 7];
    let cases: &[(&str, &[u64], &str)] = &[
        ("plain 100%%", &[], "plain 100%"),
        ("%d %u %x", &[-1i64 as u64, u64::MAX, 0xabc_1234_5678], "-1 4294967295 12345678"),
        (
            "%lld|%llx|%lu",
            &[i64::MIN as u64, u64::MAX, 5],
            "-9223372036854775808|ffffffffffffffff|5",
        ),
        (
            "[%5d][%-5d][%05d][%+d][% d]",
            &[42, 42, -42i64 as u64, 42, 42],
            "[   42][42   ][-0042][+42][ 42]",
        ),
        ("[%8x][%-8X][%08llX]", &[0xbeef, 0xbeef, 0xbeef], "[    beef][BEEF    ][0000BEEF]"),
        ("%c%c[%3c]", &[65, 66, 67], "AB[  C]"),
        ("%s|%8s|%-8s|", &[ptr(s), ptr(s), ptr(s)], "text|    text|text    |"),
        ("%s|%pks|%pus", &[8, ptr(s), ptr(s)], "|text|text"),
        ("%px %p", &[0x1234, 0xffff_ffff_ffff_ffff], "0000000000001234 ffffffffffffffff"),
        ("%pI4 %pi4", &[ptr(&ip), ptr(&ip)], "192.168.0.7 192.168.000.007"),
    ];
    for (fmt, args, want) in cases {
        assert_eq!(formatted(fmt, args), (want.len() as i64 + 1, want.to_string()), "{fmt}");
    }
    for bad in ["%", "%z", "%lllx", "%5", "%f", "%.3d", "%#x", "%sx", "%pz", "\x01", "é", "%d"] {
        let args: &[u64] = if bad == "%d" { &[] } else { &[1] };
        assert_eq!(formatted(bad, args).0, -EINVAL as i64, "{bad:?}");
    }
    let long = "x".repeat(100);
    assert_eq!(formatted(&long, &[]), (101, "x".repeat(63)));
    let a = arena(2);
    assert_eq!(call(&a, 165, [0, 0, c"%d".as_ptr() as u64, ptr(&123456u64), 8]), 7);
    assert_eq!(call(&a, 165, [0, 0, c"".as_ptr() as u64, ptr(&1u64), 7]), -EINVAL as i64);
}

/// As when another thread writes to a format in a map: here the text itself does.
#[test]
fn format_that_changes_after_its_check() {
    let (a, mut fmt) = (arena(2), *b"%%dAAAA\0");
    let at = ptr_mut(&mut fmt);
    assert_eq!(call(&a, 165, [at + 3, 5, at, 0, 0]), -EINVAL as i64);
    assert_eq!(&fmt[..5], b"%%d%d");
}

#[test]
fn printk() {
    let a = arena(2);
    let fmt = b"pid %d says %s\0";
    let mut rc = a.run_ctx();
    rc.prog = 9;
    let want = "pid 7 says text";
    assert_eq!(
        call_in(&mut rc, 6, [ptr(fmt), fmt.len() as u64, 7, ptr(b"text\0"), 0]),
        want.len() as i64
    );
    assert_eq!(call_in(&mut rc, 6, [ptr(fmt), fmt.len() as u64 - 1, 7, 0, 0]), -EINVAL as i64);
    let mut reader = RingReader::printk(&a);
    let record = reader.next_record().unwrap().unwrap().data;
    let (hdr, text) = record.split_at(size_of::<PrintkHdr>());
    assert_eq!(text, want.as_bytes());
    // SAFETY: a header of plain integers.
    let hdr = unsafe { hdr.as_ptr().cast::<PrintkHdr>().read_unaligned() };
    assert_eq!((hdr.prog, hdr.tgid), (9, std::process::id()));
    assert_eq!(reader.next_record(), Ok(None));
}

#[test]
fn numbers_from_strings() {
    let a = arena(2);
    // (text, flags, strtol, strtoul): Ok(value, consumed) or errno
    type Parsed = Result<(i64, i64), i32>;
    let cases: &[(&str, u64, Parsed, Parsed)] = &[
        ("123", 0, Ok((123, 3)), Ok((123, 3))),
        (" \t-5x", 0, Ok((-5, 4)), Err(EINVAL)),
        ("0x1f", 0, Ok((31, 4)), Ok((31, 4))),
        ("0x1F", 16, Ok((31, 4)), Ok((31, 4))),
        ("017", 0, Ok((15, 3)), Ok((15, 3))),
        ("017", 10, Ok((17, 3)), Ok((17, 3))),
        ("089", 0, Ok((0, 1)), Ok((0, 1))),
        ("", 0, Err(EINVAL), Err(EINVAL)),
        ("-", 0, Err(EINVAL), Err(EINVAL)),
        ("abc", 10, Err(EINVAL), Err(EINVAL)),
        ("1", 7, Err(EINVAL), Err(EINVAL)),
        ("1", 32 | 10, Err(EINVAL), Err(EINVAL)),
        ("9223372036854775808", 10, Err(ERANGE), Ok((i64::MIN, 19))),
        ("-9223372036854775808", 10, Ok((i64::MIN, 20)), Err(EINVAL)),
        ("18446744073709551616", 10, Err(ERANGE), Err(ERANGE)),
    ];
    for (text, flags, signed, unsigned) in cases {
        for (id, want) in [(105, signed), (106, unsigned)] {
            let mut value = 99i64;
            let r = call(
                &a,
                id,
                [text.as_ptr() as u64, text.len() as u64, *flags, ptr_mut(&mut value), 0],
            );
            let got = if r < 0 { Err(-r as i32) } else { Ok((value, r)) };
            assert_eq!(got, *want, "helper {id}: {text:?} flags {flags}");
        }
    }
}

extern "C" fn count_to(i: u64, ctx: u64, _: u64, _: u64, _: u64, _: *mut RunCtx) -> u64 {
    // SAFETY: tests pass the address of two numbers: calls so far, and when to stop.
    let state = unsafe { &mut *(ctx as *mut [u64; 2]) };
    state[0] += 1;
    (i == state[1]) as u64
}

#[test]
fn loops() {
    let a = arena(2);
    for (nr, stop, want, calls) in
        [(10, 99, 10, 10), (10, 3, 4, 4), (0, 0, 0, 0), ((8 << 20) + 1, 0, -E2BIG as i64, 0)]
    {
        let mut state = [0u64, stop];
        let callback = count_to as *const () as u64;
        assert_eq!(call(&a, 181, [nr, callback, ptr_mut(&mut state), 0, 0]), want);
        assert_eq!(state[0], calls);
    }
    assert_eq!(call(&a, 181, [1, 0, 0, 1, 0]), -EINVAL as i64);
    for (s1, n, s2, want) in [
        ("abc\0", 3, "abc\0", 0),
        ("abd\0", 4, "abc\0", 1),
        ("ab\0", 3, "abc\0", -1),
        ("abc", 2, "abx\0", 0),
    ] {
        assert_eq!(
            call(&a, 182, [s1.as_ptr() as u64, n, s2.as_ptr() as u64, 0, 0]).signum(),
            want,
            "{s1:?} {s2:?}"
        );
    }
}

extern "C" fn sum(map: u64, key: u64, value: u64, ctx: u64, _: u64, rc: *mut RunCtx) -> u64 {
    // SAFETY: the addresses of a key, a value and the test's sum.
    unsafe {
        *(ctx as *mut u64) += *(value as *const u64) + *(key as *const u32) as u64;
        call_held(&mut *rc, 3, [map, key, 0, 0, 0]);
    }
    0
}

#[test]
fn for_each_may_delete() {
    let a = arena(2);
    let id = a.add_map(&def(MapType::HASH, 4, 8, 64)).unwrap();
    let m = a.map(id).unwrap();
    (0..50u32).for_each(|i| {
        m.update(&i.to_ne_bytes(), &(i as u64 * 100).to_ne_bytes(), BPF_ANY).unwrap()
    });
    let mut total = 0u64;
    assert_eq!(
        call(&a, 164, [addr(&a, id), sum as *const () as u64, ptr_mut(&mut total), 0, 0]),
        50
    );
    assert_eq!(total, (0..50).map(|i| i * 101).sum());
    assert_eq!(m.keys().unwrap().len(), 0);
}

#[test]
fn stacks() {
    let a = arena(2);
    let id = a.add_map(&def(MapType::STACK_TRACE, 4, 8 * 8, 64)).unwrap();
    // Frames: caller's frame pointer, return address.
    let mut frames = [[0u64; 2]; 4];
    for i in 0..4 {
        frames[i] = [if i < 3 { ptr(&frames[i + 1]) } else { 0 }, 0x1000 + i as u64];
    }
    let top = 0x9999u64;
    let regs = std::cell::UnsafeCell::new(PtRegs {
        ip: 0x500,
        bp: ptr(&frames),
        sp: ptr(&top),
        ..PtRegs::default()
    });
    let mut rc = a.run_ctx();
    rc.regs = regs.get();
    const USER: u64 = 256;
    let get = |rc: &mut RunCtx, size: u64, flags: u64| {
        let mut buf = [0xaau64; 8];
        let r = call_in(rc, 67, [0, ptr_mut(&mut buf), size, flags, 0]);
        (r, buf)
    };
    let z = 0;
    assert_eq!(get(&mut rc, 64, USER), (40, [0x500, 0x1000, 0x1001, 0x1002, 0x1003, z, z, z]));
    assert_eq!(get(&mut rc, 64, USER | 2).1[..4], [0x1001, 0x1002, 0x1003, 0]);
    assert_eq!(get(&mut rc, 16, USER).0, 16);
    assert_eq!(get(&mut rc, 64, USER | 5), (0, [0; 8]));
    assert_eq!(get(&mut rc, 64, USER | 6).0, EFAULT_);
    assert_eq!(get(&mut rc, 64, 0).0, EFAULT_);
    assert_eq!(get(&mut rc, 60, USER).0, -EINVAL as i64);
    rc.func_ip = 0x500;
    assert_eq!(get(&mut rc, 64, USER).1[..3], [0x500, 0x9999, 0x1000]);
    rc.func_ip = 0;
    let map = addr(&a, id);
    let stack = call_in(&mut rc, 27, [0, map, USER, 0, 0]);
    assert!((0..64).contains(&stack), "{stack}");
    assert_eq!(call_in(&mut rc, 27, [0, map, USER, 0, 0]), stack);
    let bytes = a.map(id).unwrap().lookup(&(stack as u32).to_ne_bytes()).unwrap();
    assert_eq!(bytes[8..16], 0x1000u64.to_ne_bytes());
    assert_eq!(a.map(id).unwrap().keys(), Ok(vec![(stack as u32).to_ne_bytes().to_vec()]));
    // SAFETY: no helper runs.
    unsafe { (*regs.get()).bp = 8 };
    assert_eq!(get(&mut rc, 64, USER).0, 8, "a bad frame pointer ends the walk");
}

#[test]
fn perf_events() {
    let a = arena(4);
    let id = a.add_map(&def(MapType::PERF_EVENT_ARRAY, 4, 4, 0)).unwrap();
    let (map, data) = (addr(&a, id), b"event");
    let mut rc = a.run_ctx();
    assert_eq!(call_in(&mut rc, 25, [0, map, 0xffff_ffff, ptr(data), 5]), 0);
    assert_eq!(call_in(&mut rc, 25, [0, map, 1 << 32, ptr(data), 5]), -EINVAL as i64);
    assert_eq!(call_in(&mut rc, 25, [0, map, 4, ptr(data), 5]), -E2BIG as i64);
    let mut reader = RingReader::new(&a, &a.map(id).unwrap()).unwrap();
    assert_eq!(reader.next_record().unwrap().map(|r| r.data), Some(data.to_vec()));
    assert_eq!(reader.next_record(), Ok(None));
    // SAFETY: an arena of this process.
    unsafe {
        assert!(slot_enter(&mut rc) >= 0);
        let other = (rc.slot as u64 + 1) % 4;
        assert_eq!(call_held(&mut rc, 25, [0, map, other, ptr(data), 5]), -EOPNOTSUPP as i64);
        slot_leave(&mut rc);
    }
}

#[test]
fn ring_buffers_account_like_the_kernel() {
    let a = arena(2);
    let id = a.add_map(&def(MapType::RINGBUF, 0, 0, 4096)).unwrap();
    let map = addr(&a, id);
    let query = |what| call(&a, 134, [map, what, 0, 0, 0]);
    assert_eq!([query(0), query(1), query(2), query(3), query(4)], [0, 4096, 0, 0, 0]);
    assert_eq!(call(&a, 131, [map, 4096, 0, 0, 0]), 0, "no room for the header");
    assert_eq!(call(&a, 131, [map, 4088, 0, 0, 0]), 0, "a ring is never quite full");
    assert_eq!(call(&a, 131, [map, 8, 1, 0, 0]), 0, "flags are refused");
    let first = call(&a, 131, [map, 4080, 0, 0, 0]) as u64;
    assert_ne!(first, 0);
    assert_eq!([query(0), query(3)], [4088, 4088]);
    let m = a.map(id).unwrap();
    let mut reader = RingReader::new(&a, &m).unwrap();
    assert_eq!(reader.next_record(), Ok(None), "busy");
    call(&a, 133, [first, 0, 0, 0, 0]);
    assert_eq!(reader.next_record(), Ok(None), "discarded");
    assert_eq!([query(0), query(2)], [0, 4088]);
    // Begins 8 bytes before the end of the ring and goes on behind it.
    let wrapped = call(&a, 131, [map, 100, 0, 0, 0]) as u64;
    // SAFETY: reserved.
    unsafe { (wrapped as *mut u8).write_bytes(7, 100) };
    call(&a, 132, [wrapped, 0, 0, 0, 0]);
    assert_eq!(reader.next_record().unwrap().map(|r| r.data), Some(vec![7; 100]));
    assert_eq!(query(3), 4088 + 112);
    assert_eq!(call(&a, 130, [map, ptr(b"x"), 1, 4, 0]), -EINVAL as i64);
    assert_eq!(reader.lost(), 2);
}

#[test]
fn maps_in_maps() {
    let a = arena(2);
    let inner = a.add_map(&MapDef { id: 33, ..def(MapType::ARRAY, 4, 8, 1) }).unwrap();
    for outer in [def(MapType::ARRAY_OF_MAPS, 4, 4, 2), def(MapType::HASH_OF_MAPS, 4, 4, 2)] {
        let outer = a.add_map(&outer).unwrap();
        let (m, key) = (a.map(outer).unwrap(), 1u32);
        assert_eq!(call(&a, 1, [addr(&a, outer), ptr(&key), 0, 0, 0]), 0);
        m.update_inner(&key.to_ne_bytes(), &a.map(inner).unwrap(), BPF_ANY).unwrap();
        assert_eq!(call(&a, 1, [addr(&a, outer), ptr(&key), 0, 0, 0]) as u64, addr(&a, inner));
        assert_eq!(m.lookup(&key.to_ne_bytes()), Ok(33u32.to_ne_bytes().to_vec()));
        m.delete(&key.to_ne_bytes()).unwrap();
        assert_eq!(call(&a, 1, [addr(&a, outer), ptr(&key), 0, 0, 0]), 0);
    }
}

#[test]
fn percpu_values_go_by_slot() {
    let a = arena(3);
    for d in [def(MapType::PERCPU_ARRAY, 4, 8, 4), def(MapType::PERCPU_HASH, 4, 8, 4)] {
        let id = a.add_map(&d).unwrap();
        let (map, key, value) = (addr(&a, id), 2u32, 5u64);
        let mut rc = a.run_ctx();
        // SAFETY: an arena of this process; the address of a value.
        let slot = unsafe {
            assert!(slot_enter(&mut rc) >= 0);
            assert_eq!(call_held(&mut rc, 2, [map, ptr(&key), ptr(&value), BPF_ANY, 0]), 0);
            let p = call_held(&mut rc, 1, [map, ptr(&key), 0, 0, 0]) as *mut u64;
            *p += 1;
            let slot = rc.slot as usize;
            let same = call_held(&mut rc, 195, [map, ptr(&key), slot as u64, 0, 0]);
            assert_eq!(same as u64, p as u64);
            slot_leave(&mut rc);
            slot
        };
        let bytes = a.map(id).unwrap().lookup(&key.to_ne_bytes()).unwrap();
        let values: Vec<u64> =
            bytes.chunks(8).map(|c| u64::from_ne_bytes(c.try_into().unwrap())).collect();
        let want: Vec<u64> = (0..3).map(|s| if s == slot { 6 } else { 0 }).collect();
        assert_eq!(values, want);
        assert_eq!(call(&a, 195, [map, ptr(&key), 3, 0, 0]), 0);
    }
}

#[test]
fn dynptrs() {
    let a = arena(2);
    let (mut d, mut mem, mut out) = ([0u64; 2], *b"0123456789", [0u8; 4]);
    let (p, e2big, einval) = (ptr_mut(&mut d), -E2BIG as i64, -EINVAL as i64);
    assert_eq!(call(&a, 201, [ptr_mut(&mut out), 1, p, 0, 0]), einval, "null");
    assert_eq!(call(&a, 197, [ptr_mut(&mut mem), 1 << 24, 0, p, 0]), e2big);
    assert_eq!(call(&a, 197, [ptr_mut(&mut mem), 10, 1, p, 0]), einval);
    assert_eq!(call(&a, 203, [p, 0, 1, 0, 0]), 0, "null after a failure");
    assert_eq!(call(&a, 197, [ptr_mut(&mut mem), 10, 0, p, 0]), 0);
    assert_eq!(call(&a, 201, [ptr_mut(&mut out), 4, p, 6, 0]), 0);
    assert_eq!(&out, b"6789");
    assert_eq!(call(&a, 201, [ptr_mut(&mut out), 4, p, 7, 0]), e2big);
    assert_eq!(call(&a, 202, [p, 7, ptr(b"abcd"), 4, 0]), e2big);
    assert_eq!(call(&a, 202, [p, 6, ptr(b"abcd"), 4, 1]), einval);
    assert_eq!(call(&a, 202, [p, 6, ptr(b"abcd"), 4, 0]), 0);
    assert_eq!(call(&a, 203, [p, 2, 8, 0, 0]) as u64, ptr(&mem) + 2);
    assert_eq!(&mem, b"012345abcd");
    let id = a.add_map(&def(MapType::RINGBUF, 0, 0, 4096)).unwrap();
    let mut reader = RingReader::new(&a, &a.map(id).unwrap()).unwrap();
    assert_eq!(call(&a, 198, [addr(&a, id), 5000, 0, p, 0]), einval, "no room");
    assert_eq!(call(&a, 200, [p, 0, 0, 0, 0]), 0);
    assert_eq!(call(&a, 198, [addr(&a, id), 8, 0, p, 0]), 0);
    assert_eq!(call(&a, 202, [p, 0, ptr(b"dynptr!!"), 8, 0]), 0);
    assert_eq!(call(&a, 199, [p, 0, 0, 0, 0]), 0);
    assert_eq!(reader.next_record().unwrap().map(|r| r.data), Some(b"dynptr!!".to_vec()));
    assert_eq!(d, [0, 0]);
}

/// The table is what it says: ascending, without repetition.
#[test]
fn table() {
    let ids: Vec<u32> = helpers::TABLE.iter().map(|h| h.0).collect();
    assert_eq!(ids, helpers::SUPPORTED_HELPERS);
    assert!(ids.is_sorted_by(|a, b| a < b));
}
