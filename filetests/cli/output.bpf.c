// SPDX-License-Identifier: MIT OR Apache-2.0
// Every way to send something: a ring buffer of small size, perf events, printed lines.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct small {
	__u32 pid;
	__u32 kind;
};

struct large {
	__u64 number;
	char fill[504];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

const struct small *unused_small __attribute__((unused));

SEC("uprobe/libc.so.6:getppid")
int sends_perf(struct pt_regs *ctx)
{
	struct small small = { .pid = bpf_get_current_pid_tgid() >> 32, .kind = 7 };

	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &small, sizeof(small));
	return 0;
}

SEC("uprobe/libc.so.6:getppid")
int prints(struct pt_regs *ctx)
{
	bpf_printk("process %d called", (int)(bpf_get_current_pid_tgid() >> 32));
	return 0;
}

SEC("uprobe/libc.so.6:getppid")
int sends_ring(struct pt_regs *ctx)
{
	static struct large large;

	large.number++;
	bpf_ringbuf_output(&ring, &large, sizeof(large), 0);
	return 0;
}
