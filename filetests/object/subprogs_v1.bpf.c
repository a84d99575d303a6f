// SPDX-License-Identifier: MIT OR Apache-2.0
// As subprogs, for -mcpu=v1. Static, global, weak and hidden functions, shared by programs of several sections: each program gets its own copy,
// in the order of first use, depth first.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v1 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";
int shared;

static __noinline int leaf(int x)
{
	return x + bpf_get_prandom_u32();
}

__noinline int global_c(int x)
{
	return leaf(x) * 3;
}

__noinline int global_b(int x)
{
	shared += x;
	return global_c(x) + leaf(x + 1);
}

__weak __noinline int weak_a(int x)
{
	return global_b(x) - 1;
}

__hidden __noinline int hidden_d(int x)
{
	return x * bpf_get_smp_processor_id();
}

__noinline int unused(int x)
{
	return x ^ bpf_get_prandom_u32();
}

SEC("kprobe/a")
int prog_a(void *ctx)
{
	return weak_a(1) + hidden_d(2);
}

SEC("kretprobe/b")
int prog_b(void *ctx)
{
	return hidden_d(shared) + global_c(5);
}

SEC("kprobe/a")
int prog_a_again(void *ctx)
{
	return leaf(7);
}
