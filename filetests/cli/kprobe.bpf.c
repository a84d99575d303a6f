// SPDX-License-Identifier: MIT OR Apache-2.0
// A probe of a kernel function, which the user backend cannot have.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("kprobe/do_unlinkat")
int unlinked(struct pt_regs *ctx)
{
	return 0;
}
