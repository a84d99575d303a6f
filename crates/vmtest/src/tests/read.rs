//! What comes back, and what programs do to user memory: ring buffers both ways, trace_pipe, test runs, statistics,
//! `bpf_probe_write_user`, `bpf_copy_from_user_str_dynptr`.

use std::io::Read;
use std::ops::ControlFlow::Continue;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use stylet_kernel::attach::{self, RawTpOpts, THIS_PROCESS, UprobeOpts};
use stylet_kernel::read::{self, RingBuf, TestRun, TracePipe, UserRingBuf, test_run};
use stylet_kernel::{Feature, Kernel, Loaded, Prog, Release};
use stylet_uapi::ProgType;

use crate::guest::Guest;
use crate::objects::{Object, global, system_call};
use crate::target;
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("ring_buffer", ring_buffer),
    Test::new("user_ring_buffer", user_ring_buffer).since(6, 1),
    Test::new("syscall_program", syscall_program).since(5, 14),
    Test::new("batches", batches),
    Test::new("statistics", statistics),
    Test::new("trace_pipe", trace_pipe),
    Test::new("write_user", write_user),
    Test::new("copy_str_from_syscall", copy_str_from_syscall).since(6, 16),
    Test::new("copy_str_from_uprobe", copy_str_from_uprobe).since(6, 16),
];

fn prog<'a>(loaded: &'a Loaded, name: &str) -> Result<&'a Prog, Failure> {
    loaded.prog(name).ok_or_else(|| Failure::new(name))
}

fn map<'a>(loaded: &'a Loaded, name: &str) -> Result<&'a stylet_kernel::Map, Failure> {
    loaded.map(name).ok_or_else(|| Failure::new(name))
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at * 8..at * 8 + 8]);
    u64::from_ne_bytes(word)
}

/// Runs a program of type RAW_TRACEPOINT with these arguments.
pub(super) fn run(kernel: &Kernel, prog: &Prog, args: &[u64]) -> Result<u32, Failure> {
    Ok(test_run(kernel, prog, &TestRun { ctx: &bytes(args), ..TestRun::default() })?.retval)
}

fn ring_buffer(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "rings")?.load(kernel, &["to_ring"])?;
    let mut ring = RingBuf::new()?;
    ring.add(map(&loaded, "ring")?)?;
    let mut next = 0;
    for round in 0..20 {
        run(kernel, prog(&loaded, "to_ring")?, &[round * 90, 90, 0, 0])?;
        let read = ring.poll(Some(Duration::from_secs(10)), |_, record| {
            assert_eq!((word(record, 0), word(record, 1)), (next, !next));
            next += 1;
            Continue(())
        })?;
        assert_eq!(read, 90);
    }
    assert_eq!(global(&loaded, "dropped")?, 0);
    Ok(())
}

fn user_ring_buffer(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "user_ring")?.load(kernel, &["drain"])?;
    let mut ring = UserRingBuf::new(map(&loaded, "requests")?)?;
    let mut sum = 0;
    for round in 0..10 {
        for n in 0..100_u64 {
            assert!(ring.push(&(round * n).to_ne_bytes())?);
            sum += round * n;
        }
        run(kernel, prog(&loaded, "drain")?, &[])?;
        assert_eq!(global(&loaded, "sum")?, sum);
    }
    Ok(())
}

fn syscall_program(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "syscall")?.load(kernel, &["multiply"])?;
    let out = test_run(kernel, &loaded.progs[0], &TestRun { ctx: &bytes(&[6, 7, 0]), ..TestRun::default() })?;
    assert_eq!((out.retval, word(&out.ctx, 2)), (42, 42));
    let attached = attach::auto(kernel, &loaded.progs[0], &attach::AutoOpts::default());
    assert!(attached.is_err_and(|error| error.to_string().contains("it is run")));
    Ok(())
}

