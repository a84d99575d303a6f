//! Our verdicts beside those that a kernel recorded for a folder of built objects.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;
use stylet::Object;
use stylet::check::{Checked, Place, Verdict, check};
use stylet_uapi::HelperId;

const USAGE: &str = "usage: cargo xtask selftests TRUTH.tsv CORPUS=DIR… [--list FILE] [--only TEXT]
  TRUTH.tsv  one line a program: corpus, file, program, SEC, annotation, verdict, class, errno, insns, processed, states, microseconds, last log line
  CORPUS=DIR objects DIR/FILE.bpf.o of the lines of CORPUS
  --list     writes a line for every program: both verdicts
  --only     only programs whose FILE/PROGRAM contains TEXT, with our log";

/// A program and what the kernel said.
struct Row {
    corpus: String,
    file: String,
    prog: String,
    accept: bool,
    errno: i32,
    insns: String,
    last: String,
}

/// What we said.
struct Ours {
    outcome: Outcome,
    errno: i32,
    message: String,
    cause: String,
    processed: u64,
    seconds: f64,
    log: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    Accept,
    Reject,
    Unknown,
    Unfit,
    Panic,
    Missing,
}

pub fn run(args: &[String]) -> Result<(), String> {
    let (mut truth, mut dirs, mut list, mut only) = (None, HashMap::new(), None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match (arg.as_str(), arg.split_once('=')) {
            ("--list", _) => list = args.next().cloned(),
            ("--only", _) => only = args.next().cloned(),
            (_, Some((corpus, dir))) => {
                dirs.insert(corpus.to_owned(), PathBuf::from(dir));
            }
            _ => truth = Some(arg.clone()),
        }
    }
    let (Some(truth), false) = (truth, dirs.is_empty()) else { return Err(USAGE.into()) };
    let mut rows = read_truth(Path::new(&truth))?;
    rows.retain(|row| dirs.contains_key(&row.corpus));
    if let Some(only) = &only {
        rows.retain(|row| format!("{}/{}", row.file, row.prog).contains(only.as_str()));
    }
    // The record was made with missing externs taken as weak.
    let mut place = Place::running().map_err(|e| e.to_string())?.with_weak_externs();
    // Left out by that machine's lockdown and configuration, as its own loads show.
    for id in [HelperId::PROBE_WRITE_USER, HelperId::OVERRIDE_RETURN] {
        *place.env_mut() = place.env().clone().without_helper(id);
    }
    let level = if only.is_some() { 2 } else { 0 };
    std::panic::set_hook(Box::new(|_| {}));
    let results = judge(&rows, &dirs, &place, level);
    if only.is_some() {
        for (row, ours) in &results {
            println!("{}\n{}", line(row, ours), ours.log);
        }
    }
    if let Some(list) = list {
        let text: String = results.iter().map(|(row, ours)| line(row, ours) + "\n").collect();
        std::fs::write(&list, HEAD.to_owned() + &text).map_err(|e| format!("{list}: {e}"))?;
    }
    summary(&results);
    Ok(())
}

fn read_truth(path: &Path) -> Result<Vec<Row>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let row = |line: &str| {
        let f: Vec<&str> = line.split('\t').collect();
        (f.len() >= 12 && f[0] != "corpus").then(|| Row {
            corpus: f[0].into(),
            file: f[1].into(),
            prog: f[2].into(),
            accept: f[5] == "accept",
            errno: f[7].parse().unwrap_or(0),
            insns: f[8].into(),
            last: f.get(12).unwrap_or(&"").trim().into(),
        })
    };
    Ok(text.lines().filter_map(row).collect())
}

fn judge<'a>(
    rows: &'a [Row],
    dirs: &HashMap<String, PathBuf>,
    place: &Place,
    level: u32,
) -> Vec<(&'a Row, Ours)> {
    let mut objects: HashMap<PathBuf, Result<Object, String>> = HashMap::new();
    let mut results = Vec::new();
    for row in rows {
        let path = dirs[&row.corpus].join(format!("{}.bpf.o", row.file));
        let object = objects
            .entry(path.clone())
            .or_insert_with(|| Object::open(&path).map_err(|e| e.to_string()));
        let ours = match object {
            Err(e) => Ours::without(Outcome::Missing, e.clone()),
            Ok(object) => {
                let start = Instant::now();
                let judged = catch_unwind(AssertUnwindSafe(|| one(object, row, place, level)));
                let mut ours = judged.unwrap_or_else(|e| {
                    let text = e.downcast_ref::<String>().cloned().unwrap_or_default();
                    Ours::without(Outcome::Panic, text)
                });
                if ours.seconds == 0.0 {
                    ours.seconds = start.elapsed().as_secs_f64();
                }
                ours
            }
        };
        results.push((row, ours));
    }
    results
}

