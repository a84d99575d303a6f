// SPDX-License-Identifier: MIT OR Apache-2.0
// Arguments of a USDT marker: a register, a wider one, a constant, a place on the stack.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

__u64 hits, cookie;
long sum, wide, constant, stacked;
int count, missing;

SEC("usdt")
int mark(struct pt_regs *ctx)
{
	long a = 0, b = 0, c = 0, d = 0, e = 0;

	__sync_fetch_and_add(&hits, 1);
	count = bpf_usdt_arg_cnt(ctx);
	cookie = bpf_usdt_cookie(ctx);
	bpf_usdt_arg(ctx, 0, &a);
	bpf_usdt_arg(ctx, 1, &b);
	bpf_usdt_arg(ctx, 2, &c);
	bpf_usdt_arg(ctx, 3, &d);
	missing = bpf_usdt_arg(ctx, 4, &e);
	__sync_fetch_and_add(&sum, a);
	__sync_fetch_and_add(&wide, b);
	constant = c;
	stacked = d;
	return 0;
}
