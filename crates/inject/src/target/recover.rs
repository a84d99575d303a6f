//! Removing what tracers that have died left in a process.

use super::Target;
use super::record::{Owner, Record};
use super::region::{CODE, HEADER, Region};
use super::state::{Site, State};
use super::window::Window;
use crate::proc::{Map, Maps};
use crate::site::Plan;
use crate::tramp::{Block, table};
use crate::{Error, Result};
use iced_x86::{Decoder, DecoderOptions, FlowControl};

impl Target {
    /// Removes what dead tracers left; returns how many sites were restored.
    pub(super) fn recover(&self) -> Result<usize> {
        let Some(state) = left_over(self.pid)? else { return Ok(0) };
        let sites = state.sites.len();
        Target::from_state(state).detach_all()?;
        Ok(sites)
    }
}

/// The regions and windows of dead tracers as if this process had made them.
fn left_over(pid: i32) -> Result<Option<State>> {
    let maps = Maps::of(pid)?;
    let mut state = State::new(pid)?;
    // Anonymous neighbours are one mapping: look at every page.
    let code = |m: &&Map| m.exec && !m.write && !m.is_file() && m.name.is_empty();
    for map in maps.0.iter().filter(code) {
        let mut at = map.start;
        while at + CODE <= map.end {
            at += if recover_region(&mut state, &maps, at)? { CODE } else { 4096 };
        }
    }
    for window in maps.0.iter().filter_map(|map| Window::of_dead(&state.memory, map)) {
        if !state.windows.iter().any(|w| w.base == window.base) {
            state.windows.push(window);
        }
    }
    Ok((!state.regions.is_empty() || !state.windows.is_empty()).then_some(state))
}

/// Whether there is a region of a dead tracer at an address.
fn recover_region(state: &mut State, maps: &Maps, at: u64) -> Result<bool> {
    let mut header = [0; 16];
    state.memory.read(at, &mut header)?;
    let Some(region) = Region::found(at, header) else { return Ok(false) };
    if !maps.at(region.table()).is_some_and(|m| m.write && m.end >= region.start + Region::SIZE) {
        return Ok(false);
    }
    if !Owner::of(&state.memory, &region)?.is_dead() {
        return Ok(false);
    }
    state.retired.extend(blocks(&state.memory.bytes(at, CODE as usize)?, at));
    for record in Record::all(&state.memory, &region)? {
        match record {
            Record::Window { base, inode } => {
                let there =
                    maps.at(base).is_some_and(|m| m.start == base && m.inode == inode && m.shared);
                if there && !state.windows.iter().any(|w| w.base == base) {
                    state.windows.push(Window { base, inode, slot_enter: 0, slot_leave: 0 });
                }
            }
            Record::Counter { at, count } => state.counters.push((at, count)),
            Record::Site { at, original } => {
                let jump: [u8; 5] = state
                    .memory
                    .bytes(at, 5)?
                    .try_into()
                    .map_err(|_| Error::Gone { pid: state.pid })?;
                let rel = i32::from_le_bytes([jump[1], jump[2], jump[3], jump[4]]);
                let target = (at + 5).wrapping_add_signed(rel.into());
                if jump[0] == 0xe9 && region.code().contains(&target) {
                    let plan = Plan { site: at, patch_at: at, original, displaced: Vec::new() };
                    let block = Block {
                        at: target,
                        code: Vec::new(),
                        ret_at: None,
                        moved: Vec::new(),
                        returns: Vec::new(),
                    };
                    state.sites.insert(at, Site { plan, jump, block, probes: Vec::new() });
                }
            }
        }
    }
    state.regions.push(region);
    Ok(true)
}

/// A stand-in for each call in a region's code: to a function's displaced start its return address is a replaced one, all others
/// are calls of programs.
fn blocks(code: &[u8], at: u64) -> Vec<Block> {
    let first = HEADER as usize + table::code().len();
    let mut decoder = Decoder::with_ip(64, &code[first..], at + first as u64, DecoderOptions::NONE);
    let mut found = Vec::new();
    while decoder.can_decode() {
        let insn = decoder.decode();
        if !matches!(insn.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
            continue;
        }
        let inner = (at + first as u64..at + CODE).contains(&insn.near_branch_target());
        let (ret_at, returns) =
            if inner { (Some(insn.next_ip()), vec![]) } else { (None, vec![insn.next_ip()]) };
        found.push(Block { at: insn.ip(), code: Vec::new(), ret_at, moved: Vec::new(), returns });
    }
    found
}
