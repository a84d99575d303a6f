// SPDX-License-Identifier: MIT OR Apache-2.0
// A program that is only run: by BPF_PROG_TEST_RUN, with its arguments in the context.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct args {
	__u64 a;
	__u64 b;
	__u64 product;
};

SEC("syscall")
int multiply(struct args *ctx)
{
	ctx->product = ctx->a * ctx->b;
	return 42;
}

SEC("socket")
int packet_length(struct __sk_buff *skb)
{
	return skb->len;
}

SEC("xdp")
int shorten(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4) ? XDP_ABORTED : XDP_TX;
}
