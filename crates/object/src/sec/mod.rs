//! Section names: what `SEC("...")` says about a program.

mod table;
mod target;

pub use target::{AttachTarget, TracingKind};

use alloc::vec::Vec;

use stylet_uapi::{AttachType, ProgType};

/// Flags of a section definition (`enum sec_def_flags` of libbpf).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SecFlags(pub u8);

impl SecFlags {
    /// Kernels that do not know the expected attach type get 0 instead (`SEC_EXP_ATTACH_OPT`).
    pub const EXP_ATTACH_OPT: u8 = 1;
    /// Attachable by `BPF_PROG_ATTACH` (`SEC_ATTACHABLE`).
    pub const ATTACHABLE: u8 = 2;
    /// The target is named by a BTF id (`SEC_ATTACH_BTF`).
    pub const ATTACH_BTF: u8 = 4;
    /// The program may sleep: `BPF_F_SLEEPABLE` (`SEC_SLEEPABLE`).
    pub const SLEEPABLE: u8 = 8;
    /// The program takes multi-buffer packets: `BPF_F_XDP_HAS_FRAGS` (`SEC_XDP_FRAGS`).
    pub const XDP_FRAGS: u8 = 16;
    /// A USDT program (`SEC_USDT`).
    pub const USDT: u8 = 32;

    /// Whether all bits of `flag` are set.
    pub const fn has(self, flag: u8) -> bool {
        self.0 & flag == flag
    }
}

/// A row of libbpf's table of section names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecDef {
    /// Name: exact, or with a last `+` that also lets `/...` follow.
    pub sec: &'static str,
    /// Program type.
    pub prog_type: ProgType,
    /// Expected attach type, 0 when there is none.
    pub attach_type: AttachType,
    /// Flags.
    pub flags: SecFlags,
}

impl SecDef {
    /// Every row, in libbpf's order.
    pub fn all() -> &'static [SecDef] {
        table::SECTION_DEFS
    }

    /// The row that a section name (without `?`) belongs to: the first that matches (`find_sec_def`).
    pub fn find(section: &str) -> Option<&'static SecDef> {
        table::SECTION_DEFS.iter().find(|def| def.matches(section))
    }

    /// The name without `+`.
    pub fn name(&self) -> &'static str {
        self.sec.strip_suffix('+').unwrap_or(self.sec)
    }

    /// Whether a section name is of this row (`sec_def_matches`).
    pub fn matches(&self, section: &str) -> bool {
        match self.sec.strip_suffix('+') {
            Some(name) => section
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => section == self.sec,
        }
    }

    /// Names that resemble an unknown section name, the nearest first, at most three.
    pub fn near(section: &str) -> Vec<&'static str> {
        let head = section.split('/').next().unwrap_or(section);
        let mut near: Vec<(usize, &'static str)> = Vec::new();
        for def in table::SECTION_DEFS {
            let name = def.name();
            let given = if name.contains('/') { section } else { head };
            let distance = edit_distance(given, name);
            let extends = name.len() >= 3 && head.starts_with(name);
            if distance * 3 <= name.len().max(3) || extends {
                near.push((if extends { distance.min(1) } else { distance }, name));
            }
        }
        near.sort_by_key(|&(distance, _)| distance);
        near.into_iter().map(|(_, name)| name).take(3).collect()
    }
}

/// What a section name says about a program, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecSpec {
    /// Name of the row of libbpf's table (`kprobe`, `raw_tp.w`, ...), empty when the section is unknown.
    pub def: &'static str,
    /// Program type; `UNSPEC` for an unknown section, which only a program without autoload may have.
    pub prog_type: ProgType,
    /// Expected attach type, 0 when there is none.
    pub expected_attach_type: AttachType,
    /// Flags.
    pub flags: SecFlags,
    /// What the program attaches to.
    pub target: AttachTarget,
}

impl SecSpec {
    /// Resolves a section name (without `?`); `None` when libbpf does not know it.
    pub fn parse(section: &str) -> Option<SecSpec> {
        let def = SecDef::find(section)?;
        Some(SecSpec {
            def: def.name(),
            prog_type: def.prog_type,
            expected_attach_type: def.attach_type,
            flags: def.flags,
            target: AttachTarget::parse(def.name(), section),
        })
    }

    /// Whether the program is loaded with `BPF_F_SLEEPABLE`.
    pub fn is_sleepable(&self) -> bool {
        self.flags.has(SecFlags::SLEEPABLE)
    }
}

/// Levenshtein distance in bytes; long names are cut, they resemble nothing.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let a = &a[..a.len().min(48)];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
