//! Live events: ring buffers, perf event arrays, `bpf_trace_printk`.

use super::Session;
use super::load::Loaded;
use crate::Error;
use crate::session::{Event, EventSource, Lost, Printk, ProgStats};
use stylet_runtime::host::{MapId, RingReader};
use stylet_uapi::MapType;

/// Most events taken from one source before the next gets its turn.
const BATCH: usize = 4096;

impl Session {
    /// Hands every event that is there to `sink`, which says whether it wants more; returns how many there were.
    ///
    /// # Errors
    /// [`Error::Runtime`] when a traced process has corrupted a ring: what could be read was handed out.
    pub fn poll(&self, sink: &mut dyn FnMut(Event) -> bool) -> Result<usize, Error> {
        let mut total = 0;
        for (source, mut reader) in self.readers()? {
            for _ in 0..BATCH {
                let fail = |e| Error::Runtime { what: "ring buffer".into(), source: e };
                let Some(record) = reader.next_record().map_err(fail)? else { break };
                total += 1;
                if !sink(Event { source, cpu: record.cpu, data: record.data }) {
                    return Ok(total);
                }
            }
        }
        Ok(total)
    }

    /// Reads the data of an event of [`EventSource::Printk`]: `None` when a traced process has corrupted it.
    pub fn printk(&self, data: &[u8]) -> Option<Printk> {
        use std::mem::offset_of;
        use stylet_runtime::helpers::text::PrintkHdr;
        let (head, text) = data.split_at_checked(size_of::<PrintkHdr>())?;
        let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let comm = offset_of!(PrintkHdr, comm);
        let id = word(offset_of!(PrintkHdr, prog))?;
        let mut progs = self.objects.iter().flat_map(Loaded::progs);
        let string = |bytes: &[u8]| {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        Some(Printk {
            time_ns: u64::from_le_bytes(head.get(..8)?.try_into().ok()?),
            pid: Some(word(offset_of!(PrintkHdr, tgid))?),
            tid: word(offset_of!(PrintkHdr, pid))?,
            cpu: word(offset_of!(PrintkHdr, cpu))?,
            prog: progs.find(|(p, _)| p.id == id).map(|(_, s)| s.name.clone()),
            comm: string(head.get(comm..comm + 16)?),
            text: string(text),
        })
    }

    /// Sources that have lost records, with how many.
    ///
    /// # Errors
    /// [`Error::Runtime`].
    pub fn lost(&self) -> Result<Vec<Lost>, Error> {
        let readers = self.readers()?.into_iter();
        let lost = readers.map(|(source, reader)| Lost { source, records: reader.lost() });
        Ok(lost.filter(|l| l.records != 0).collect())
    }

    /// How often each program ran.
    pub fn stats(&self) -> Vec<ProgStats> {
        let all = self.objects.iter().flat_map(|o| o.progs().map(move |p| (o, p)));
        all.map(|(object, (prog, spec))| {
            let (runs, misses) = self.arena.prog_stats(prog.id);
            let counted = super::place::needs_slot(&prog.verified, &object.object.spec.maps);
            let runs = counted.then_some(runs);
            ProgStats { name: spec.name.clone(), runs, misses }
        })
        .collect()
    }

    /// Readers go on where the last ones stopped: positions are in the arena.
    fn readers(&self) -> Result<Vec<(EventSource, RingReader<'_>)>, Error> {
        let mut readers = vec![(EventSource::Printk, RingReader::printk(&self.arena))];
        for (object, loaded) in self.objects.iter().enumerate() {
            for (index, (spec, id)) in loaded.object.spec.maps.iter().zip(&loaded.maps).enumerate()
            {
                if matches!(spec.map_type, MapType::RINGBUF | MapType::PERF_EVENT_ARRAY) {
                    let source = EventSource::Map { object, map: index };
                    readers.push((source, self.reader(*id, &spec.name)?));
                }
            }
        }
        Ok(readers)
    }

    fn reader(&self, id: MapId, name: &str) -> Result<RingReader<'_>, Error> {
        let fail = |source| Error::Runtime { what: format!("map '{name}'"), source };
        let map = self.arena.map(id).map_err(fail)?;
        RingReader::new(&self.arena, &map).map_err(fail)
    }
}
