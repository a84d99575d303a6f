// SPDX-License-Identifier: MIT OR Apache-2.0
// An object for big-endian machines.
// libbpf differs: opens big-endian objects to look at them, and cannot load them either.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpfeb -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("kprobe/a")
int prog(void *ctx)
{
	return 0;
}
