// SPDX-License-Identifier: MIT OR Apache-2.0
// Functions whose address is taken: callbacks of bpf_loop and bpf_for_each_map_elem, static and global.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
} map SEC(".maps");

static __noinline long helper_of_callback(long x)
{
	return x + bpf_get_prandom_u32();
}

static long first_cb(void *map, int *key, long *value, long *sum)
{
	*sum += helper_of_callback(*value);
	return 0;
}

static long second_cb(__u32 i, long *sum)
{
	*sum += i;
	return 0;
}

__noinline int global_cb(__u32 i, void *ctx)
{
	return i > 3;
}

SEC("kprobe/a")
int prog(void *ctx)
{
	long sum = 0;

	bpf_for_each_map_elem(&map, first_cb, &sum, 0);
	bpf_loop(10, second_cb, &sum, 0);
	bpf_loop(10, global_cb, &sum, 0);
	bpf_loop(20, second_cb, &sum, 0);
	return sum;
}
