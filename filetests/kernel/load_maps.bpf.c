// SPDX-License-Identifier: MIT OR Apache-2.0
// Maps of many kinds with their first contents: inner maps, slots of programs and maps, odd sizes, pins.
// build: clang -O2 -g -target bpf -mcpu=v2 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [1] = &inner_a, [3] = &inner_b } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer_hash SEC(".maps") = { .values = { [2] = &inner_b } };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, int);
	__type(value, int);
} events SEC(".maps");

struct pair {
	__u32 a, b;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10);
	__type(key, struct pair);
	__type(value, __u64);
} a_map_with_a_name_that_is_too_long SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u32);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} stylet_pinned SEC(".maps");

int called(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} calls SEC(".maps") = { .values = { [1] = (void *)&called } };

__u64 reached = 0;

SEC("raw_tp")
int called(void *ctx)
{
	reached |= 2;
	return 0;
}

SEC("raw_tp")
int caller(void *ctx)
{
	__u32 zero = 0, three = 3;
	void *map = bpf_map_lookup_elem(&outer, &three);
	__u64 *value = map ? bpf_map_lookup_elem(map, &zero) : 0;
	__u64 one = 1;

	if (value)
		*value = 77;
	bpf_map_update_elem(&stylet_pinned, &zero, &one, BPF_ANY);
	reached |= 1;
	bpf_tail_call(ctx, &calls, 1);
	reached |= 4;
	return 0;
}
