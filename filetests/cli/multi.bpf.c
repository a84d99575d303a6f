// SPDX-License-Identifier: MIT OR Apache-2.0
// One program at every function of a pattern; at entry, at return, or both.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

extern _Bool bpf_session_is_return(void) __ksym;

__u64 hits, cookies, returns, session_entries, session_returns;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} by_function SEC(".maps");

SEC("uprobe.multi/libc.so.6:getp*id")
int any(struct pt_regs *ctx)
{
	__u64 ip = bpf_get_func_ip(ctx), one = 1;

	__sync_fetch_and_add(&hits, 1);
	__sync_fetch_and_add(&cookies, bpf_get_attach_cookie(ctx));
	bpf_map_update_elem(&by_function, &ip, &one, BPF_ANY);
	return 0;
}

SEC("uretprobe.multi.s/libc.so.6:getp*id")
int any_return(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&returns, 1);
	return 0;
}

SEC("uprobe.session.s/libc.so.6:getp*id")
int both(struct pt_regs *ctx)
{
	if (bpf_session_is_return())
		__sync_fetch_and_add(&session_returns, 1);
	else
		__sync_fetch_and_add(&session_entries, 1);
	return 0;
}
