// SPDX-License-Identifier: MIT OR Apache-2.0
// Two strings in the licence section: the first counts, as the section is one C string to libbpf. It is cut at 63 bytes.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE_A[] SEC("license") = "Dual BSD/GPL and sixty-three bytes are all that is kept of a licence text";
char LICENSE_B[] SEC("license") = "Proprietary";

SEC("kprobe/a")
int prog(void *ctx)
{
	return 0;
}
