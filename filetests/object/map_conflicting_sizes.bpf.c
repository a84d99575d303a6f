// SPDX-License-Identifier: MIT OR Apache-2.0
// A key size that is not that of the key type.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 8);
	__type(key, int);
	__type(value, int);
} map SEC(".maps");
