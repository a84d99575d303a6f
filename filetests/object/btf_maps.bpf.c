// SPDX-License-Identifier: MIT OR Apache-2.0
// Maps described by BTF, with every field that libbpf knows.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key { int pid; char comm[16]; };
struct value { __u64 count; struct bpf_spin_lock lock; };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct key);
	__type(value, struct value);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(numa_node, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 100000);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} perf_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(value_size, 8);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
} bloom SEC(".maps");

typedef struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64[2]);
} storage_t;
storage_t a_map_whose_name_is_longer_than_15 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, 4);
	__type(value, long);
	__uint(value_size, 8);
	__uint(max_entries, 2);
	int *key;
} twice SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

SEC("raw_tp/sched_switch")
int on_switch(void *ctx)
{
	struct key key = { .pid = bpf_get_current_pid_tgid() >> 32 };
	struct value *value = bpf_map_lookup_elem(&counts, &key);
	int zero = 0;

	if (value)
		__sync_fetch_and_add(&value->count, 1);
	bpf_map_lookup_elem(&twice, &zero);
	bpf_ringbuf_output(&events, &key, sizeof(key), 0);
	bpf_perf_event_output(ctx, &perf_events, BPF_F_CURRENT_CPU, &key, sizeof(key));
	return bpf_map_push_elem(&bloom, &key, 0);
}
