// SPDX-License-Identifier: MIT OR Apache-2.0
// Many instructions and calls: offsets do not fit in 16 bits of bytes, and a function far behind its caller.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

static __noinline int far(int x)
{
	return x * 7 + bpf_get_prandom_u32();
}

SEC("kprobe/a")
int prog(void *ctx)
{
	int sum = far(1);

#pragma clang loop unroll(full)
	for (int i = 0; i < 80; i++)
		sum = far(sum + i) ^ bpf_get_smp_processor_id();
	return sum;
}
