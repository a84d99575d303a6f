// SPDX-License-Identifier: MIT OR Apache-2.0
// A map cannot be static.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

static struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} map SEC(".maps");

SEC("kprobe/a")
int prog(void *ctx)
{
	int key = 0;

	return bpf_map_lookup_elem(&map, &key) != 0;
}
