// SPDX-License-Identifier: MIT OR Apache-2.0
// Tail calls, bpf_loop, callbacks over the elements of a map, global subprograms.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

__u64 looped, elements, tail_called, not_reached;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u64);
} array SEC(".maps");

int next(struct pt_regs *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} progs SEC(".maps") = {
	.values = { [1] = (void *)&next },
};

static int step(__u32 index, void *ctx)
{
	__u64 *sum = ctx;

	*sum += index;
	return index == 9;
}

static long element(void *map, const void *key, void *value, void *ctx)
{
	__u64 *count = ctx;

	*count += 1;
	return 0;
}

// It names no function: it is there for the tail call.
SEC("uprobe")
int next(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&tail_called, 1);
	return 0;
}

SEC("uprobe/libc.so.6:getppid")
int begins(struct pt_regs *ctx)
{
	__u64 sum = 0, count = 0;

	bpf_loop(100, step, &sum, 0);
	bpf_for_each_map_elem(&array, element, &count, 0);
	looped = sum;
	elements = count;
	bpf_tail_call(ctx, &progs, 1);
	not_reached++;
	return 0;
}
