// SPDX-License-Identifier: MIT OR Apache-2.0
// A function that no C library has.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("uprobe/libc.so.6:getppidd")
int misspelt(struct pt_regs *ctx)
{
	return 0;
}
