//! Putting programs on sites.

use super::stacks::Stacks;
use super::state::{Probe, Site, State};
use super::window::WindowId;
use crate::proc::{Map, Maps, Status};
use crate::ptrace::Stop;
use crate::site::{JUMP, Plan, PlanInput, far_branches, jump_bytes};
use crate::tramp::table::MAX_SESSIONS;
use crate::tramp::{Block, BlockSpec, Bound, build};
use crate::{Error, Result, Unpatchable};
use std::collections::HashSet;
use std::ops::Range;
use stylet_runtime::abi::TEXT_SIZE;

/// Where in a function a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At the first instruction.
    Entry,
    /// When the function returns; the site is its first instruction.
    Return,
    /// At the first instruction, and when the function returns unless it gave 1 there; both runs of a call share a cookie.
    Session,
    /// At any instruction.
    Offset,
}

impl Kind {
    /// Whether the function's return is probed.
    pub fn returns(self) -> bool {
        matches!(self, Kind::Return | Kind::Session)
    }
}

/// A program in a window, and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct ProgRef {
    /// Its window.
    pub window: WindowId,
    /// Offset of its entry in the window's text part.
    pub code_off: u64,
    /// Words of `struct pt_regs` that it reads, by index (`PtRegs::FIELDS`).
    pub ctx_read: u32,
    /// The context may be read in ways that are not known: all words are built.
    pub ctx_escapes: bool,
    /// `jit::Code::uses_run_ctx`.
    pub uses_run_ctx: bool,
    /// `jit::Code::has_calls`: code other than the program's own runs, which may change vector registers.
    pub has_calls: bool,
    /// Vector registers xmm0 to xmm15 that this other code (slot_enter and slot_leave included) may change; it must not
    /// change upper halves.
    pub xmm_used: u16,
    /// It runs between slot_enter and slot_leave.
    pub needs_slot: bool,
    /// It may call `bpf_override_return` (at a function's entry).
    pub can_override: bool,
    /// It, or what it calls, asks for its cookie.
    pub reads_cookie: bool,
    /// It, or what it calls, asks for the function's address.
    pub reads_func_ip: bool,
    /// `bpf_get_attach_cookie`.
    pub cookie: u64,
    /// Number of the program.
    pub prog: u32,
}

impl ProgRef {
    /// A program that reads nothing of its context, calls nothing, and is number 0.
    pub fn new(window: WindowId, code_off: u64) -> ProgRef {
        ProgRef {
            window,
            code_off,
            ctx_read: 0,
            ctx_escapes: false,
            uses_run_ctx: false,
            has_calls: false,
            xmm_used: 0,
            needs_slot: false,
            can_override: false,
            reads_cookie: false,
            reads_func_ip: false,
            cookie: 0,
            prog: 0,
        }
    }
}

/// One attachment.
#[derive(Clone, Debug)]
pub struct ProbeSpec {
    /// Address in the process.
    pub site: u64,
    /// Kind of probe.
    pub kind: Kind,
    /// The program.
    pub prog: ProgRef,
    /// `bpf_get_func_ip`: the function's address; 0 for a site inside.
    pub func_ip: u64,
    /// Bounds of the function around the site, if the caller knows better than the file's symbols.
    pub func: Option<Range<u64>>,
    /// Address of a 16-bit number that is one higher as long as the probe is there (the semaphore of a USDT marker).
    pub counter: Option<u64>,
}

/// An attached program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub(super) u64);

/// A site examined before the process is stopped.
pub type Planned = Result<(Plan, Range<u64>)>;

/// An attachment with the examination of its site.
pub type Work = (ProbeSpec, Planned);

