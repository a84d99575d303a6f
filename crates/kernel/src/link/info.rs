//! What the kernel says about a link, in bpftool's words.

use stylet_uapi::{AttachType, LinkType};

use super::{Held, Link};
use crate::Error;
use crate::sys::{self, LinkRecord, TaskFd};

/// What the kernel says about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Id; 0 for a perf event without a link.
    pub id: u32,
    /// Type.
    pub link_type: LinkType,
    /// Id of the program; 0 when it is gone or unknown.
    pub prog_id: u32,
    /// What else the kernel tells about this type.
    pub details: LinkDetails,
}

/// What the kernel tells about a type of links (`struct bpf_link_info`); fields that a release does not tell are 0 or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum LinkDetails {
    /// Nothing but the head.
    None,
    RawTracepoint {
        tp_name: String,
        /// Since 6.17.
        cookie: u64,
    },
    Tracing {
        attach_type: AttachType,
        /// Id of the program (EXT) or of the BTF object.
        target_obj_id: u32,
        target_btf_id: u32,
        /// Since 6.17.
        cookie: u64,
    },
    Cgroup {
        cgroup_id: u64,
        attach_type: AttachType,
    },
    Iter {
        target_name: String,
        /// Of an iterator over a map's elements.
        map_id: u32,
        /// Of an iterator over cgroups.
        cgroup_id: u64,
        order: u32,
        /// Of an iterator over the things of a task.
        tid: u32,
        pid: u32,
    },
    Netns {
        netns_ino: u32,
        attach_type: AttachType,
    },
    Xdp {
        ifindex: u32,
    },
    /// TCX and netkit.
    Device {
        ifindex: u32,
        attach_type: AttachType,
    },
    StructOps {
        map_id: u32,
    },
    Netfilter {
        pf: u32,
        hooknum: u32,
        priority: i32,
        flags: u32,
    },
    Sockmap {
        map_id: u32,
        attach_type: AttachType,
    },
    KprobeMulti {
        retprobe: bool,
        /// How often a hit was missed.
        missed: u64,
        /// Addresses, 0 unless we may see them (kptr_restrict), and cookies.
        funcs: Vec<(u64, u64)>,
    },
    UprobeMulti {
        retprobe: bool,
        path: String,
        /// 0 for every process.
        pid: u32,
        /// File offset, offset of the reference counter, cookie.
        funcs: Vec<(u64, u64, u64)>,
    },
    /// `kprobe` and `kretprobe` of a perf event.
    Kprobe {
        retprobe: bool,
        func: String,
        offset: u32,
        addr: u64,
        missed: u64,
        cookie: u64,
    },
    /// `uprobe` and `uretprobe` of a perf event.
    Uprobe {
        retprobe: bool,
        file: String,
        offset: u64,
        cookie: u64,
        /// Since 6.17.
        ref_ctr_offset: u64,
    },
    Tracepoint {
        tracepoint: String,
        cookie: u64,
    },
    /// Any other perf event.
    Event {
        /// The PMU's number, which for clocks in software is not what was asked for.
        event_type: u32,
        event_config: u64,
        cookie: u64,
    },
}

/// `BPF_F_KPROBE_MULTI_RETURN`, `BPF_F_UPROBE_MULTI_RETURN`
const MULTI_RETURN: u32 = 1;

impl Link {
    /// What the kernel says, for each place.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn infos(&self) -> Result<Vec<LinkInfo>, Error> {
        self.parts
            .iter()
            .map(|part| match &part.held {
                Held::Link { link, .. } => LinkInfo::of_link(std::os::fd::AsFd::as_fd(link)),
                Held::Event(event) => LinkInfo::of_event(std::os::fd::AsFd::as_fd(event)),
            })
            .collect()
    }

    /// What the kernel says about a link with one place; of a group, about the first.
    ///
    /// # Errors
    /// What the kernel answers; [`Error::LinkOp`] for a group of none.
    pub fn info(&self) -> Result<LinkInfo, Error> {
        self.infos()?.into_iter().next().ok_or_else(|| Error::LinkOp {
            op: "asked about",
            link_type: LinkType::UNSPEC,
            errno: None,
            why: "it is attached nowhere".into(),
        })
    }
}

impl LinkInfo {
    /// What the kernel says about the link behind a descriptor.
    ///
    /// # Errors
    /// What the kernel answers: EINVAL for what is no link.
    pub fn of_link(fd: std::os::fd::BorrowedFd<'_>) -> Result<LinkInfo, Error> {
        let what = "asking the kernel about a link";
        let record = sys::link_record(fd).map_err(Error::sys("BPF_OBJ_GET_INFO_BY_FD", what))?;
        let link_type = LinkType(record.info.link_type);
        Ok(LinkInfo {
            id: record.info.id,
            link_type,
            prog_id: record.info.prog_id,
            details: details(link_type, record),
        })
    }

    /// What the kernel says about a perf event of this process that runs a program. It tells nothing of a sampling event.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn of_event(fd: std::os::fd::BorrowedFd<'_>) -> Result<LinkInfo, Error> {
        let found = match sys::task_fd_query(fd) {
            Ok(found) => Some(found),
            Err(sys::Errno(libc::EOPNOTSUPP)) => None,
            Err(errno) => {
                return Err(Error::sys(
                    "BPF_TASK_FD_QUERY",
                    "asking the kernel about a perf event",
                )(errno));
            }
        };
        let details = found.as_ref().map_or(LinkDetails::None, event_details);
        let prog_id = found.map_or(0, |found| found.prog_id);
        Ok(LinkInfo { id: 0, link_type: LinkType::PERF_EVENT, prog_id, details })
    }
}

