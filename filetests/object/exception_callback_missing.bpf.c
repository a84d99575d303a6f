// SPDX-License-Identifier: MIT OR Apache-2.0
// An exception callback that is not there.
// libbpf differs: takes the tag as it is and fails when it relocates, we when we parse.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
__attribute__((btf_decl_tag("exception_callback:nowhere")))
int prog(struct __sk_buff *skb)
{
	return 0;
}
