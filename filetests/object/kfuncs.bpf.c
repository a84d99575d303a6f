// SPDX-License-Identifier: MIT OR Apache-2.0
// Kernel functions: strong, by a flavour of their name, weak and missing, weak with another prototype.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct task_struct { int pid; } __attribute__((preserve_access_index));

extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
extern struct task_struct *bpf_task_from_pid___local(int pid) __ksym;
extern int bpf_missing_kfunc(struct task_struct *p) __ksym __weak;
extern int bpf_changed_kfunc(struct task_struct *p) __ksym __weak;

SEC("tp_btf/task_newtask")
int prog(__u64 *ctx)
{
	struct task_struct *task = bpf_task_from_pid___local(1);

	if (!task)
		return 0;
	if (bpf_missing_kfunc)
		bpf_missing_kfunc(task);
	if (bpf_changed_kfunc)
		bpf_changed_kfunc(task);
	bpf_task_release(task);
	task = bpf_task_acquire((void *)ctx[0]);
	if (task)
		bpf_task_release(task);
	return 0;
}