/// The same by batch commands and without, for a type that has them on all releases here and one that has not.
fn batches(guest: &Guest) -> Outcome {
    use stylet_kernel::Map;
    use stylet_kernel::sys::{MapCreate, MapFd};
    use stylet_uapi::MapType;
    let _ = guest;
    for map_type in [MapType::HASH, MapType::PERCPU_HASH, MapType::PERCPU_ARRAY, MapType::LRU_HASH] {
        // Room enough that nothing is evicted.
        let max_entries = if map_type == MapType::LRU_HASH { 4000 } else { 600 };
        let create = MapCreate { map_type, key_size: 4, value_size: 8, max_entries, ..MapCreate::default() };
        let map = Map::from_fd(MapFd::create(&create).map_err(Failure::new)?.into()).map_err(Failure::new)?;
        let size = map.elem_size()?;
        let entries: Vec<_> = (0..600_u32).map(|n| (n.to_ne_bytes().to_vec(), vec![n as u8; size])).collect();
        map.update_batch(&entries, 0).map_err(|(done, error)| Failure::new(format!("{map_type}: {done}: {error}")))?;
        let mut found = map.entries()?;
        found.sort_by_key(|(key, _)| u32::from_ne_bytes(key.as_slice().try_into().unwrap_or_default()));
        assert!(found == entries, "{map_type}");
        if map_type != MapType::PERCPU_ARRAY {
            let keys: Vec<_> = (0..700_u32).step_by(2).map(|n| n.to_ne_bytes().to_vec()).collect();
            assert_eq!(map.delete_batch(&keys)?, 300, "{map_type}");
            assert_eq!(map.drain()?.len(), 300, "{map_type}");
            assert_eq!(map.entries()?.len(), 0, "{map_type}");
        }
    }
    Ok(())
}

fn statistics(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "syscall")?.load(kernel, &["packet_length"])?;
    let guard = read::enable_stats(kernel)?;
    let packet = [7; 64];
    test_run(kernel, &loaded.progs[0], &TestRun { data: &packet, repeat: 100, ..TestRun::default() })?;
    assert_eq!(read::prog_stats(&loaded.progs[0])?.run_cnt, 100);
    drop(guard);
    Ok(())
}

fn trace_pipe(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "printk")?.set("my_pid", std::process::id().into()).load(kernel, &["print"])?;
    let mut pipe = TracePipe::open()?;
    let link = attach::auto(kernel, &loaded.progs[0], &attach::AutoOpts::default())?;
    system_call();
    link.detach()?;
    let mut lines = Vec::new();
    for _ in 0..100 {
        pipe.poll(Some(Duration::from_millis(100)), |line| lines.push(line.to_string()))?;
        if lines.iter().any(|line| line.contains("stylet prints 42")) {
            return Ok(());
        }
    }
    Err(Failure::new(format!("{lines:?}")))
}

/// A page of this process that is zero, and may be written or not.
fn page(protection: i32) -> Result<*mut u8, Failure> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping where the kernel likes.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED { Err(std::io::Error::last_os_error().into()) } else { Ok(page.cast()) }
}

fn write_user(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let (writable, readonly) = (page(libc::PROT_READ | libc::PROT_WRITE)?, page(libc::PROT_READ)?);
    let text = |page: *const u8| -> [u8; 8] {
        // SAFETY: the page is mapped and readable; the kernel may have written it.
        unsafe { page.cast::<[u8; 8]>().read_volatile() }
    };
    // So that both are there: the helper brings no page in.
    // SAFETY: the page is mapped and writable.
    unsafe { writable.write_volatile(0) };
    assert_eq!(text(readonly), [0; 8]);
    let mut messages = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let object = Object::open(guest, "write_user")?
        .set("my_pid", std::process::id().into())
        .set("my_nr", libc::SYS_getppid as u64)
        .set("writable", writable as u64)
        .set("readonly", readonly as u64);
    let loaded = object.load(kernel, &["write_user"])?;
    let link = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default())?;
    system_call();
    link.detach()?;
    assert_eq!(global(&loaded, "hits")?, 1);
    assert_eq!(global(&loaded, "writable_ret")?, 0);
    assert_eq!(&text(writable), b"stylet!\0");
    assert_eq!(global(&loaded, "readonly_ret")? as i64, -i64::from(libc::EFAULT));
    assert_eq!(text(readonly), [0; 8]);
    let warned = kernel_says(&mut messages, "bpf_probe_write_user helper that may corrupt user memory");
    // The kernel's own warning went between 6.12 and 6.16.
    if guest.release() <= Release::new(6, 12) {
        assert!(warned, "the kernel log has no line");
    } else if guest.release() >= Release::new(6, 16) {
        assert!(!warned, "the kernel log has a line");
    }
    Ok(())
}

/// Whether a line of the kernel's log contains a text.
fn kernel_says(messages: &mut std::fs::File, text: &str) -> bool {
    let mut record = [0; 8192];
    let mut found = false;
    // A read gives one record; EPIPE says that some were overwritten.
    for _ in 0..100_000 {
        match messages.read(&mut record) {
            Ok(len) => found |= String::from_utf8_lossy(&record[..len]).contains(text),
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => break,
        }
    }
    found
}

