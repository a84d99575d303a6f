// SPDX-License-Identifier: MIT OR Apache-2.0
// An event for every call of getppid, and counts by process.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// Only every n-th call gives an event.
const volatile __u32 every = 1;
const volatile char label[8] = "call";
__u64 total;

struct call {
	__u32 pid;
	__u32 tid;
	__u64 number;
	char label[8];
};

const struct call *unused __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} by_pid SEC(".maps");

SEC("uprobe/libc.so.6:getppid")
int called(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), one = 1, number, *count;
	__u32 pid = id >> 32;
	struct call *call;

	number = __sync_fetch_and_add(&total, 1) + 1;
	count = bpf_map_lookup_elem(&by_pid, &pid);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&by_pid, &pid, &one, BPF_NOEXIST);
	if (every && number % every)
		return 0;
	call = bpf_ringbuf_reserve(&calls, sizeof(*call), 0);
	if (!call)
		return 0;
	call->pid = pid;
	call->tid = id;
	call->number = number;
	for (int i = 0; i < sizeof(label); i++)
		call->label[i] = label[i];
	bpf_ringbuf_submit(call, 0);
	return 0;
}
