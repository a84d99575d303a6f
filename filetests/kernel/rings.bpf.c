// SPDX-License-Identifier: MIT OR Apache-2.0
// Ring buffers in both directions and perf buffers, driven by BPF_PROG_TEST_RUN.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

#define MAX_LEN 512

struct record {
	__u64 seq;
	__u8 data[MAX_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} scratch SEC(".maps");

__u64 dropped = 0;

/* Arguments: first number, count, bytes of each record after its number, mode (1: every third is discarded). */
SEC("raw_tp/ring")
int to_ring(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 first = ctx->args[0], count = ctx->args[1], mode = ctx->args[3];
	__u64 i;

	for (i = 0; i < 100; i++) {
		__u64 *record;

		if (i >= count)
			break;
		record = bpf_ringbuf_reserve(&ring, 24, 0);
		if (!record) {
			__sync_fetch_and_add(&dropped, 1);
			continue;
		}
		record[0] = first + i;
		record[1] = ~(first + i);
		record[2] = mode;
		if (mode == 1 && i % 3 == 2)
			bpf_ringbuf_discard(record, 0);
		else
			bpf_ringbuf_submit(record, 0);
	}
	return 0;
}

/* Arguments: first number, count, bytes of each record (up to 512 and its 8). */
SEC("raw_tp/perf")
int to_perf(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 first = ctx->args[0], count = ctx->args[1], len = ctx->args[2];
	struct record *record;
	__u32 zero = 0;
	__u64 i;

	record = bpf_map_lookup_elem(&scratch, &zero);
	/* Old verifiers learn nothing of the 64-bit value from a 32-bit comparison. */
	len &= 2 * MAX_LEN - 1;
	asm volatile("" : "+r"(len));
	if (!record || len > MAX_LEN)
		return -1;
	for (i = 0; i < 100; i++) {
		if (i >= count)
			break;
		record->seq = first + i;
		__builtin_memset(record->data, (__u8)(first + i), MAX_LEN);
		if (bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, record, 8 + len))
			__sync_fetch_and_add(&dropped, 1);
	}
	return 0;
}
