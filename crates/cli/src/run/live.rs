//! Events as they come.

use super::decode::EventTypes;
use super::stacks::Snapshots;
use crate::args::RunArgs;
use crate::value::{hex, to_json};
use serde_json::{Value as Json, json};
use std::io::{BufWriter, Write};
use stylet::{Error, Event, EventSource, Session, TargetId};
use stylet_btf::value;
use stylet_uapi::MapType;

/// Prints events, counts them, and remembers what stack traces need.
pub struct Live {
    types: EventTypes,
    snapshots: Snapshots,
    quiet: bool,
    json: bool,
    limit: Option<u64>,
    seen: u64,
    /// The reader of the output is gone.
    closed: bool,
    /// Several maps send events: each line says which.
    named: bool,
}

impl Live {
    /// Ready to print the events of what `session` has loaded.
    pub fn new(session: &Session, args: &RunArgs) -> Result<Live, Error> {
        let types = EventTypes::new(session, &args.event_types)
            .map_err(|what| Error::EventType { what })?;
        let rings = session.objects().flat_map(|o| &o.spec().maps);
        let rings =
            rings.filter(|m| matches!(m.map_type, MapType::RINGBUF | MapType::PERF_EVENT_ARRAY));
        Ok(Live {
            types,
            snapshots: Snapshots::default(),
            quiet: args.quiet,
            json: args.json,
            limit: args.events,
            seen: 0,
            closed: false,
            named: rings.count() > 1,
        })
    }

    /// Whether as many events have come as were asked for, or nobody reads them any more.
    pub fn is_full(&self) -> bool {
        self.closed || self.limit.is_some_and(|limit| self.seen >= limit)
    }

    /// Mappings of the processes.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Remembers the mappings of a target.
    pub fn snapshot(&mut self, session: &Session, target: TargetId) {
        if let Some(pid) = session.pid(target) {
            self.snapshots.take(pid);
        }
    }

    /// Prints what is there; returns the number of events.
    pub fn poll(&mut self, session: &Session) -> Result<usize, Error> {
        let mut out = BufWriter::new(anstream::stdout().lock());
        let mut written = Ok(());
        let count = session.poll(&mut |event| {
            if self.is_full() {
                return false;
            }
            self.seen += 1;
            if !self.quiet {
                written = writeln!(out, "{}", self.line(session, &event));
                self.closed = written.is_err();
            }
            !self.is_full()
        })?;
        if let Err(e) = written.and_then(|()| out.flush()) {
            self.closed = true;
            output_error(e)?;
        }
        Ok(count)
    }

    /// Prints what is left after the last probe is gone.
    pub fn drain(&mut self, session: &Session) -> Result<(), Error> {
        while !self.is_full() && self.poll(session)? > 0 {}
        Ok(())
    }

    fn line(&self, session: &Session, event: &Event) -> String {
        if event.source == EventSource::Printk {
            return printk(session, &event.data, self.json);
        }
        let EventSource::Map { object, map } = event.source else { return String::new() };
        let Some(spec) = session.object(object).map(stylet::Object::spec) else {
            return String::new();
        };
        let name = &spec.maps[map].name;
        let padded = matches!(session, Session::Kernel(_))
            && spec.maps[map].map_type == MapType::PERF_EVENT_ARRAY;
        let len = event.data.len();
        let ty = match padded {
            true => self.types.of_padded(event.source, len),
            false => self.types.of(event.source, len),
        };
        let typed = ty.zip(spec.btf.as_ref());
        if self.json {
            let data = match typed {
                Some((ty, btf)) => to_json(&value::decode(btf, ty, &event.data)),
                None => Json::from(event.data.clone()),
            };
            return json!({"type": "event", "map": name, "cpu": event.cpu, "data": data})
                .to_string();
        }
        let text = match typed {
            Some((ty, btf)) => value::decode(btf, ty, &event.data).to_string(),
            None => hex(&event.data),
        };
        if self.named { format!("{name} {text}") } else { text }
    }

    /// A line for every source that lost records, and every program that could not run when it should have.
    pub fn lost_lines(&self, session: &Session) -> Result<Vec<String>, Error> {
        let lost = session.lost()?;
        let missed = session.stats().into_iter().filter(|s| s.misses > 0);
        Ok(lost
            .iter()
            .map(|l| format!("{}: {} events lost", source_name(session, l.source), l.records))
            .chain(missed.map(|s| format!("program '{}': {} runs missed", s.name, s.misses)))
            .collect())
    }

    /// Counts, as one JSON object.
    pub fn summary_json(&self, session: &Session) -> Result<Json, Error> {
        let lost: serde_json::Map<String, Json> = session
            .lost()?
            .into_iter()
            .map(|l| (source_name(session, l.source), l.records.into()))
            .collect();
        let progs: Vec<Json> = session
            .stats()
            .into_iter()
            .map(|s| json!({"name": s.name, "run_cnt": s.runs, "recursion_misses": s.misses}))
            .collect();
        Ok(json!({"type": "summary", "events": self.seen, "lost": lost, "programs": progs}))
    }
}

/// A closed pipe (`| head`) ends the output, which is no error; anything else is.
pub fn output_error(source: std::io::Error) -> Result<(), Error> {
    match source.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Error::System { what: "standard output", source }),
    }
}

/// A printed line with what the kernel's `trace_pipe` puts before it.
fn printk(session: &Session, data: &[u8], as_json: bool) -> String {
    let Some(line) = session.printk(data) else { return String::new() };
    let text = line.text.trim_end_matches('\n');
    if as_json {
        return json!({
            "type": "printk", "comm": line.comm, "pid": line.pid, "tid": line.tid, "cpu": line.cpu, "prog": line.prog,
            "time_ns": line.time_ns, "text": text,
        })
        .to_string();
    }
    let (seconds, micros) = (line.time_ns / 1_000_000_000, line.time_ns / 1000 % 1_000_000);
    let task = format!("{}-{}", line.comm, line.tid);
    format!("{task:>22} [{:03}] {seconds}.{micros:06}: bpf_trace_printk: {text}", line.cpu)
}

fn source_name(session: &Session, source: EventSource) -> String {
    match source {
        EventSource::Printk => "trace_printk".into(),
        EventSource::Map { object, map } => {
            let object = session.object(object);
            object.map(|o| o.spec().maps[map].name.clone()).unwrap_or_default()
        }
    }
}
