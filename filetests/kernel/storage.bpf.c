// SPDX-License-Identifier: MIT OR Apache-2.0
// Local storage of tasks, sockets and files, read and written by system calls; and a stack trace.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, 4);
	__uint(value_size, 8 * 32);
} stacks SEC(".maps");

__s64 stack_id = -1;

SEC("raw_tp/stack")
int stack(void *ctx)
{
	stack_id = bpf_get_stackid(ctx, &stacks, 0);
	return 0;
}

// libbpf needs: a kernel with inode and cgroup storage maps, which not every kernel has
