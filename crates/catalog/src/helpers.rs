//! Which program may call which helper (`bpf_prog_ops.get_func_proto` of each program type).

use crate::tables::{HELPERS, PROG_HELPERS, PROG_HELPERS_SINCE, VARIANTS};
use crate::{Env, Features, FuncProto, HelperRefusal, Release};
use stylet_uapi::{AttachType, HelperId, ProgType};

/// Prototype of helper `id` on a mainline kernel that has every option.
pub(crate) fn lookup(
    release: Release,
    id: u32,
    prog_type: ProgType,
    attach_type: AttachType,
    sleepable: bool,
) -> Result<&'static FuncProto, HelperRefusal> {
    // What is not of its own an LSM program has as a tracing program does (`bpf_lsm_func_proto`).
    let prog_type = match prog_type {
        ProgType::LSM if prog_type_since(id, prog_type).is_none() => ProgType::TRACING,
        own => own,
    };
    let (default, since) = find(id).ok_or(HelperRefusal::Unknown { id })?;
    let name = default.name;
    let Some(own_since) = prog_type_since(id, prog_type) else {
        return Err(HelperRefusal::NotInProgType { name, prog_type });
    };
    let type_since = Env::prog_type_since(prog_type).unwrap_or(own_since);
    let since = since.max(own_since).max(type_since);
    if release < since {
        return Err(HelperRefusal::SinceRelease { name, since });
    }
    match attach_type_since(HelperId(id), prog_type, attach_type) {
        None => return Err(HelperRefusal::NotForAttachType { name, attach_type }),
        Some(since) if release < since => return Err(HelperRefusal::SinceRelease { name, since }),
        Some(_) => {}
    }
    let proto = variant(id, prog_type).unwrap_or(default);
    // Before `might_sleep` existed the program type left such helpers out by itself.
    let own_check = !Features::of(release).contains(Features::MIGHT_SLEEP);
    if proto.might_sleep && !sleepable && own_check {
        return Err(HelperRefusal::NotSleepable { name });
    }
    Ok(proto)
}

/// Prototype and first release of helper `id`.
pub(crate) fn find(id: u32) -> Option<(&'static FuncProto, Release)> {
    let part = HELPERS.iter().find(|p| p.last().is_some_and(|h| id <= h.proto.id))?;
    let at = part.binary_search_by_key(&id, |h| h.proto.id).ok()?;
    Some((&part[at].proto, part[at].since))
}

/// From which release on a program type has a helper (1.0 when only the helper's own age counts).
fn prog_type_since(id: u32, prog_type: ProgType) -> Option<Release> {
    let id = u8::try_from(id).ok()?;
    let (_, ids) = PROG_HELPERS.iter().find(|(t, _)| *t == prog_type)?;
    ids.binary_search(&id).ok()?;
    let later = PROG_HELPERS_SINCE.iter().find(|(t, _, ids)| *t == prog_type && ids.contains(&id));
    Some(later.map_or(Release::new(1, 0), |(_, since, _)| *since))
}

fn variant(id: u32, prog_type: ProgType) -> Option<&'static FuncProto> {
    let mut rows = VARIANTS.iter();
    rows.find(|(types, h)| h.proto.id == id && types.contains(&prog_type)).map(|(_, h)| &h.proto)
}

/// Whether the hook of a cgroup program has a return value to ask for (`cgroup_common_func_proto`).
fn has_retval(attach_type: AttachType) -> bool {
    use AttachType as A;
    !matches!(
        attach_type,
        A::CGROUP_INET_INGRESS
            | A::CGROUP_INET_EGRESS
            | A::CGROUP_SOCK_OPS
            | A::CGROUP_UDP4_RECVMSG
            | A::CGROUP_UDP6_RECVMSG
            | A::CGROUP_UNIX_RECVMSG
            | A::CGROUP_INET4_GETPEERNAME
            | A::CGROUP_INET6_GETPEERNAME
            | A::CGROUP_UNIX_GETPEERNAME
            | A::CGROUP_INET4_GETSOCKNAME
            | A::CGROUP_INET6_GETSOCKNAME
            | A::CGROUP_UNIX_GETSOCKNAME
    )
}

