// SPDX-License-Identifier: MIT OR Apache-2.0
// A kernel variable whose type is another in the target.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern const int runqueues __ksym;

SEC("kprobe/a")
int prog(void *ctx)
{
	return *(int *)bpf_this_cpu_ptr(&runqueues);
}