/// Bytes of code read behind a site when its function is not known.
const LOOK: u64 = 512;
/// No site reaches further: an `endbr64` and the instructions that cover a jump.
const NEAR: u64 = 64;
/// Bytes by which the code for one program may be longer at another place.
const SLACK: u64 = 64;
/// Bytes read behind a function's end.
const TAIL: u64 = 32;
impl State {
    /// Examines the sites, without stopping the process.
    pub fn plan_all(&mut self, specs: &[ProbeSpec]) -> Vec<Planned> {
        let maps = Maps::of(self.pid);
        let mut plans: Vec<Planned> = specs
            .iter()
            .map(|spec| match &maps {
                Ok(maps) => self.plan(maps, spec),
                Err(_) => Err(Error::Gone { pid: self.pid }),
            })
            .collect();
        if let Ok(maps) = &maps {
            self.refuse_branches(maps, &mut plans);
        }
        plans
    }

    fn plan(&mut self, maps: &Maps, spec: &ProbeSpec) -> Planned {
        let site = spec.site;
        let not_code = || Error::NotCode { pid: self.pid, site };
        let map =
            maps.at(site).filter(|m| m.exec && m.is_file() && !m.shared).ok_or_else(not_code)?;
        let module = module_range(maps, map);
        let around = self.around(map, site);
        if around.is_go && spec.kind.returns() {
            let why = "this is a Go program, whose stacks move and are checked";
            return Err(Error::Unpatchable { site, why: Unpatchable::Return { why } });
        }
        if let Some(known) = self.sites.get(&site) {
            return Ok((known.plan.clone(), module));
        }
        let func = spec.func.clone().or(around.func).filter(|f| f.contains(&site));
        let from = func.as_ref().map_or(site, |f| f.start).max(map.start);
        let to = func.as_ref().map_or(site + LOOK, |f| f.end + TAIL).min(map.end);
        let code = self.memory.bytes(from, (to - from) as usize)?;
        let next_symbol = around.next_symbol;
        let is_entry = spec.kind != Kind::Offset;
        let plan = Plan::new(&PlanInput {
            site,
            code: &code,
            code_at: from,
            func,
            next_symbol,
            is_entry,
        })?;
        self.check_foreign(maps, &plan)?;
        self.check_overlap(&plan)?;
        Ok((plan, module))
    }

    /// Looks through all code of the sites' files for branches into the bytes that would be replaced (a part of a function
    /// that the compiler has moved away, say).
    fn refuse_branches(&self, maps: &Maps, plans: &mut [Planned]) {
        let open: Vec<&Plan> = plans
            .iter()
            .flatten()
            .map(|(p, _)| p)
            .filter(|p| !self.sites.contains_key(&p.site))
            .collect();
        let code = |m: &&Map| {
            m.exec && m.is_file() && open.iter().any(|p| (m.start..m.end).contains(&p.site))
        };
        let mut found = Vec::new();
        for map in maps.0.iter().filter(code) {
            let inside: HashSet<u64> = open
                .iter()
                .flat_map(|p| p.inside())
                .filter(|a| (map.start..map.end).contains(a))
                .collect();
            let bytes = self.memory.read_some(map.start, map.size() as usize);
            far_branches(&bytes, map.start, &inside, &mut found);
        }
        for planned in plans.iter_mut() {
            let Ok((plan, _)) = planned else { continue };
            // A displaced instruction's own bytes may look like a branch.
            let own = plan.patch_at..plan.resume();
            let hit =
                found.iter().find(|(from, to)| plan.inside().contains(to) && !own.contains(from));
            if let Some(&(from, to)) = hit.filter(|_| !self.sites.contains_key(&plan.site)) {
                let why = Unpatchable::BranchInside { from, to, len: JUMP };
                *planned = Err(Error::Unpatchable { site: plan.site, why });
            }
        }
    }

    /// A jump to anonymous memory is another tracer's work.
    fn check_foreign(&self, maps: &Maps, plan: &Plan) -> Result<()> {
        let target = plan.displaced.first().map_or(0, |i| i.near_branch_target());
        let foreign = plan.original[0] == 0xe9 && maps.at(target).is_none_or(|m| !m.is_file());
        let why = Unpatchable::Patched { what: "a jump to anonymous memory" };
        if foreign { Err(Error::Unpatchable { site: plan.site, why }) } else { Ok(()) }
    }

