// SPDX-License-Identifier: MIT OR Apache-2.0
// A call of a function that is a program itself.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("kprobe/a")
__noinline int callee(void *ctx)
{
	return bpf_get_prandom_u32();
}

SEC("kprobe/b")
int caller(void *ctx)
{
	return callee(ctx);
}
