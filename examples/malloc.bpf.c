// SPDX-License-Identifier: MIT OR Apache-2.0
// What a program allocates: a histogram of malloc sizes, calls and bytes by function, and a live event for
// every allocation of at least `min_size` bytes.
//
//   stylet run examples/malloc.bpf.o -- ls -R /usr/share
//   stylet run -G min_size=65536 examples/malloc.bpf.o -p PID
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u64 min_size = 4096;

enum call { CALL_MALLOC, CALL_CALLOC, CALL_REALLOC, CALL_FREE };

struct event {
	__u64 time_ns;
	__u32 pid;
	__u32 tid;
	__u64 size;
	void *addr;
	char comm[16];
};

// Puts the type into the object's BTF, so that events can be decoded.
const struct event *unused __attribute__((unused));

struct total {
	__u64 calls;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, enum call);
	__type(value, struct total);
} calls SEC(".maps");

// Sizes of allocations not yet returned, by thread.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} pending SEC(".maps");

// Slot n counts sizes from 2^n to 2^(n+1)-1.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} size_hist SEC(".maps");

static __always_inline __u32 log2_slot(__u64 v)
{
	__u32 slot = 0;

	if (v >> 32)
		return 31;
	if (v >> 16) { slot += 16; v >>= 16; }
	if (v >> 8) { slot += 8; v >>= 8; }
	if (v >> 4) { slot += 4; v >>= 4; }
	if (v >> 2) { slot += 2; v >>= 2; }
	return slot + (v >> 1);
}

static __always_inline void count(enum call call, __u64 bytes)
{
	struct total *total, zero = {};

	total = bpf_map_lookup_elem(&calls, &call);
	if (!total) {
		bpf_map_update_elem(&calls, &call, &zero, BPF_NOEXIST);
		total = bpf_map_lookup_elem(&calls, &call);
		if (!total)
			return;
	}
	__sync_fetch_and_add(&total->calls, 1);
	__sync_fetch_and_add(&total->bytes, bytes);
}

static __always_inline void size_seen(__u64 size)
{
	__u32 slot = log2_slot(size);
	__u64 *n = bpf_map_lookup_elem(&size_hist, &slot);

	if (n)
		*n += 1;
}

SEC("uprobe/libc.so.6:malloc")
int BPF_KPROBE(malloc_enter, __u64 size)
{
	__u32 tid = bpf_get_current_pid_tgid();

	count(CALL_MALLOC, size);
	size_seen(size);
	if (size >= min_size)
		bpf_map_update_elem(&pending, &tid, &size, BPF_ANY);
	return 0;
}

SEC("uretprobe/libc.so.6:malloc")
int BPF_KRETPROBE(malloc_return, void *addr)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id;
	struct event *e;
	__u64 *size;

	size = bpf_map_lookup_elem(&pending, &tid);
	if (!size)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (e) {
		e->time_ns = bpf_ktime_get_ns();
		e->pid = id >> 32;
		e->tid = tid;
		e->size = *size;
		e->addr = addr;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		bpf_ringbuf_submit(e, 0);
	}
	bpf_map_delete_elem(&pending, &tid);
	return 0;
}

SEC("uprobe/libc.so.6:calloc")
int BPF_KPROBE(calloc_enter, __u64 n, __u64 size)
{
	count(CALL_CALLOC, n * size);
	size_seen(n * size);
	return 0;
}

SEC("uprobe/libc.so.6:realloc")
int BPF_KPROBE(realloc_enter, void *old, __u64 size)
{
	count(CALL_REALLOC, size);
	size_seen(size);
	return 0;
}

SEC("uprobe/libc.so.6:free")
int BPF_KPROBE(free_enter, void *ptr)
{
	if (ptr)
		count(CALL_FREE, 0);
	return 0;
}
