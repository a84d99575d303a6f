// SPDX-License-Identifier: MIT OR Apache-2.0
// A CO-RE relocation that two types of the target answer differently.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct ambiguous { int x; } __attribute__((preserve_access_index));

SEC("tp_btf/a")
int prog(__u64 *ctx)
{
	struct ambiguous *p = (void *)ctx[0];

	return p->x;
}