fn one(object: &Object, row: &Row, place: &Place, level: u32) -> Ours {
    let index = object.spec().progs.iter().position(|p| p.name == row.prog);
    match index.and_then(|index| check(object, index, place, level)) {
        None => Ours::without(Outcome::Missing, "no such program".into()),
        Some(checked) => Ours::of(checked),
    }
}

impl Ours {
    fn without(outcome: Outcome, message: String) -> Ours {
        Ours {
            outcome,
            errno: 0,
            cause: message.clone(),
            message,
            processed: 0,
            seconds: 0.0,
            log: String::new(),
        }
    }

    fn of(checked: Checked) -> Ours {
        let seconds = checked.duration.as_secs_f64();
        let ours = match checked.verdict {
            Verdict::Accepted(verified) => Ours {
                processed: verified.facts().insn_processed,
                log: verified.log().to_owned(),
                ..Ours::without(Outcome::Accept, String::new())
            },
            Verdict::Rejected { rejection, .. } => {
                let kind = format!("{:?}", rejection.kind);
                let end = kind.find(|c: char| !c.is_alphanumeric()).unwrap_or(kind.len());
                Ours {
                    errno: rejection.errno,
                    cause: kind[..end].to_owned(),
                    log: rejection.log.to_string(),
                    ..Ours::without(Outcome::Reject, rejection.message())
                }
            }
            Verdict::Unknown { what } => Ours::without(Outcome::Unknown, what),
            Verdict::Unfit { reason } => Ours::without(Outcome::Unfit, reason),
        };
        Ours { seconds, ..ours }
    }
}

const HEAD: &str = "corpus\tfile\tprog\tkernel\terrno\tlast\tours\terrno\tmessage\tcause\tinsns\tprocessed\tseconds\n";

fn line(row: &Row, ours: &Ours) -> String {
    let kernel = if row.accept { "accept" } else { "reject" };
    let (message, cause) = (ours.message.replace('\n', " | "), ours.cause.replace('\n', " | "));
    format!(
        "{}\t{}\t{}\t{kernel}\t{}\t{}\t{:?}\t{}\t{message}\t{cause}\t{}\t{}\t{:.6}",
        row.corpus,
        row.file,
        row.prog,
        row.errno,
        row.last,
        ours.outcome,
        ours.errno,
        row.insns,
        ours.processed,
        ours.seconds
    )
}

fn summary(results: &[(&Row, Ours)]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    let (mut unsound, mut errno, mut message) = (Vec::new(), 0, 0);
    for (row, ours) in results {
        let class = match (row.accept, ours.outcome) {
            (true, Outcome::Accept) => "agree-accept",
            (false, Outcome::Reject) => "agree-reject",
            (false, Outcome::Accept) => "UNSOUND",
            (true, Outcome::Reject) => "incomplete: we refuse",
            (true, Outcome::Unknown) => "incomplete: not supported yet",
            (false, Outcome::Unknown) => "kernel refuses, not supported yet",
            (true, Outcome::Unfit) => "incomplete: can not be fitted",
            (false, Outcome::Unfit) => "kernel refuses, can not be fitted",
            (_, Outcome::Panic) => "PANIC",
            (_, Outcome::Missing) => "no object or program",
        };
        *counts.entry(class).or_default() += 1;
        if class == "UNSOUND" || class == "PANIC" {
            unsound.push(format!("{class} {}", line(row, ours)));
        } else if class == "agree-reject" {
            errno += usize::from(row.errno == ours.errno);
            let last = ours.message.lines().last().unwrap_or("").trim();
            message += usize::from(row.last == last);
        } else if !class.starts_with("agree") {
            *causes.entry(format!("{class}: {}", ours.cause)).or_default() += 1;
        }
    }
    let total = results.len().max(1);
    let agree = ["agree-accept", "agree-reject"].map(|c| counts.get(c).copied().unwrap_or(0));
    println!("{} programs", results.len());
    counts.iter().for_each(|(class, n)| println!("{n:6} {class}"));
    println!("{:.1}% agree", 100.0 * (agree[0] + agree[1]) as f64 / total as f64);
    println!("of {} agreed refusals: errno equal {errno}, last line equal {message}", agree[1]);
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    causes.iter().for_each(|(cause, n)| println!("{n:6} {cause}"));
    unsound.iter().for_each(|line| println!("{line}"));
}
