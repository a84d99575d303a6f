// SPDX-License-Identifier: MIT OR Apache-2.0
// Single probes of each flavour, without cookies: for every release.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include "probe.h"

SEC("kprobe")
int entry(struct pt_regs *ctx)
{
	if (mine())
		saw_entry(ctx);
	return 0;
}

SEC("kretprobe")
int ret(struct pt_regs *ctx)
{
	if (mine())
		saw_return(ctx);
	return 0;
}