    /// Two jumps cannot share bytes, nor can one lie in what the other displaced.
    fn check_overlap(&self, plan: &Plan) -> Result<()> {
        let bytes = plan.patch_at..plan.resume().max(plan.patch_at + JUMP as u64);
        let near = plan.site.saturating_sub(NEAR)..plan.site + NEAR;
        for (_, site) in self.sites.range(near) {
            let other =
                site.plan.patch_at..site.plan.resume().max(site.plan.patch_at + JUMP as u64);
            if bytes.start < other.end && other.start < bytes.end {
                let why = Unpatchable::Immovable {
                    at: other.start,
                    why: format!("the probe at {:#x} is too close", site.plan.site),
                };
                return Err(Error::Unpatchable { site: plan.site, why });
            }
        }
        Ok(())
    }

    /// Attaches what was examined; each item comes back with its result.
    pub fn attach_all(&mut self, stop: &mut Stop, work: Vec<Work>) -> Vec<(Work, Result<ProbeId>)> {
        let stacks = Stacks::of(&self.memory, stop);
        work.into_iter()
            .map(|(spec, planned)| match planned {
                Err(error) => ((spec, Err(Error::Unknown { what: "probe" })), Err(error)),
                Ok((plan, module)) => {
                    let result = self.attach_one(stop, &stacks, &spec, &plan, &module);
                    ((spec, Ok((plan, module))), result)
                }
            })
            .collect()
    }

    fn attach_one(
        &mut self,
        stop: &mut Stop,
        stacks: &Stacks,
        spec: &ProbeSpec,
        plan: &Plan,
        module: &Range<u64>,
    ) -> Result<ProbeId> {
        self.bind(&spec.prog, spec.func_ip)?;
        if spec.kind.returns() {
            check_shadow_stack(stop, spec.site)?;
        }
        let known = self.sites.contains_key(&spec.site);
        if !known {
            if self.memory.bytes(plan.patch_at, JUMP)? != plan.original {
                return Err(Error::Unpatchable {
                    site: spec.site,
                    why: Unpatchable::Patched { what: "other bytes than before" },
                });
            }
            self.check_overlap(plan)?;
            if let Some(tid) = stacks.user_of(stop, plan) {
                return Err(Error::Busy { site: spec.site, tid });
            }
        }
        let id = ProbeId(self.last_probe + 1);
        let mut probes = self.sites.get(&spec.site).map_or(Vec::new(), |s| s.probes.clone());
        let session = match spec.kind {
            Kind::Session => Some(free_session(spec.site, &probes)?),
            _ => None,
        };
        probes.push(Probe {
            id,
            kind: spec.kind,
            prog: spec.prog,
            func_ip: spec.func_ip,
            session,
            counter: spec.counter,
        });
        if let Some(at) = spec.counter {
            self.memory.bytes(at, size_of::<u16>())?;
        }
        self.install(stop, plan, module, probes)?;
        self.last_probe += 1;
        if let Some(at) = spec.counter {
            self.count_up(spec.site, at)?;
        }
        Ok(id)
    }

    /// Makes the site's block for these probes and lets the site jump to it.
    pub fn install(
        &mut self,
        stop: &mut Stop,
        plan: &Plan,
        module: &Range<u64>,
        probes: Vec<Probe>,
    ) -> Result<()> {
        let block = self.make_block(stop, plan, module, &probes)?;
        self.memory.write(block.at, &block.code)?;
        let jump = jump_bytes(plan.patch_at, block.at).ok_or(Error::NoSpace {
            pid: self.pid,
            len: block.code.len() as u64,
            near: plan.site,
        })?;
        self.record(plan, block.at)?;
        // First the threads, then the bytes under them: the tracer may die in between.
        for thread in stop.threads_mut() {
            let moved = block.moved.iter().find(|(from, _)| *from == thread.regs.rip);
            if let Some((_, to)) = moved.filter(|(from, _)| plan.inside().contains(from)) {
                thread.set_ip(*to)?;
            }
        }
        self.memory.write(plan.patch_at, &jump)?;
        let site = Site { plan: plan.clone(), jump, block, probes };
        if let Some(old) = self.sites.insert(plan.site, site) {
            self.retired.push(old.block);
        }
        Ok(())
    }

