// SPDX-License-Identifier: MIT OR Apache-2.0
// Kernel variables by type and by address, strong, weak and missing.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct rq { int nr_running; } __attribute__((preserve_access_index));

extern const struct rq runqueues __ksym;
extern const int bpf_prog_active __ksym;
extern const int missing_variable __ksym __weak;
extern const void bpf_prog_fops __ksym;
extern const void missing_address __ksym __weak;

__u64 out;

SEC("raw_tp/sys_enter")
int prog(void *ctx)
{
	struct rq *rq = bpf_per_cpu_ptr(&runqueues, 1);

	if (rq)
		out = rq->nr_running;
	if (&missing_variable)
		out += missing_variable;
	out += *(int *)bpf_this_cpu_ptr(&bpf_prog_active);
	out += (__u64)&bpf_prog_fops + (__u64)&missing_address;
	return 0;
}
