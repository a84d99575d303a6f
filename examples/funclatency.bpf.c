// SPDX-License-Identifier: MIT OR Apache-2.0
// How long a function takes: a histogram of nanoseconds between entry and return. The function is named on the
// command line, because the sections do not name one.
//
//   stylet run --attach libc.so.6:malloc examples/funclatency.bpf.o -- ls -R /usr/share
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, __u64);
} start SEC(".maps");

__u64 latency_ns_hist[40] = {};
__u64 missed = 0;

static __always_inline __u32 log2_slot(__u64 v)
{
	__u32 slot = 0;

	if (v >> 32) { slot += 32; v >>= 32; }
	if (v >> 16) { slot += 16; v >>= 16; }
	if (v >> 8) { slot += 8; v >>= 8; }
	if (v >> 4) { slot += 4; v >>= 4; }
	if (v >> 2) { slot += 2; v >>= 2; }
	return slot + (v >> 1);
}

SEC("uprobe")
int BPF_KPROBE(func_enter)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&start, &tid, &now, BPF_ANY);
	return 0;
}

SEC("uretprobe")
int BPF_KRETPROBE(func_return)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 *began = bpf_map_lookup_elem(&start, &tid);
	__u32 slot;

	if (!began) {
		__sync_fetch_and_add(&missed, 1);
		return 0;
	}
	slot = log2_slot(bpf_ktime_get_ns() - *began);
	if (slot < 40)
		__sync_fetch_and_add(&latency_ns_hist[slot], 1);
	bpf_map_delete_elem(&start, &tid);
	return 0;
}
