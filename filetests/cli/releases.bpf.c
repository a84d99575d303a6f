// SPDX-License-Identifier: MIT OR Apache-2.0
// Programs that releases differ about.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

// Accepted by every release.
SEC("uprobe/libc.so.6:getpid")
int plain(struct pt_regs *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		*value += PT_REGS_PARM1(ctx);
	return 0;
}

static long add(__u64 index, void *sum)
{
	*(__u64 *)sum += index;
	return 0;
}

// bpf_loop is there from 5.17 on.
SEC("uprobe/libc.so.6:getpid")
int looped(struct pt_regs *ctx)
{
	__u64 sum = 0;

	bpf_loop(10, add, &sum, 0);
	return sum & 1;
}

// The same behind a test of the running kernel.
SEC("uprobe/libc.so.6:getpid")
int guarded(struct pt_regs *ctx)
{
	__u64 now = 0;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_tai_ns))
		now = bpf_ktime_get_tai_ns();
	return now & 1;
}

// Where the field lies is known from a kernel's BTF alone.
SEC("kprobe/do_exit")
int field(struct pt_regs *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, pid) & 1;
}

// Refused by every release: the index may be 7.
SEC("uprobe/libc.so.6:getpid")
int beyond(struct pt_regs *ctx)
{
	__u32 key = 0;
	__u64 index = PT_REGS_PARM1(ctx) & 7;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (!value)
		return 0;
	return ((unsigned char *)value)[index + 1];
}
