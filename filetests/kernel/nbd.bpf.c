// SPDX-License-Identifier: MIT OR Apache-2.0
// Raw tracepoints of a module: the one writable tracepoint of ordinary kernels, nbd_send_request.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct nbd_request {
	__be32 magic;
	__be32 type;
	__u64 cookie;
	__be64 from;
	__be32 len;
} __attribute__((packed));

/* Read requests of exactly this offset go to the other one. */
const volatile __u64 from_offset = 0;
const volatile __u64 to_offset = 0;

__u64 reads = 0;
__u64 rewritten = 0;
__u32 last_magic = 0;
__u32 last_type = 0;
__u64 last_from = 0;
__u32 last_len = 0;
__s32 last_index = -1;
__u64 seen = 0;
__u64 cookie = 0;

SEC("raw_tp.w/nbd_send_request")
int BPF_PROG(rewrite, struct nbd_request *request, int index)
{
	__u64 from = bpf_be64_to_cpu(request->from);

	last_magic = bpf_ntohl(request->magic);
	last_type = bpf_ntohl(request->type);
	last_from = from;
	last_len = bpf_ntohl(request->len);
	last_index = index;
	if (last_type & 0xffff)
		return 0;
	__sync_fetch_and_add(&reads, 1);
	if (from == from_offset) {
		request->from = bpf_cpu_to_be64(to_offset);
		__sync_fetch_and_add(&rewritten, 1);
	}
	return 0;
}

/* The request has 28 bytes: the next is loaded, and refused when it is attached. */
SEC("raw_tp.w/nbd_send_request")
int BPF_PROG(past_end, struct nbd_request *request)
{
	*(__u32 *)((char *)request + 28) = 1;
	return 0;
}

/* Writes nothing beyond any buffer, but the tracepoint is not writable. */
SEC("raw_tp.w/sched_switch")
int BPF_PROG(not_writable, __u64 *buffer)
{
	*buffer = 0;
	return 0;
}

SEC("raw_tp/nbd_send_request")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	__sync_fetch_and_add(&seen, 1);
	return 0;
}
