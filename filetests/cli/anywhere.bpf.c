// SPDX-License-Identifier: MIT OR Apache-2.0
// Sections that name no function: --attach says where.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

__u64 entries, returns, last_argument, last_result;

SEC("uprobe")
int BPF_KPROBE(enter, __u64 argument)
{
	__sync_fetch_and_add(&entries, 1);
	last_argument = argument;
	return 0;
}

SEC("uretprobe")
int BPF_KRETPROBE(leave, __u64 result)
{
	__sync_fetch_and_add(&returns, 1);
	last_result = result;
	return 0;
}
