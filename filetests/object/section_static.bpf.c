// SPDX-License-Identifier: MIT OR Apache-2.0
// A program cannot be static.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

static SEC("kprobe/a") __attribute__((used)) int prog(void *ctx)
{
	return 0;
}
