// SPDX-License-Identifier: MIT OR Apache-2.0
// struct_ops maps are refused.
// libbpf differs: supports struct_ops.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct tcp_congestion_ops { void (*init)(void *sk); char name[16]; };

SEC("struct_ops/init")
void init(void *sk)
{
}

SEC(".struct_ops")
struct tcp_congestion_ops ops = { .init = init, .name = "ops" };
