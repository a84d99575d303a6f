// SPDX-License-Identifier: MIT OR Apache-2.0
// A section name with a mistake in it.
// libbpf differs: leaves the program type to the caller.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("kretprob/do_unlinkat")
int prog(void *ctx)
{
	return 0;
}
