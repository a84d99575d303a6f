// SPDX-License-Identifier: MIT OR Apache-2.0
// Kfuncs of a module, and CO-RE on a struct that only this module has.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// A forward declaration would not be compatible with the kernel's struct.
struct nf_conn {
	unsigned long status;
} __attribute__((preserve_access_index));

struct bpf_ct_opts {
	int netns_id;
	int error;
	unsigned char l4proto;
} __attribute__((preserve_access_index));

// As the kfunc takes them before Linux 6.11, and since then as the shorter of two.
struct opts {
	int netns_id;
	int error;
	unsigned char l4proto;
	unsigned char dir;
	unsigned char reserved[2];
};

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
					 __u32 tuple__sz, struct bpf_ct_opts *opts, __u32 opts__sz) __ksym;
extern void bpf_ct_release(struct nf_conn *conn) __ksym;

long exists = 0;
long error_at = 0;
long unknown = 0;
long no_proto = 0;

static long look(struct __sk_buff *skb, unsigned char proto)
{
	struct bpf_sock_tuple tuple = {};
	struct opts opts = {.netns_id = -1, .l4proto = proto};
	struct nf_conn *conn;

	tuple.ipv4.saddr = 0x0100007f;
	tuple.ipv4.daddr = 0x0100007f;
	tuple.ipv4.sport = 1;
	tuple.ipv4.dport = 2;
	conn = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), (void *)&opts, sizeof(opts));
	if (conn) {
		bpf_ct_release(conn);
		return 0;
	}
	return opts.error;
}

SEC("tc")
int lookup(struct __sk_buff *skb)
{
	exists = bpf_core_type_exists(struct bpf_ct_opts);
	error_at = bpf_core_field_offset(struct bpf_ct_opts, error);
	unknown = look(skb, 17);
	no_proto = look(skb, 1);
	return 0;
}
