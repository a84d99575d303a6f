// SPDX-License-Identifier: MIT OR Apache-2.0
// A call of a function that is neither here nor declared as the kernel's.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

int elsewhere(int x);

SEC("kprobe/a")
int prog(void *ctx)
{
	return elsewhere(1);
}
