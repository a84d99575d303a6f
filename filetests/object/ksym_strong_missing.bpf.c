// SPDX-License-Identifier: MIT OR Apache-2.0
// A strong kernel function that the target does not have.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern int bpf_missing_kfunc(int x) __ksym;

SEC("kprobe/a")
int prog(void *ctx)
{
	return bpf_missing_kfunc(1);
}
