// SPDX-License-Identifier: MIT OR Apache-2.0
// Raw tracepoints and tracepoints of system calls, each counting the calls of one process.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u32 my_pid = 0;
const volatile __s64 my_nr = 0;

__u64 raw_hits = 0;
__s64 raw_nr = 0;
__u64 tp_hits = 0;
__s64 tp_arg = 0;
__u64 btf_hits = 0;
__u64 raw_cookie = 0;
__u64 tp_cookie = 0;
__u64 test_sum = 0;
__u32 test_cpu = 0;
__u64 sum_cookie = 0;

struct sys_enter {
	__u64 common;
	__s64 nr;
	__u64 args[6];
};

SEC("raw_tp/sys_enter")
int raw(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != my_pid || (__s64)ctx->args[1] != my_nr)
		return 0;
	raw_nr = ctx->args[1];
	__sync_fetch_and_add(&raw_hits, 1);
	return 0;
}

/* Reads its cookie: raw tracepoints have one since 6.10. */
SEC("?raw_tp/sys_enter")
int raw_with_cookie(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != my_pid || (__s64)ctx->args[1] != my_nr)
		return 0;
	raw_cookie = bpf_get_attach_cookie(ctx);
	__sync_fetch_and_add(&raw_hits, 1);
	return 0;
}

SEC("tp/raw_syscalls/sys_enter")
int tp(struct sys_enter *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != my_pid || ctx->nr != my_nr)
		return 0;
	tp_arg = ctx->args[0];
	__sync_fetch_and_add(&tp_hits, 1);
	return 0;
}

SEC("?tp/raw_syscalls/sys_enter")
int tp_with_cookie(struct sys_enter *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != my_pid || ctx->nr != my_nr)
		return 0;
	tp_cookie = bpf_get_attach_cookie(ctx);
	__sync_fetch_and_add(&tp_hits, 1);
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(btf, void *regs, long id)
{
	if (bpf_get_current_pid_tgid() >> 32 != my_pid || id != my_nr)
		return 0;
	__sync_fetch_and_add(&btf_hits, 1);
	return 0;
}

/* For BPF_PROG_TEST_RUN: adds up its arguments, tells the CPU. */
SEC("raw_tp/task_rename")
int sum(struct bpf_raw_tracepoint_args *ctx)
{
	test_sum = ctx->args[0] + ctx->args[1];
	test_cpu = bpf_get_smp_processor_id();
	return 7;
}
