// SPDX-License-Identifier: MIT OR Apache-2.0
// Variables in an arena are refused.
// libbpf differs: supports them.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, 33);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
} arena SEC(".maps");

int variable SEC(".addr_space.1") = 3;

SEC("syscall")
int prog(void *ctx)
{
	return 0;
}
