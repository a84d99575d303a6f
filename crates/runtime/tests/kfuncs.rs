//! Kfuncs, called as generated code calls them. Values are those that `kernel_kfuncs` sees from the kernel.

mod common;

use common::{Edge, arena, call, call_kfunc, ptr, ptr_mut};
use std::collections::BTreeSet;
use stylet_runtime::abi::RUN_RETURN;
use stylet_runtime::kfuncs;
use stylet_uapi::errno::*;

#[test]
fn sessions() {
    let a = arena(2);
    let mut rc = a.run_ctx();
    assert_eq!(call_kfunc(&mut rc, "bpf_session_is_return", [0; 5]), 0);
    rc.flags = RUN_RETURN;
    assert_eq!(call_kfunc(&mut rc, "bpf_session_is_return", [0; 5]), 1);
    let cookie = call_kfunc(&mut rc, "bpf_session_cookie", [0; 5]) as *mut u64;
    // SAFETY: a field of the run context.
    unsafe { *cookie = 99 };
    assert_eq!(rc.session_cookie, 99);
}

#[test]
fn dynptrs() {
    let a = arena(2);
    let (mut d, mut e, mut mem, mut other) = ([0u64; 2], [0u64; 2], *b"0123456789", *b"abcdef");
    let (p, q) = (ptr_mut(&mut d), ptr_mut(&mut e));
    let mut rc = a.run_ctx();
    let mut kfunc = |name: &str, args| call_kfunc(&mut rc, &format!("bpf_dynptr_{name}"), args);
    let neg = |errno: i32| -i64::from(errno);
    assert_eq!(kfunc("is_null", [p, 0, 0, 0, 0]), 1);
    assert_eq!(kfunc("clone", [p, q, 0, 0, 0]), neg(EINVAL));
    assert_eq!(kfunc("copy", [p, 0, q, 0, 1]), neg(E2BIG), "null");
    assert_eq!(kfunc("copy", [p, 0, q, 0, 0]), 0, "nothing");
    assert_eq!(call(&a, 197, [ptr_mut(&mut mem), 10, 0, p, 0]), 0);
    assert_eq!(kfunc("clone", [p, q, 0, 0, 0]), 0);
    assert_eq!(kfunc("adjust", [q, 2, 9, 0, 0]), 0);
    assert_eq!((kfunc("size", [p, 0, 0, 0, 0]), kfunc("size", [q, 0, 0, 0, 0])), (10, 7));
    assert_eq!(kfunc("slice", [q, 1, 0, 6, 0]) as u64, ptr(&mem) + 3);
    assert_eq!(kfunc("slice_rdwr", [q, 1, 0, 7, 0]), 0, "one too many");
    assert_eq!(kfunc("is_rdonly", [q, 0, 0, 0, 0]), 0);
    // Overlapping: as memmove.
    assert_eq!(kfunc("copy", [q, 0, p, 0, 7]), 0);
    assert_eq!(&mem, b"0101234569");
    assert_eq!(kfunc("copy", [q, 0, p, 0, 8]), neg(E2BIG));
    assert_eq!(call(&a, 197, [ptr_mut(&mut other), 6, 0, q, 0]), 0);
    assert_eq!(kfunc("copy", [q, 2, p, 6, 4]), 0);
    assert_eq!(&other, b"ab4569");
    assert_eq!(kfunc("memset", [q, 1, 2, u64::from(b'-'), 0]), 0);
    assert_eq!(&other, b"a--569");
}

