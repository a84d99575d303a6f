// SPDX-License-Identifier: MIT OR Apache-2.0
// A value that does not fit in its variable.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern char CONFIG_HZ __kconfig;

SEC("kprobe/a")
int prog(void *ctx)
{
	return CONFIG_HZ;
}
