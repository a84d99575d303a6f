// SPDX-License-Identifier: MIT OR Apache-2.0
// A value that the configuration does not have, without __weak.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern int CONFIG_NOT_THERE_AT_ALL __kconfig;

SEC("kprobe/a")
int prog(void *ctx)
{
	return CONFIG_NOT_THERE_AT_ALL;
}
