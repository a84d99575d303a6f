// SPDX-License-Identifier: MIT OR Apache-2.0
// A USDT marker's arguments through libbpf's usdt.bpf.h.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include "probe.h"

/* Few, so that a test sees them given back. */
#define BPF_USDT_MAX_SPEC_CNT 8
#include <bpf/usdt.bpf.h>

SEC("usdt")
int BPF_USDT(marker, long a, long b, long c)
{
	if (!mine())
		return 0;
	__sync_fetch_and_add(&state.entry.hits, 1);
	state.entry.a = a;
	state.entry.b = b;
	state.entry.c = c;
	state.entry.rc = bpf_usdt_arg_cnt(ctx);
	state.entry.cookie = bpf_usdt_cookie(ctx);
	return 0;
}
