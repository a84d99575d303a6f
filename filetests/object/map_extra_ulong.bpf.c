// SPDX-License-Identifier: MIT OR Apache-2.0
// Numbers of 64 bits, and enums for sizes, as newer headers write them.
// build: clang-19 -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, 33);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
	enum { arena_start = 0x1ull << 44 } map_extra;
} arena SEC(".maps");
