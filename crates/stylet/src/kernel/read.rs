//! Events of the kernel backend, and its maps.

use super::Session;
use super::session::Loaded;
use crate::Error;
use crate::session::{Event, EventSource, Lost, MapView, Printk, Source};
use std::ops::ControlFlow;
use stylet_kernel::read::{PerfBuf, PerfBufOptions, PerfEvent, RingBuf, TracePipe};
use stylet_uapi::{HelperId, MapType};

/// What is read live.
#[derive(Default)]
pub(super) struct Readers {
    /// With the source of each ring, by its number.
    rings: Option<(RingBuf, Vec<EventSource>)>,
    perf: Vec<(EventSource, PerfBuf)>,
    pipe: Option<TracePipe>,
    /// Why there is no pipe although a program prints.
    no_pipe: Option<String>,
}

impl Readers {
    /// Begins to read the rings of an object, and the trace pipe if one of its programs prints.
    pub fn add(&mut self, object: usize, loaded: &Loaded) -> Result<(), Error> {
        for (index, map) in loaded.maps().iter().enumerate() {
            let source = EventSource::Map { object, map: index };
            match map.map_type() {
                MapType::RINGBUF => {
                    let (rings, sources) = match &mut self.rings {
                        Some(rings) => rings,
                        none => none.insert((RingBuf::new()?, Vec::new())),
                    };
                    rings.add(map)?;
                    sources.push(source);
                }
                MapType::PERF_EVENT_ARRAY => {
                    let buffer = PerfBuf::new(map, &PerfBufOptions::default())?;
                    self.perf.push((source, buffer));
                }
                _ => {}
            }
        }
        if self.pipe.is_none() && self.no_pipe.is_none() && prints(loaded) {
            match TracePipe::open() {
                Ok(pipe) => self.pipe = Some(pipe),
                Err(error) => self.no_pipe = Some(error.to_string()),
            }
        }
        Ok(())
    }

    fn poll(&mut self, sink: &mut dyn FnMut(Event) -> bool) -> Result<usize, Error> {
        let mut total = 0;
        let flow =
            |more: bool| if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let mut more = true;
        if let Some((rings, sources)) = &mut self.rings {
            total += rings.consume(|number, data| {
                more = sink(Event { source: sources[number], cpu: 0, data: data.to_vec() });
                flow(more)
            })?;
        }
        for (source, buffer) in &mut self.perf {
            if !more {
                return Ok(total);
            }
            buffer.consume(|cpu, event| {
                if let PerfEvent::Data(data) = event {
                    total += 1;
                    more = sink(Event { source: *source, cpu, data: data.to_vec() });
                }
                flow(more)
            })?;
        }
        let Some(pipe) = &mut self.pipe else { return Ok(total) };
        // A line that is not wanted any more is gone all the same: nobody else gets it.
        total += pipe.poll(Some(std::time::Duration::ZERO), |line| {
            if more {
                let data = line.as_bytes().to_vec();
                more = sink(Event { source: EventSource::Printk, cpu: 0, data });
            }
        })?;
        Ok(total)
    }
}

/// Whether a program of the object calls `bpf_trace_printk` or its like.
fn prints(loaded: &Loaded) -> bool {
    let printers = [HelperId::TRACE_PRINTK.0 as i32, HelperId::TRACE_VPRINTK.0 as i32];
    let mut insns = loaded.progs().flat_map(|(_, spec)| &spec.insns);
    insns.any(|insn| insn.is_helper_call() && printers.contains(&insn.imm))
}

impl Session {
    /// Hands every event that is there to `sink`, which says whether it wants more; returns how many there were.
    ///
    /// # Errors
    /// [`Error::Kernel`]. `sink` must not poll.
    pub fn poll(&self, sink: &mut dyn FnMut(Event) -> bool) -> Result<usize, Error> {
        self.readers.borrow_mut().poll(sink)
    }

    /// Why what programs print can not be shown, if so.
    pub fn no_printk(&self) -> Option<String> {
        self.readers.borrow().no_pipe.clone()
    }

    /// Reads a line of the trace pipe: `  comm-1234  [001] ...11  12.345678: bpf_trace_printk: text`; `None` for what has
    /// another form.
    pub fn printk(&self, data: &[u8]) -> Option<Printk> {
        parse_line(std::str::from_utf8(data).ok()?)
    }

    /// Sources that have lost records, with how many: perf buffers only. What finds no room in a ring buffer only the
    /// program knows.
    ///
    /// # Errors
    /// None; the user backend's has some.
    pub fn lost(&self) -> Result<Vec<Lost>, Error> {
        let readers = self.readers.borrow();
        let lost = readers.perf.iter().map(|(source, buffer)| Lost {
            source: *source,
            records: buffer.lost().map(|(_, records)| records).sum(),
        });
        Ok(lost.filter(|l| l.records != 0).collect())
    }

    /// Map `map` (index into `Spec::maps`) of object `object`; `None` if there is none.
    pub fn map(&self, object: usize, map: usize) -> Option<MapView<'_>> {
        let loaded = self.objects.get(object)?;
        let spec = loaded.object.spec.maps.get(map)?;
        Some(MapView::new(spec, KernelMap(loaded.maps().get(map)?)))
    }
}

struct KernelMap<'a>(&'a stylet_kernel::Map);

impl Source for KernelMap<'_> {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lookup(key, 0)?)
    }

    fn keys(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.0.keys()?)
    }

    fn lost(&self) -> u64 {
        0
    }
}

fn parse_line(line: &str) -> Option<Printk> {
    let (head, text) = line.split_once(": bpf_trace_printk: ")?;
    // The name of the task may have blanks and brackets; the CPU is in the last ones.
    let (task, rest) = head.rsplit_once(" [")?;
    let (cpu, rest) = rest.split_once(']')?;
    let (comm, tid) = task.trim().rsplit_once('-')?;
    let (seconds, micros) = rest.split_whitespace().last()?.split_once('.')?;
    let time_ns = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
    Some(Printk {
        time_ns: time_ns.checked_add(micros.parse::<u64>().ok()?.checked_mul(1000)?)?,
        pid: None,
        tid: tid.trim().parse().ok()?,
        cpu: cpu.parse().ok()?,
        prog: None,
        comm: comm.to_owned(),
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_trace_pipe() {
        let line = "           <...>-2719    [001] ...21  8021.123456: bpf_trace_printk: hits: 3";
        let printk = parse_line(line).expect("a line");
        assert_eq!((printk.comm.as_str(), printk.tid, printk.cpu), ("<...>", 2719, 1));
        assert_eq!((printk.time_ns, printk.text.as_str()), (8_021_123_456_000, "hits: 3"));
        let line = "  a [b]-c-7  [000] d..2.  0.000001: bpf_trace_printk: x: bpf_trace_printk: y";
        let printk = parse_line(line).expect("a line");
        assert_eq!((printk.comm.as_str(), printk.tid), ("a [b]-c", 7));
        assert_eq!(printk.text, "x: bpf_trace_printk: y");
        for other in ["", "CPU:1 [LOST 5 EVENTS]", "x: bpf_trace_printk: y"] {
            assert_eq!(parse_line(other), None, "{other}");
        }
    }
}
