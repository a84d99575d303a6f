// SPDX-License-Identifier: MIT OR Apache-2.0
// Two types of the same size: which one an event is of must be said with --event.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct first {
	__u32 pid;
	__u32 one;
};

struct second {
	__u16 low;
	__u16 high;
	__u32 two;
};

const struct first *unused_first __attribute__((unused));
const struct second *unused_second __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

SEC("uprobe/libc.so.6:getppid")
int called(struct pt_regs *ctx)
{
	struct first first = { .pid = 0x20001, .one = 3 };

	bpf_ringbuf_output(&ring, &first, sizeof(first), 0);
	return 0;
}