    fn make_block(
        &mut self,
        stop: &mut Stop,
        plan: &Plan,
        module: &Range<u64>,
        probes: &[Probe],
    ) -> Result<Block> {
        let mut entry = Vec::new();
        let mut ret = Vec::new();
        for probe in probes {
            let bound = Bound { session: probe.session, ..self.bind(&probe.prog, probe.func_ip)? };
            if probe.kind != Kind::Return {
                entry.push(bound);
            }
            if probe.kind.returns() {
                ret.push(bound);
            }
        }
        let inside = probes.iter().any(|p| p.kind == Kind::Offset);
        let mut spec = BlockSpec {
            at: module.start,
            plan,
            entry: &entry,
            ret: &ret,
            inside,
            routines: 0,
            table: 0,
        };
        // The length hardly depends on the place: what is near here may be far there.
        let most = build(&spec)?.code.len() as u64 + SLACK * (1 + 2 * probes.len() as u64);
        let index = self.region_for(stop, module, most)?;
        let region = &mut self.regions[index];
        let no_space = || Error::NoSpace { pid: self.pid, len: most, near: plan.site };
        spec.at = region.alloc(most).ok_or_else(no_space)?;
        (spec.routines, spec.table) = (region.routines(), region.table());
        let built = build(&spec)
            .and_then(|b| if b.code.len() as u64 <= most { Ok(b) } else { Err(no_space()) });
        let used = built.as_ref().map_or(0, |b| b.code.len() as u64);
        region.give_back(spec.at, most, used);
        built
    }

    fn bind(&self, prog: &ProgRef, func_ip: u64) -> Result<Bound> {
        let window = self.window(prog.window)?;
        let bad = |why| Err(Error::BadProg { code_off: prog.code_off, why });
        if prog.code_off >= TEXT_SIZE {
            return bad("its code is outside the text part of the window");
        }
        if prog.needs_slot && (window.slot_enter == 0 || window.slot_leave == 0) {
            return bad("it needs a CPU slot, but the window has no slot_enter and slot_leave");
        }
        Ok(Bound {
            code: window.base + prog.code_off,
            window: window.base,
            slot_enter: window.base + window.slot_enter,
            slot_leave: window.base + window.slot_leave,
            ctx_read: prog.ctx_read,
            ctx_escapes: prog.ctx_escapes,
            uses_run_ctx: prog.uses_run_ctx,
            has_calls: prog.has_calls,
            xmm_used: prog.xmm_used,
            needs_slot: prog.needs_slot,
            can_override: prog.can_override,
            reads_cookie: prog.reads_cookie,
            reads_func_ip: prog.reads_func_ip,
            cookie: prog.cookie,
            prog: prog.prog,
            func_ip,
            session: None,
        })
    }
}

/// The lowest session number that no probe of the site has. It stays that of its probe: table entries name it.
fn free_session(site: u64, probes: &[Probe]) -> Result<u8> {
    let free = |n: &u8| probes.iter().all(|p| p.session != Some(*n));
    let none = Error::TooManySessions { site, most: MAX_SESSIONS };
    (0..MAX_SESSIONS as u8).find(free).ok_or(none)
}

/// Addresses of all mappings of the file that `map` is of, as one range around it.
pub fn module_range(maps: &Maps, map: &Map) -> Range<u64> {
    let same = |m: &&Map| {
        m.inode == map.inode && m.dev == map.dev && m.start.abs_diff(map.start) < 1 << 30
    };
    let start = maps.0.iter().filter(same).map(|m| m.start).min().unwrap_or(map.start);
    let end = maps.0.iter().filter(same).map(|m| m.end).max().unwrap_or(map.end);
    start..end
}

fn check_shadow_stack(stop: &Stop, site: u64) -> Result<()> {
    for thread in stop.threads() {
        if Status::of(thread.tid).is_ok_and(|s| s.shadow_stack) {
            let why = "a thread has a shadow stack, on which a return address cannot be replaced";
            return Err(Error::Unpatchable { site, why: Unpatchable::Return { why } });
        }
    }
    Ok(())
}
