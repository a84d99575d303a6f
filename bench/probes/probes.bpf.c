// SPDX-License-Identifier: MIT OR Apache-2.0
// Programs whose cost per hit `cargo xtask bench probes` measures.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

SEC("uprobe")
int empty(struct pt_regs *ctx)
{
	return 0;
}

SEC("uretprobe")
int empty_ret(struct pt_regs *ctx)
{
	return 0;
}

// One hash update a hit, keyed by the first argument.
SEC("uprobe")
int hash_update(struct pt_regs *ctx)
{
	__u64 key = PT_REGS_PARM1(ctx) & 63, value = 1;

	bpf_map_update_elem(&counts, &key, &value, BPF_ANY);
	return 0;
}

// The usual count by key: look up, add.
SEC("uprobe")
int hash_count(struct pt_regs *ctx)
{
	__u64 key = PT_REGS_PARM1(ctx) & 63, value = 1, *n;

	n = bpf_map_lookup_elem(&counts, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&counts, &key, &value, BPF_NOEXIST);
	return 0;
}

SEC("uprobe")
int percpu_count(struct pt_regs *ctx)
{
	__u32 key = 0;
	__u64 *n = bpf_map_lookup_elem(&percpu, &key);

	if (n)
		*n += 1;
	return 0;
}

SEC("uprobe")
int ringbuf_event(struct pt_regs *ctx)
{
	__u64 *e = bpf_ringbuf_reserve(&events, 16, 0);

	if (!e)
		return 0;
	e[0] = PT_REGS_PARM1(ctx);
	e[1] = 0;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("uprobe")
int read_user(struct pt_regs *ctx)
{
	__u64 value;

	bpf_probe_read_user(&value, sizeof(value), (void *)PT_REGS_SP(ctx));
	return 0;
}

// A CPU slot taken and given back.
SEC("uprobe")
int cpu_slot(struct pt_regs *ctx)
{
	return bpf_get_smp_processor_id();
}

SEC("uprobe")
int hash_lookup(struct pt_regs *ctx)
{
	__u64 key = PT_REGS_PARM1(ctx) & 63;

	return bpf_map_lookup_elem(&counts, &key) != 0;
}

SEC("uprobe")
int pid_tgid(struct pt_regs *ctx)
{
	return bpf_get_current_pid_tgid();
}
