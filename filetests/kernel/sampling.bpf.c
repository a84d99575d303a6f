// SPDX-License-Identifier: MIT OR Apache-2.0
// Counts samples of a perf event.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

__u64 samples = 0;
__u64 period = 0;
__u64 cookie = 0;

SEC("perf_event")
int sample(struct bpf_perf_event_data *ctx)
{
	period = ctx->sample_period;
	__sync_fetch_and_add(&samples, 1);
	return 0;
}

SEC("?perf_event")
int sample_with_cookie(struct bpf_perf_event_data *ctx)
{
	cookie = bpf_get_attach_cookie(ctx);
	__sync_fetch_and_add(&samples, 1);
	return 0;
}
