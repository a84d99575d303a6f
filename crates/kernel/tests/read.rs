//! Ring buffers, perf buffers, test runs and statistics, on this machine's kernel, driven by BPF_PROG_TEST_RUN. Without the
//! rights for it, tests say so and pass.

mod helpers;

use std::ops::ControlFlow::{Break, Continue};
use std::time::Duration;

use helpers::{kernel, load_object, run_raw_tp};
use stylet_kernel::read::{
    self, PerfBuf, PerfBufOptions, PerfEvent, RingBuf, TestRun, UserRingBuf,
};
use stylet_kernel::{Error, Kernel, Loaded, sys};

fn word(record: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(record[at * 8..at * 8 + 8].try_into().unwrap())
}

fn rings(kernel: &Kernel) -> Loaded {
    load_object(kernel, "rings", &[], &["to_ring", "to_perf"])
}

#[test]
fn a_ring_wraps_many_times_and_loses_nothing() {
    let Some(kernel) = kernel() else { return };
    let loaded = rings(&kernel);
    let mut ring = RingBuf::new().unwrap();
    assert_eq!(ring.add(loaded.map("ring").unwrap()).unwrap(), 0);
    let prog = loaded.prog("to_ring").unwrap();
    let mut next = 0;
    for round in 0..50 {
        run_raw_tp(&kernel, prog, &[round * 90, 90, 0, 0]);
        let read = ring
            .poll(Some(Duration::from_secs(10)), |number, record| {
                assert_eq!((number, record.len()), (0, 24));
                assert_eq!((word(record, 0), word(record, 1)), (next, !next));
                next += 1;
                Continue(())
            })
            .unwrap();
        assert_eq!(read, 90);
    }
    assert_eq!(ring.available(0), 0);
    assert_eq!(ring.poll(Some(Duration::ZERO), |_, _| Continue(())).unwrap(), 0);
    assert_eq!(helpers::global(&loaded, "dropped"), 0);
}

#[test]
fn discarded_records_are_passed_over_and_a_full_ring_drops() {
    let Some(kernel) = kernel() else { return };
    let loaded = rings(&kernel);
    let mut ring = RingBuf::new().unwrap();
    ring.add(loaded.map("ring").unwrap()).unwrap();
    let prog = loaded.prog("to_ring").unwrap();
    run_raw_tp(&kernel, prog, &[0, 9, 0, 1]);
    let mut seen = Vec::new();
    let read = ring.consume(|_, record| {
        seen.push(word(record, 0));
        Continue(())
    });
    assert_eq!(read.unwrap(), 6);
    assert_eq!(seen, [0, 1, 3, 4, 6, 7]);
    // 4096 bytes hold 127 records of 32: the kernel keeps one byte free.
    run_raw_tp(&kernel, prog, &[0, 100, 0, 0]);
    run_raw_tp(&kernel, prog, &[100, 100, 0, 0]);
    let dropped = helpers::global(&loaded, "dropped");
    let mut read = 0;
    while ring
        .consume(|_, _| {
            read += 1;
            // One by one: what was not read is still there.
            Break(())
        })
        .unwrap()
        == 1
    {}
    assert_eq!(read + dropped, 200);
    assert!((126..=128).contains(&read), "{read}");
}

#[test]
fn two_rings_and_other_maps() {
    let Some(kernel) = kernel() else { return };
    let (one, other) = (rings(&kernel), rings(&kernel));
    let mut ring = RingBuf::new().unwrap();
    ring.add(one.map("ring").unwrap()).unwrap();
    assert_eq!(ring.add(other.map("ring").unwrap()).unwrap(), 1);
    run_raw_tp(&kernel, other.prog("to_ring").unwrap(), &[7, 1, 0, 0]);
    let mut seen = Vec::new();
    ring.poll(None, |number, record| {
        seen.push((number, word(record, 0)));
        Continue(())
    })
    .unwrap();
    assert_eq!(seen, [(1, 7)]);
    let error = ring.add(one.map("scratch").unwrap()).unwrap_err();
    assert!(matches!(error, Error::MapUse { .. }), "{error}");
    assert!(matches!(UserRingBuf::new(one.map("ring").unwrap()), Err(Error::MapUse { .. })));
    let error = PerfBuf::new(one.map("ring").unwrap(), &PerfBufOptions::default()).unwrap_err();
    assert!(matches!(error, Error::MapUse { .. }), "{error}");
}