#[test]
fn strings_of_the_process() {
    let (a, edge) = (arena(2), Edge::new());
    let mut rc = a.run_ctx();
    let mut kfunc = |name: &str, args| call_kfunc(&mut rc, name, args) as i32;
    let mut d = [0u64; 2];
    let (p, mut mem) = (ptr_mut(&mut d), [0xaau8; 16]);
    assert_eq!(call(&a, 197, [ptr_mut(&mut mem), 16, 0, p, 0]), 0);
    let text = edge.put(b"hello\0");
    assert_eq!(kfunc("bpf_copy_from_user_str_dynptr", [p, 2, 14, text, 0]), 6);
    assert_eq!(&mem[..9], b"\xaa\xaahello\0\xaa");
    assert_eq!(kfunc("bpf_copy_from_user_str_dynptr", [p, 0, 4, text, 0]), 4);
    assert_eq!(&mem[..5], b"hel\0l");
    assert_eq!(kfunc("bpf_copy_from_user_str_dynptr", [p, 0, 16, edge.put(b"open"), 0]), -EFAULT);
    assert_eq!(kfunc("bpf_copy_from_user_str_dynptr", [p, 4, 13, text, 0]), -E2BIG);
    assert_eq!(kfunc("bpf_copy_from_user_str", [ptr_mut(&mut mem), 16, text, 1, 0]), -EFAULT);
    assert_eq!(mem, [0; 16], "padded on failure");
    assert_eq!(kfunc("bpf_copy_from_user_str", [ptr_mut(&mut mem), 16, text, 2, 0]), -EINVAL);
    // A string that ends with its page; another that does not end.
    let text = edge.put(b"end\0");
    assert_eq!(kfunc("bpf_strlen", [text, 0, 0, 0, 0]), 3);
    assert_eq!(kfunc("bpf_strcmp", [text, ptr(c"enc"), 0, 0, 0]), 1);
    assert_eq!(kfunc("bpf_strstr", [ptr(c"the end"), text, 0, 0, 0]), 4);
    assert_eq!(kfunc("bpf_strchr", [text, u64::from(b'x'), 0, 0, 0]), -ENOENT);
    assert_eq!(kfunc("bpf_strlen", [edge.put(b"end"), 0, 0, 0, 0]), -EFAULT);
    assert_eq!(kfunc("bpf_strnlen", [edge.put(b"end"), 3, 0, 0, 0]), 3);
    assert_eq!(kfunc("bpf_strlen", [0, 0, 0, 0, 0]), -ERANGE);
    let long = vec![b'x'; 70000];
    assert_eq!(kfunc("bpf_strlen", [ptr(&long[..]), 0, 0, 0, 0]), -E2BIG);
}

#[test]
fn iterators() {
    let a = arena(2);
    let mut rc = a.run_ctx();
    let mut state = [0u64; 2];
    let it = ptr_mut(&mut state);
    let mut all = |kind: &str, args: [u64; 2]| {
        let mut kfunc =
            |what: &str, args| call_kfunc(&mut rc, &format!("bpf_iter_{kind}_{what}"), args);
        let made = kfunc("new", [it, args[0], args[1], 0, 0]);
        let next = std::iter::from_fn(|| match kfunc("next", [it, 0, 0, 0, 0]) {
            0 => None,
            // SAFETY: an address in `state`.
            at => Some(unsafe { *(at as *const i32) }),
        });
        let numbers: Vec<i32> = next.collect();
        kfunc("destroy", [it, 0, 0, 0, 0]);
        (made, numbers)
    };
    assert_eq!(all("num", [3, 6]), (0, vec![3, 4, 5]));
    assert_eq!(all("num", [6, 3]), (-i64::from(EINVAL), vec![]));
    assert_eq!(all("num", [0, (8 << 20) + 1]), (-i64::from(E2BIG), vec![]));
    let bits = [1u64 << 63 | 1, 0, 0b100];
    assert_eq!(all("bits", [ptr(&bits), 3]), (0, vec![0, 63, 130]));
    assert_eq!(all("bits", [ptr(&bits), 1]), (0, vec![0, 63]));
    assert_eq!(all("bits", [ptr(&bits), 512]), (-i64::from(E2BIG), vec![]));
    assert_eq!(all("bits", [8, 2]), (-i64::from(EFAULT), vec![]));
}

/// The table is what it says: each name once.
#[test]
fn table() {
    let names: BTreeSet<&str> = kfuncs::TABLE.iter().map(|f| kfuncs::name(f.0)).collect();
    assert_eq!(names.len(), kfuncs::TABLE.len());
    assert!(names.iter().all(|n| n.starts_with("bpf_") || *n == "__bpf_trap"), "{names:?}");
}
