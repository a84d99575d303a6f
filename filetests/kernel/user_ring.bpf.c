// SPDX-License-Identifier: MIT OR Apache-2.0
// A ring buffer that user space writes and a program drains.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} requests SEC(".maps");

__u64 records = 0;
__u64 sum = 0;

static long one(struct bpf_dynptr *record, void *ctx)
{
	__u64 number;

	if (bpf_dynptr_read(&number, sizeof(number), record, 0, 0))
		return 0;
	__sync_fetch_and_add(&records, 1);
	__sync_fetch_and_add(&sum, number);
	return 0;
}

SEC("raw_tp/drain")
int drain(void *ctx)
{
	return bpf_user_ringbuf_drain(&requests, one, 0, 0);
}
