// SPDX-License-Identifier: MIT OR Apache-2.0
// Copies a string of the process into a dynptr: from a system call program and from a sleepable uprobe.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

extern int bpf_copy_from_user_str_dynptr(struct bpf_dynptr *dptr, __u64 off, __u64 size,
					 const void *unsafe_ptr) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} strings SEC(".maps");

/* Arguments in, results out. */
struct args {
	__u64 address;
	__u64 offset;
	__u64 size;
	__s64 ret;
};

/* For the uprobe: where and how much to copy. */
__u64 offset = 0;
__u64 size = 32;
__s64 probe_ret = 1;
__u64 probe_hits = 0;

static __s64 copy(__u64 address, __u64 offset, __u64 size)
{
	struct bpf_dynptr record;
	__s64 ret = -1;

	if (!bpf_ringbuf_reserve_dynptr(&strings, 64, 0, &record)) {
		char zeros[64] = {};

		bpf_dynptr_write(&record, 0, zeros, sizeof(zeros), 0);
		ret = bpf_copy_from_user_str_dynptr(&record, offset, size, (void *)address);
	}
	bpf_ringbuf_submit_dynptr(&record, 0);
	return ret;
}

SEC("syscall")
int from_syscall(struct args *ctx)
{
	ctx->ret = copy(ctx->address, ctx->offset, ctx->size);
	return 0;
}

SEC("uprobe.s")
int BPF_KPROBE(from_uprobe, const char *string)
{
	probe_ret = copy((__u64)string, offset, size);
	__sync_fetch_and_add(&probe_hits, 1);
	return 0;
}
