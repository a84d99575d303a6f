// SPDX-License-Identifier: MIT OR Apache-2.0
// An exception callback: a function that nothing calls belongs to the program that names it, behind all others.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern void bpf_throw(__u64 cookie) __ksym;

__noinline int on_exception(__u64 cookie)
{
	return cookie + 1;
}

__noinline int may_throw(int x)
{
	if (x > 3)
		bpf_throw(x);
	return x;
}

SEC("tc")
__attribute__((btf_decl_tag("exception_callback:on_exception")))
int prog(struct __sk_buff *skb)
{
	return may_throw(skb->len);
}

SEC("tc")
int other(struct __sk_buff *skb)
{
	return may_throw(skb->mark);
}