#[test]
fn perf_buffers_of_each_cpu_wrap_and_count_what_they_lose() {
    let Some(kernel) = kernel() else { return };
    let loaded = rings(&kernel);
    let prog = loaded.prog("to_perf").unwrap();
    let options = PerfBufOptions { pages: 1, ..PerfBufOptions::default() };
    let mut buf = match PerfBuf::new(loaded.map("events").unwrap(), &options) {
        Ok(buf) => buf,
        Err(error @ Error::Sys { call: "perf_event_open", .. }) => {
            return eprintln!("skipped: {error}");
        }
        Err(error) => panic!("{error}"),
    };
    let cpus = sys::online_cpus().unwrap();
    for cpu in cpus.iter().copied() {
        let mut next = 0;
        for round in 0..30_u64 {
            // 8 + 100 + 4 bytes, rounded, and the header: 120 a record, 2400 of 4096 a round.
            helpers::run_raw_tp_on(&kernel, prog, &[round * 20, 20, 100, 0], cpu);
            let read = buf
                .poll(Some(Duration::from_secs(10)), |of, event| {
                    let PerfEvent::Data(data) = event else { panic!("{event:?}") };
                    assert_eq!(of, cpu);
                    assert_eq!(word(data, 0), next);
                    assert!(data[8..108].iter().all(|b| *b == next as u8));
                    assert!((108..116).contains(&data.len()));
                    next += 1;
                    Continue(())
                })
                .unwrap();
            assert_eq!(read, 20);
        }
    }
    // 100 records of 528 bytes: 7 fit.
    helpers::run_raw_tp_on(&kernel, prog, &[0, 100, 512, 0], cpus[0]);
    let mut kept = 0;
    buf.consume(|_, _| {
        kept += 1;
        Continue(())
    })
    .unwrap();
    assert!((1..=8).contains(&kept), "{kept}");
    // The next record that fits is preceded by the count.
    helpers::run_raw_tp_on(&kernel, prog, &[0, 1, 8, 0], cpus[0]);
    let mut events = Vec::new();
    buf.consume(|cpu, event| {
        if let PerfEvent::Lost(count) = event {
            events.push((cpu, count));
        }
        Continue(())
    })
    .unwrap();
    assert_eq!(events, [(cpus[0], 100 - kept)]);
    assert_eq!(buf.lost().find(|(cpu, _)| *cpu == cpus[0]), Some((cpus[0], 100 - kept)));
    drop(buf);
    // Out of the map again: nothing is written for nobody.
    let dropped = helpers::global(&loaded, "dropped");
    helpers::run_raw_tp_on(&kernel, prog, &[0, 5, 8, 0], cpus[0]);
    assert_eq!(helpers::global(&loaded, "dropped"), dropped + 5);
}

