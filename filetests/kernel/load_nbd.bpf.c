// SPDX-License-Identifier: MIT OR Apache-2.0
// Types of a module: a program for its tracepoint by BTF, and CO-RE on a struct that the kernel itself does not have.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct nbd_device {
	int index;
} __attribute__((preserve_access_index));

int index_offset_seen = 0;

SEC("tp_btf/nbd_send_request")
int BPF_PROG(send_request)
{
	index_offset_seen = bpf_core_field_offset(struct nbd_device, index);
	return 0;
}
