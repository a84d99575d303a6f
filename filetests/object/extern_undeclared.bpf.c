// SPDX-License-Identifier: MIT OR Apache-2.0
// An undefined variable that is neither a ksym nor a kconfig value.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern int somewhere;

SEC("kprobe/a")
int prog(void *ctx)
{
	return somewhere;
}
