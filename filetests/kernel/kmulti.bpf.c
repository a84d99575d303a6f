// SPDX-License-Identifier: MIT OR Apache-2.0
// kprobe.multi at entry and return.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include "probe.h"

SEC("kprobe.multi")
int entry(struct pt_regs *ctx)
{
	if (mine()) {
		saw_entry(ctx);
		saw_cookie(&state.entry, bpf_get_attach_cookie(ctx));
	}
	return 0;
}

SEC("kretprobe.multi")
int ret(struct pt_regs *ctx)
{
	if (mine()) {
		saw_return(ctx);
		saw_cookie(&state.ret, bpf_get_attach_cookie(ctx));
	}
	return 0;
}
