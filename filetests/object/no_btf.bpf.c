// SPDX-License-Identifier: MIT OR Apache-2.0
// Without -g: functions and data sections need no BTF.
// build: clang -fdebug-compilation-dir=. -O2 -target bpf -mcpu=v2
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";
int counter = 1;

static __noinline int sub(int x)
{
	return x + bpf_get_prandom_u32();
}

SEC("kprobe/a")
int prog(void *ctx)
{
	return counter += sub(3);
}
