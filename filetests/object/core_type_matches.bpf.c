// SPDX-License-Identifier: MIT OR Apache-2.0
// CO-RE relocations that ask whether whole types match, and ISA v4: both need a newer compiler.
// build: clang-19 -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v4
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define CORE __attribute__((preserve_access_index))

struct cred { unsigned uid; } CORE;
struct mm_struct { unsigned long arg_start; long gone; } CORE;
struct task_struct { const struct cred *cred; short prio; } CORE;
struct task_struct___v { int prio; } CORE;

long out;

static __noinline long sub(long x)
{
	return x / (int)out;
}

SEC("raw_tp/a")
int types(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	out += bpf_core_type_matches(struct cred) + bpf_core_type_matches(struct mm_struct) * 2;
	out += bpf_core_type_matches(struct task_struct___v) * 4;
	out += (signed char)out + sub(__builtin_bswap32(out));
	return BPF_CORE_READ(task, prio) % (int)out;
}
