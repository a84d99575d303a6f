// SPDX-License-Identifier: MIT OR Apache-2.0
// One map of each kind that is shown, filled by calls of getenv and their results.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define MAP(kind, name_, size, key_t, value_t)		\
	struct {					\
		__uint(type, BPF_MAP_TYPE_##kind);	\
		__uint(max_entries, size);		\
		__type(key, key_t);			\
		__type(value, value_t);			\
	} name_ SEC(".maps")

enum outcome { FOUND, MISSING };

struct name {
	char text[16];
};

struct slots {
	__u64 slots[16];
};

struct where {
	__u32 pid;
	__s32 stack_id;
};

MAP(HASH, by_name, 64, struct name, __u64);
MAP(PERCPU_HASH, by_outcome, 8, enum outcome, __u64);
MAP(LRU_HASH, recent, 2, __u64, struct name);
MAP(ARRAY, totals, 4, __u32, __u64);
MAP(PERCPU_ARRAY, length_hist, 16, __u32, __u64);
MAP(HASH, by_pid, 8, __u32, struct slots);
MAP(HASH, stack_count, 64, struct where, __u64);

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 64);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 16 * sizeof(__u64));
} stacks SEC(".maps");

__u64 lengths_hist[16];
__s64 last_length = -1;

static __always_inline __u32 log2_slot(__u64 v)
{
	__u32 slot = 0;

	if (v >> 8)
		return 8;
	if (v >> 4) { slot += 4; v >>= 4; }
	if (v >> 2) { slot += 2; v >>= 2; }
	return slot + (v >> 1);
}

static __always_inline void count_length(__u64 length)
{
	__u32 slot = log2_slot(length) & 15, pid = bpf_get_current_pid_tgid() >> 32;
	__u64 *n = bpf_map_lookup_elem(&length_hist, &slot);
	static const struct slots none;
	struct slots *slots;

	if (n)
		*n += 1;
	lengths_hist[slot & 15]++;
	last_length = length;
	slots = bpf_map_lookup_elem(&by_pid, &pid);
	if (!slots) {
		bpf_map_update_elem(&by_pid, &pid, &none, BPF_NOEXIST);
		slots = bpf_map_lookup_elem(&by_pid, &pid);
	}
	if (slots)
		slots->slots[slot & 15]++;
}

SEC("uprobe/libc.so.6:getenv")
int BPF_KPROBE(getenv_enter, const char *text)
{
	__u64 id = bpf_get_current_pid_tgid(), one = 1, *count;
	struct where where = { .pid = id >> 32 };
	struct name name = {};
	__u32 key = 1;
	long length;

	length = bpf_probe_read_user_str(name.text, sizeof(name.text), text);
	if (length < 1)
		return 0;
	count = bpf_map_lookup_elem(&by_name, &name);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&by_name, &name, &one, BPF_ANY);
	count = bpf_map_lookup_elem(&totals, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	id = length - 1;
	bpf_map_update_elem(&recent, &id, &name, BPF_ANY);
	count_length(length - 1);
	where.stack_id = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	bpf_map_update_elem(&stack_count, &where, &one, BPF_ANY);
	return 0;
}

SEC("uretprobe/libc.so.6:getenv")
int BPF_KRETPROBE(getenv_return, const char *value)
{
	enum outcome outcome = value ? FOUND : MISSING;
	__u64 one = 1, *count = bpf_map_lookup_elem(&by_outcome, &outcome);

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&by_outcome, &outcome, &one, BPF_ANY);
	return 0;
}
