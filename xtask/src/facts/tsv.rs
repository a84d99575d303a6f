//! Reading the tables.

use std::collections::BTreeMap;
use std::path::Path;

/// A release as (major, minor).
pub type Since = (u8, u8);

/// One helper: number, name with `bpf_`, first release.
pub struct Helper {
    pub id: u32,
    pub name: String,
    pub since: Since,
}

/// A helper that a program type may call, from a release on.
pub struct Use {
    pub prog_type: String,
    pub helper: String,
    pub since: Option<Since>,
}

/// Kfuncs that are registered together.
pub struct KfuncSet {
    /// Program types and from when on they have the set; empty for all.
    pub progs: Vec<(String, Option<Since>)>,
    /// Name, first release, flags without `KF_`.
    pub kfuncs: Vec<(String, Since, Vec<String>)>,
}

/// All tables, corrections applied.
pub struct Input {
    pub helpers: Vec<Helper>,
    /// Prototype rows by the prototype's name: the columns of helper_protos.
    pub protos: BTreeMap<String, Vec<String>>,
    /// Helper to the name of its prototype, where the two differ.
    pub aliases: BTreeMap<String, String>,
    /// (program types with commas, helper, name of the prototype).
    pub variants: Vec<(String, String, String)>,
    pub uses: Vec<Use>,
    /// By name of the set.
    pub kfunc_sets: BTreeMap<String, KfuncSet>,
    pub map_types: Vec<(String, Since)>,
    pub prog_types: Vec<(String, Since)>,
    pub attach_types: Vec<(String, Since)>,
}

impl Input {
    /// Reads `facts` and then `corrections`, whose rows replace those with the same key.
    pub fn read(facts: &Path, corrections: &Path) -> Result<Input, String> {
        let mut protos = BTreeMap::new();
        let fixed = corrections.join("helper_protos.tsv");
        for row in rows(&facts.join("helper_protos_v6.12.tsv"))?.into_iter().chain(rows(&fixed)?) {
            protos.insert(row[0].clone(), row);
        }
        let aliases = rows(&corrections.join("helper_aliases.tsv"))?;
        let variants = rows(&corrections.join("helper_variants.tsv"))?;
        Ok(Input {
            helpers: helpers(&facts.join("helpers.tsv"))?,
            protos,
            aliases: aliases.into_iter().map(|r| (r[0].clone(), r[1].clone())).collect(),
            variants: variants
                .into_iter()
                .map(|r| (r[0].clone(), r[1].clone(), r[2].clone()))
                .collect(),
            uses: uses(facts, corrections)?,
            kfunc_sets: kfuncs(facts, corrections)?,
            map_types: since(facts, corrections, "map_types.tsv", "BPF_MAP_TYPE_")?,
            prog_types: since(facts, corrections, "program_types.tsv", "BPF_PROG_TYPE_")?,
            attach_types: since(facts, corrections, "attach_types.tsv", "BPF_")?,
        })
    }
}

/// Rows of a TSV file without its header and comment lines, padded to 22 columns.
fn rows(path: &Path) -> Result<Vec<Vec<String>>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).skip(1);
    Ok(lines
        .map(|line| {
            let mut row: Vec<String> = line.split('\t').map(|c| c.trim().to_string()).collect();
            row.resize(row.len().max(22), String::new());
            row
        })
        .collect())
}

/// Reads `v6.10` as (6, 10).
pub fn parse_since(text: &str) -> Result<Since, String> {
    let bad = || format!("not a release: {text:?}");
    let (major, minor) = text.trim_start_matches('v').split_once('.').ok_or_else(bad)?;
    Ok((major.parse().map_err(|_| bad())?, minor.parse().map_err(|_| bad())?))
}

fn helpers(path: &Path) -> Result<Vec<Helper>, String> {
    let parse = |row: Vec<String>| {
        let id = row[0].parse().map_err(|e| format!("helper {}: {e}", row[1]))?;
        Ok(Helper { id, name: row[1].clone(), since: parse_since(&row[2])? })
    };
    rows(path)?.into_iter().map(parse).collect()
}

fn uses(facts: &Path, corrections: &Path) -> Result<Vec<Use>, String> {
    let mut all: BTreeMap<(String, String), Option<Since>> = BTreeMap::new();
    for row in rows(&facts.join("helper_by_progtype.tsv"))? {
        let since = row[2].split(';').find_map(|c| c.strip_prefix("since="));
        let since = since.map(parse_since).transpose()?;
        all.insert((row[0].clone(), row[1].clone()), since);
    }
    for row in rows(&corrections.join("helper_by_progtype.tsv"))? {
        for prog_type in row[0].split(',') {
            let key = (prog_type.to_string(), row[1].clone());
            match row[2].as_str() {
                "never" => drop(all.remove(&key)),
                "" => drop(all.insert(key, None)),
                since => drop(all.insert(key, Some(parse_since(since)?))),
            }
        }
    }
    let to_use = |((prog_type, helper), since)| Use { prog_type, helper, since };
    Ok(all.into_iter().map(to_use).collect())
}

/// Reads `TRACING,TRACEPOINT@v6.12`; `ANY` gives none.
fn prog_list(text: &str) -> Result<Vec<(String, Option<Since>)>, String> {
    let word = |word: &str| {
        let (prog, since) = word.split_once('@').map_or((word, None), |(p, s)| (p, Some(s)));
        Ok((prog.to_string(), since.map(parse_since).transpose()?))
    };
    text.split(',').filter(|w| *w != "ANY").map(word).collect()
}

/// Kfuncs by set; a correction replaces the row of the same kfunc in the same set, or removes it (`never`).
fn kfuncs(facts: &Path, corrections: &Path) -> Result<BTreeMap<String, KfuncSet>, String> {
    let mut all: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let fixed = rows(&corrections.join("kfuncs.tsv"))?;
    for row in rows(&facts.join("kfuncs_all.tsv"))?.into_iter().chain(fixed) {
        let key = (row[3].clone(), row[0].clone());
        if row[1] == "never" {
            all.remove(&key);
        } else {
            all.insert(key, row);
        }
    }
    let mut sets: BTreeMap<String, KfuncSet> = BTreeMap::new();
    for ((set, name), row) in all {
        let progs = prog_list(&row[4])?;
        let flags = row[2].split(',').filter(|f| !f.is_empty());
        let flags = flags.map(|f| f.trim_start_matches("KF_").to_string()).collect();
        let entry = sets.entry(set).or_insert(KfuncSet { progs, kfuncs: Vec::new() });
        entry.kfuncs.push((name, parse_since(&row[1])?, flags));
    }
    for row in rows(&corrections.join("kfunc_sets.tsv"))? {
        let set = sets.get_mut(&row[0]).ok_or_else(|| format!("no set of kfuncs {}", row[0]))?;
        set.progs.extend(prog_list(&row[1])?);
    }
    Ok(sets)
}

fn since(
    facts: &Path,
    fix: &Path,
    file: &str,
    prefix: &str,
) -> Result<Vec<(String, Since)>, String> {
    let mut all = BTreeMap::new();
    for row in rows(&facts.join(file))?.into_iter().chain(rows(&fix.join(file))?) {
        let name = row[0].strip_prefix(prefix).unwrap_or(&row[0]).to_string();
        all.insert(name, parse_since(&row[1])?);
    }
    Ok(all.into_iter().collect())
}