/// Whether the hook of a CGROUP_SOCK_ADDR program has the socket that options are set on (`sock_addr_func_proto`).
fn has_sockopt(attach_type: AttachType) -> bool {
    use AttachType as A;
    matches!(
        attach_type,
        A::CGROUP_INET4_BIND
            | A::CGROUP_INET6_BIND
            | A::CGROUP_INET4_CONNECT
            | A::CGROUP_INET6_CONNECT
            | A::CGROUP_UNIX_CONNECT
            | A::CGROUP_UDP4_RECVMSG
            | A::CGROUP_UDP6_RECVMSG
            | A::CGROUP_UNIX_RECVMSG
            | A::CGROUP_UDP4_SENDMSG
            | A::CGROUP_UDP6_SENDMSG
            | A::CGROUP_UNIX_SENDMSG
            | A::CGROUP_INET4_GETPEERNAME
            | A::CGROUP_INET6_GETPEERNAME
            | A::CGROUP_INET4_GETSOCKNAME
            | A::CGROUP_INET6_GETSOCKNAME
    )
}

/// Whether a helper goes with the hook of a cgroup program.
fn fits_hook(id: HelperId, prog_type: ProgType, attach_type: AttachType) -> bool {
    match (prog_type, id) {
        (_, HelperId::GET_RETVAL | HelperId::SET_RETVAL) => has_retval(attach_type),
        (ProgType::CGROUP_SOCKOPT, HelperId::SETSOCKOPT | HelperId::GETSOCKOPT) => {
            attach_type == AttachType::CGROUP_SETSOCKOPT
        }
        (ProgType::CGROUP_SOCK_ADDR, HelperId::BIND) => matches!(
            attach_type,
            AttachType::CGROUP_INET4_CONNECT | AttachType::CGROUP_INET6_CONNECT
        ),
        (ProgType::CGROUP_SOCK_ADDR, HelperId::SETSOCKOPT | HelperId::GETSOCKOPT) => {
            has_sockopt(attach_type)
        }
        _ => true,
    }
}

/// From which release on a helper that a program type has goes with the attach type
/// (for TRACING `tracing_prog_func_proto`, `bpf_prog_has_trampoline`); 1.0 when there is no such condition.
fn attach_type_since(
    id: HelperId,
    prog_type: ProgType,
    attach_type: AttachType,
) -> Option<Release> {
    const ALWAYS: Option<Release> = Some(Release::new(1, 0));
    if !fits_hook(id, prog_type, attach_type) {
        return None;
    }
    if prog_type != ProgType::TRACING {
        return ALWAYS;
    }
    let trampoline = matches!(
        attach_type,
        AttachType::TRACE_FENTRY
            | AttachType::TRACE_FEXIT
            | AttachType::MODIFY_RETURN
            | AttachType::LSM_MAC
            | AttachType::TRACE_FSESSION
    );
    let raw_tp = attach_type == AttachType::TRACE_RAW_TP;
    match id {
        HelperId::SEQ_PRINTF | HelperId::SEQ_WRITE | HelperId::SEQ_PRINTF_BTF => {
            ALWAYS.filter(|_| attach_type == AttachType::TRACE_ITER)
        }
        HelperId::GET_ATTACH_COOKIE if raw_tp => Some(Release::new(6, 10)),
        HelperId::GET_FUNC_ARG | HelperId::GET_FUNC_ARG_CNT if raw_tp => Some(Release::new(7, 0)),
        HelperId::GET_FUNC_ARG
        | HelperId::GET_FUNC_RET
        | HelperId::GET_FUNC_ARG_CNT
        | HelperId::GET_ATTACH_COOKIE => ALWAYS.filter(|_| trampoline),
        _ => ALWAYS,
    }
}