/// A string, where and how much to copy, what comes back, what is in the 64 bytes then.
type Case<'a> = (&'a std::ffi::CStr, u64, u64, i64, &'a [u8]);

/// 63 characters.
const LONG: &std::ffi::CStr = c"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";

const CASES: &[Case<'static>] = &[
    (c"hello, dynptr", 0, 32, 14, b"hello, dynptr\0\0"),
    (c"at eight", 8, 32, 9, b"\0\0\0\0\0\0\0\0at eight\0\0"),
    (c"", 0, 32, 1, b"\0\0"),
    (LONG, 0, 32, 32, b"0123456789abcdef0123456789abcde\0\0"),
    (LONG, 0, 64, 64, b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\0"),
    (c"beyond", 60, 8, -7, b"\0"),
];

fn copy_str_from_syscall(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = load_copy(guest, kernel, "from_syscall")?;
    let mut ring = RingBuf::new()?;
    ring.add(map(&loaded, "strings")?)?;
    let mut copy = |address: u64, offset: u64, size: u64| -> Result<(i64, Vec<u8>), Failure> {
        let ctx = bytes(&[address, offset, size, 0]);
        let out = test_run(kernel, &loaded.progs[0], &TestRun { ctx: &ctx, ..TestRun::default() })?;
        Ok((word(&out.ctx, 3) as i64, one_record(&mut ring)?))
    };
    for (string, offset, size, expected, contents) in CASES {
        let (ret, record) = copy(string.as_ptr() as u64, *offset, *size)?;
        assert_eq!(ret, *expected, "{string:?}");
        assert_eq!(&record[..contents.len()], *contents, "{string:?}");
    }
    // A page that is not there, and one that is the kernel's.
    for bad in [0x10, 0xffff_8000_0000_0000] {
        assert_eq!(copy(bad, 0, 32)?.0, -i64::from(libc::EFAULT), "{bad:#x}");
    }
    Ok(())
}

fn load_copy(guest: &Guest, kernel: &Kernel, prog: &str) -> Result<Loaded, Failure> {
    kernel.require(Feature::ProgType(ProgType::KPROBE))?;
    Object::open(guest, "copy_user_str")?.load(kernel, &[prog])
}

fn one_record(ring: &mut RingBuf) -> Result<Vec<u8>, Failure> {
    let mut records = Vec::new();
    ring.poll(Some(Duration::from_secs(10)), |_, record| {
        records.push(record.to_vec());
        Continue(())
    })?;
    match records.as_slice() {
        [record] => Ok(record.clone()),
        _ => Err(Failure::new(format!("{} records", records.len()))),
    }
}

fn copy_str_from_uprobe(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = load_copy(guest, kernel, "from_uprobe")?;
    let mut ring = RingBuf::new()?;
    ring.add(map(&loaded, "strings")?)?;
    let exe = guest.exe().to_string_lossy().into_owned();
    let opts = UprobeOpts { pid: THIS_PROCESS, ..UprobeOpts::function(exe, "vmtest_buffer") };
    let link = attach::uprobe(kernel, &loaded.progs[0], &opts)?;
    for (hits, (string, offset, size, expected, contents)) in CASES.iter().enumerate() {
        loaded.write_global("offset", &offset.to_ne_bytes())?;
        loaded.write_global("size", &size.to_ne_bytes())?;
        // SAFETY: the pointer and length of a string.
        unsafe { target::vmtest_buffer(string.as_ptr().cast(), string.count_bytes()) };
        assert_eq!(global(&loaded, "probe_hits")?, hits as u64 + 1);
        assert_eq!(global(&loaded, "probe_ret")? as i64, *expected, "{string:?}");
        assert_eq!(&one_record(&mut ring)?[..contents.len()], *contents, "{string:?}");
    }
    loaded.write_global("offset", &0_u64.to_ne_bytes())?;
    loaded.write_global("size", &32_u64.to_ne_bytes())?;
    // SAFETY: nothing is read where there is no length.
    unsafe { target::vmtest_buffer(0x10 as *const u8, 0) };
    assert_eq!(global(&loaded, "probe_ret")? as i64, -i64::from(libc::EFAULT));
    link.detach()?;
    Ok(())
}