/// `enum bpf_task_fd_type`
pub(crate) fn event_details(found: &TaskFd) -> LinkDetails {
    let name = found.name.clone();
    match found.fd_type {
        0 => LinkDetails::RawTracepoint { tp_name: name, cookie: 0 },
        1 => LinkDetails::Tracepoint { tracepoint: name, cookie: 0 },
        2 | 3 => LinkDetails::Kprobe {
            retprobe: found.fd_type == 3,
            func: name,
            offset: u32::try_from(found.offset).unwrap_or(u32::MAX),
            addr: found.address,
            missed: 0,
            cookie: 0,
        },
        4 | 5 => LinkDetails::Uprobe {
            retprobe: found.fd_type == 5,
            file: name,
            offset: found.offset,
            cookie: 0,
            ref_ctr_offset: 0,
        },
        _ => LinkDetails::None,
    }
}

/// Reads the union of `struct bpf_link_info` (include/uapi/linux/bpf.h); the words are numbered from its start.
fn details(link_type: LinkType, record: LinkRecord) -> LinkDetails {
    let words = record.info.union;
    let (low, high) = (|at: usize| words[at] as u32, |at: usize| (words[at] >> 32) as u32);
    let name = record.name;
    match link_type {
        LinkType::RAW_TRACEPOINT => LinkDetails::RawTracepoint { tp_name: name, cookie: words[2] },
        LinkType::TRACING => LinkDetails::Tracing {
            attach_type: AttachType(low(0)),
            target_obj_id: high(0),
            target_btf_id: low(1),
            cookie: words[2],
        },
        LinkType::CGROUP => {
            LinkDetails::Cgroup { cgroup_id: words[0], attach_type: AttachType(low(1)) }
        }
        LinkType::ITER => iter_details(name, words),
        LinkType::NETNS => {
            LinkDetails::Netns { netns_ino: low(0), attach_type: AttachType(high(0)) }
        }
        LinkType::XDP => LinkDetails::Xdp { ifindex: low(0) },
        LinkType::TCX | LinkType::NETKIT => {
            LinkDetails::Device { ifindex: low(0), attach_type: AttachType(high(0)) }
        }
        LinkType::STRUCT_OPS => LinkDetails::StructOps { map_id: low(0) },
        LinkType::NETFILTER => LinkDetails::Netfilter {
            pf: low(0),
            hooknum: high(0),
            priority: low(1) as i32,
            flags: high(1),
        },
        LinkType::SOCKMAP => {
            LinkDetails::Sockmap { map_id: low(0), attach_type: AttachType(high(0)) }
        }
        LinkType::KPROBE_MULTI => {
            let [addrs, cookies, _] = record.lists;
            LinkDetails::KprobeMulti {
                retprobe: high(1) & MULTI_RETURN != 0,
                missed: words[2],
                funcs: addrs.into_iter().zip(cookies).collect(),
            }
        }
        LinkType::UPROBE_MULTI => {
            let [offsets, ref_ctrs, cookies] = record.lists;
            LinkDetails::UprobeMulti {
                retprobe: low(5) & MULTI_RETURN != 0,
                path: name,
                pid: high(5),
                funcs: offsets
                    .into_iter()
                    .zip(ref_ctrs)
                    .zip(cookies)
                    .map(|((a, b), c)| (a, b, c))
                    .collect(),
            }
        }
        LinkType::PERF_EVENT => perf_details(name, words),
        _ => LinkDetails::None,
    }
}

fn iter_details(target_name: String, words: [u64; 8]) -> LinkDetails {
    let mut details = (0, 0, 0, 0, 0);
    // The union says nothing of which member it is: the target's name does (`bpf_iter_*_fill_link_info`).
    match target_name.as_str() {
        "bpf_map_elem" | "bpf_sk_storage_map" | "sockmap" => details.0 = (words[1] >> 32) as u32,
        "cgroup" => (details.1, details.2) = (words[2], words[3] as u32),
        name if name.starts_with("task") => {
            (details.3, details.4) = (words[2] as u32, (words[2] >> 32) as u32)
        }
        _ => {}
    }
    let (map_id, cgroup_id, order, tid, pid) = details;
    LinkDetails::Iter { target_name, map_id, cgroup_id, order, tid, pid }
}

/// `enum bpf_perf_event_type`
fn perf_details(name: String, words: [u64; 8]) -> LinkDetails {
    let offset = (words[2] >> 32) as u32;
    match words[0] as u32 {
        kind @ (1 | 2) => LinkDetails::Uprobe {
            retprobe: kind == 2,
            file: name,
            offset: u64::from(offset),
            cookie: words[3],
            ref_ctr_offset: words[4],
        },
        kind @ (3 | 4) => LinkDetails::Kprobe {
            retprobe: kind == 4,
            func: name,
            offset,
            addr: words[3],
            missed: words[4],
            cookie: words[5],
        },
        5 => LinkDetails::Tracepoint { tracepoint: name, cookie: words[3] },
        6 => LinkDetails::Event {
            event_type: words[2] as u32,
            event_config: words[1],
            cookie: words[3],
        },
        _ => LinkDetails::None,
    }
}
