//! What was put into a process.

use super::attach::{Kind, ProbeId, ProgRef};
use super::region::Region;
use super::window::{Window, WindowId};
use crate::proc::Memory;
use crate::site::{JUMP, Plan};
use crate::symbols::ElfImage;
use crate::tramp::Block;
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Everything of ours in one process.
#[derive(Debug)]
pub struct State {
    /// Process.
    pub pid: i32,
    /// Its memory.
    pub memory: Memory,
    /// Mapped windows.
    pub windows: Vec<Window>,
    /// Memory for trampolines.
    pub regions: Vec<Region>,
    /// Patched sites, by the probed address.
    pub sites: BTreeMap<u64, Site>,
    /// Blocks no longer jumped to, which a thread may still be in.
    pub retired: Vec<Block>,
    /// Counters that a dead tracer has raised, and by how much.
    pub counters: Vec<(u64, u64)>,
    /// Files read so far, by device and inode.
    pub images: HashMap<((u32, u32), u64), Arc<ElfImage>>,
    /// Number of the last probe.
    pub last_probe: u64,
}

/// A patched site.
#[derive(Clone, Debug)]
pub struct Site {
    /// How it was patched.
    pub plan: Plan,
    /// The bytes now there.
    pub jump: [u8; JUMP],
    /// Its trampolines.
    pub block: Block,
    /// Its programs, in order of attachment.
    pub probes: Vec<Probe>,
}

/// A program on a site.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its name.
    pub id: ProbeId,
    /// At the site, or at the function's return.
    pub kind: Kind,
    /// The program.
    pub prog: ProgRef,
    /// What `bpf_get_func_ip` gives.
    pub func_ip: u64,
    /// Its number among the site's sessions, if it is one.
    pub session: Option<u8>,
    /// See `ProbeSpec`.
    pub counter: Option<u64>,
}

impl State {
    /// Nothing yet.
    pub fn new(pid: i32) -> Result<State> {
        Ok(State {
            pid,
            memory: Memory::open(pid)?,
            windows: Vec::new(),
            regions: Vec::new(),
            sites: BTreeMap::new(),
            retired: Vec::new(),
            counters: Vec::new(),
            images: HashMap::new(),
            last_probe: 0,
        })
    }

    /// A window of this process.
    pub fn window(&self, id: WindowId) -> Result<&Window> {
        self.windows.get(id.0).ok_or(Error::Unknown { what: "window" })
    }
}
