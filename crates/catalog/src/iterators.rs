//! Targets of BPF iterators and what their programs get (`struct bpf_iter_reg.ctx_arg_info`).

/// What an iterator's program finds in its context where the prototype alone does not tell. It is NULL at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IterArg {
    /// Bytes whose size the attach checks.
    Buffer {
        /// They may only be read.
        rdonly: bool,
    },
    /// An object of the prototype's type.
    Object {
        /// The kernel vouches for it.
        trusted: bool,
    },
}

const OBJECT: IterArg = IterArg::Object { trusted: false };
const TRUSTED: IterArg = IterArg::Object { trusted: true };
const KEY: IterArg = IterArg::Buffer { rdonly: true };
const VALUE: IterArg = IterArg::Buffer { rdonly: false };

/// Names without `bpf_iter_`, sorted; arguments by their number, from 0.
static TARGETS: &[(&str, &[(u32, IterArg)])] = &[
    ("bpf_link", &[(1, OBJECT)]),
    ("bpf_map", &[(1, TRUSTED)]),
    ("bpf_map_elem", &[(2, KEY), (3, VALUE)]),
    ("bpf_prog", &[(1, OBJECT)]),
    ("bpf_sk_storage_map", &[(2, OBJECT), (3, VALUE)]),
    ("cgroup", &[(1, TRUSTED)]),
    ("dmabuf", &[(1, OBJECT)]),
    ("ipv6_route", &[(1, OBJECT)]),
    ("kmem_cache", &[(1, TRUSTED)]),
    ("ksym", &[(1, OBJECT)]),
    ("netlink", &[(1, OBJECT)]),
    ("sockmap", &[(2, KEY), (3, OBJECT)]),
    ("task", &[(1, TRUSTED)]),
    ("task_file", &[(1, OBJECT), (3, OBJECT)]),
    ("task_vma", &[(1, OBJECT), (2, OBJECT)]),
    ("tcp", &[(1, TRUSTED)]),
    ("udp", &[(1, TRUSTED)]),
    ("unix", &[(1, OBJECT)]),
];

/// Arguments of the iterator over `target`, by their number from 0; `None` when no such iterator is known.
pub fn iter_args(target: &str) -> Option<&'static [(u32, IterArg)]> {
    let at = TARGETS.binary_search_by_key(&target, |t| t.0).ok()?;
    Some(TARGETS[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_sorted_and_found() {
        assert!(TARGETS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(iter_args("task"), Some(&[(1, TRUSTED)][..]));
        assert_eq!(iter_args("num_new"), None);
    }
}
