// SPDX-License-Identifier: MIT OR Apache-2.0
// A field that map definitions do not have.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entrys, 1);
	__type(key, int);
	__type(value, int);
} map SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
