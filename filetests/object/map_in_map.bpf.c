// SPDX-License-Identifier: MIT OR Apache-2.0
// Maps of maps with a template, initial slots with holes, and a program array with programs in it.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, int);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, int);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &inner_b, [5] = &inner_a },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, int);
	__type(value, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(key_size, 16);
		__uint(value_size, 8);
		__uint(max_entries, 10);
	});
} by_hash SEC(".maps");

int tail(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(int));
	__array(values, int (void *));
} progs SEC(".maps") = {
	.values = { [2] = (void *)&tail },
};

char LICENSE[] SEC("license") = "GPL";

SEC("kprobe/first")
int first(void *ctx)
{
	int key = 1;
	void *inner = bpf_map_lookup_elem(&outer, &key);

	if (inner)
		bpf_map_lookup_elem(inner, &key);
	bpf_map_lookup_elem(&by_hash, &key);
	bpf_tail_call(ctx, &progs, 2);
	return 0;
}

SEC("kprobe/tail")
int tail(void *ctx)
{
	return 0;
}