#[test]
fn a_user_ring_is_drained() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "user_ring", &[], &["drain"]);
    let mut ring = UserRingBuf::new(loaded.map("requests").unwrap()).unwrap();
    let drain = || run_raw_tp(&kernel, loaded.prog("drain").unwrap(), &[]);
    let (mut sum, mut count) = (0, 0);
    // Around the ring many times: 40 * 100 records of 16 bytes.
    for round in 0..40_u64 {
        for n in 0..100 {
            assert!(ring.push(&(round * 100 + n).to_ne_bytes()).unwrap());
            sum += round * 100 + n;
            count += 1;
        }
        drain();
        assert_eq!(
            (helpers::global(&loaded, "sum"), helpers::global(&loaded, "records")),
            (sum, count)
        );
    }
    // A dropped reservation is passed over; a full ring has no room until it is drained.
    drop(ring.reserve(8).unwrap().unwrap());
    let reservation = ring.reserve(16).unwrap().unwrap();
    assert!(matches!(reservation.write(9, &[0; 8]), Err(Error::TooLarge { .. })));
    reservation.write(0, &5_u64.to_ne_bytes()).unwrap();
    reservation.submit();
    while ring.push(&0_u64.to_ne_bytes()).unwrap() {
        count += 1;
    }
    assert!(!ring.push_blocking(&[0; 8], Some(Duration::from_millis(5))).unwrap());
    drain();
    assert!(ring.push_blocking(&[0; 8], Some(Duration::from_secs(10))).unwrap());
    assert_eq!(
        (helpers::global(&loaded, "sum"), helpers::global(&loaded, "records")),
        (sum + 5, count + 1)
    );
    assert!(matches!(ring.reserve(4096), Err(Error::TooLarge { limit: 4088, .. })));
}

#[test]
fn programs_run_by_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "syscall", &[], &["multiply", "packet_length", "shorten"]);
    let prog = |name| loaded.prog(name).unwrap();
    let ctx: Vec<u8> = [6_u64, 7, 0].iter().flat_map(|w| w.to_ne_bytes()).collect();
    let out =
        read::test_run(&kernel, prog("multiply"), &TestRun { ctx: &ctx, ..TestRun::default() })
            .unwrap();
    assert_eq!((out.retval, word(&out.ctx, 2)), (42, 42));
    let data = [7; 64];
    let run = TestRun { data: &data, data_out: 128, repeat: 10, ..TestRun::default() };
    // Ethernet's header is taken off before a socket filter sees the packet.
    let out = read::test_run(&kernel, prog("packet_length"), &run).unwrap();
    assert_eq!((out.retval, out.data.len()), (64 - 14, 64));
    // Repeated, it would take 4 bytes off each time.
    let run = TestRun { repeat: 1, ..run };
    let out = read::test_run(&kernel, prog("shorten"), &run).unwrap();
    assert_eq!((out.retval, out.data), (3, data[4..].to_vec()));
    let error = read::test_run(&kernel, prog("shorten"), &TestRun { data_out: 10, ..run.clone() })
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { len: 60, limit: 10, .. }), "{error}");
    let error =
        read::test_run(&kernel, prog("shorten"), &TestRun { data: &data[..5], ..run }).unwrap_err();
    assert_eq!(error.errno().and_then(sys::Errno::name), Some("EINVAL"), "{error}");
    let tp = load_object(&kernel, "raw_tp", &[], &["tp", "sum"]);
    let error = read::test_run(&kernel, tp.prog("tp").unwrap(), &TestRun::default()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    // Raw tracepoints: arguments in, on a CPU of choice.
    for cpu in sys::online_cpus().unwrap() {
        let out = helpers::run_raw_tp_on(&kernel, tp.prog("sum").unwrap(), &[20, 22], cpu);
        assert_eq!(out.retval, 7);
        assert_eq!(helpers::global(&tp, "test_sum"), 42);
        assert_eq!(helpers::global(&tp, "test_cpu") as u32, cpu);
    }
}

#[test]
fn run_times_are_counted_while_enabled() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "syscall", &[], &["packet_length"]);
    let prog = loaded.prog("packet_length").unwrap();
    let guard = match read::enable_stats(&kernel) {
        Ok(guard) => guard,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let data = [7; 64];
    read::test_run(&kernel, prog, &TestRun { data: &data, repeat: 100, ..TestRun::default() })
        .unwrap();
    let stats = read::prog_stats(prog).unwrap();
    assert_eq!(stats.run_cnt, 100);
    assert!(stats.run_time_ns > 0);
    drop(guard);
}
