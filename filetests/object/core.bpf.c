// SPDX-License-Identifier: MIT OR Apache-2.0
// CO-RE relocations of each kind, on types that moved, changed, vanished or have flavours.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define CORE __attribute__((preserve_access_index))

enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_MAX, PIDTYPE_NONE };
struct cred { unsigned uid; } CORE;
struct mm_struct { unsigned long arg_start; long gone; } CORE;
union thread_union { int first; } CORE;
typedef unsigned int uid_type;
struct list_head { struct list_head *next; } CORE;
struct task_struct {
	int pid;
	long state;
	char comm[16];
	struct task_struct *real_parent;
	const struct cred *cred;
	struct mm_struct *mm;
	unsigned in_execve : 1;
	int delta : 5;
	struct list_head tasks[3];
	short prio;
} CORE;
struct task_struct___other { long pid_not_there; int tgid; } CORE;
struct vanished { int x; } CORE;

long out;

SEC("kprobe/a")
int fields(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct___other *other = (void *)task;
	char comm[16];

	out += BPF_CORE_READ(task, pid) + BPF_CORE_READ(task, state) + BPF_CORE_READ(task, real_parent, real_parent, pid);
	out += BPF_CORE_READ(task, cred, uid) + BPF_CORE_READ(task, mm, arg_start) + BPF_CORE_READ(task, prio);
	out += (long)BPF_CORE_READ(task, tasks[2].next) + BPF_CORE_READ(other, tgid);
	BPF_CORE_READ_STR_INTO(&comm, task, comm);
	out += BPF_CORE_READ_BITFIELD_PROBED(task, in_execve) + BPF_CORE_READ_BITFIELD_PROBED(task, delta);
	if (bpf_core_field_exists(other->pid_not_there))
		out += BPF_CORE_READ(other, pid_not_there);
	if (bpf_core_field_exists(task->mm->gone))
		out++;
	return bpf_core_field_size(task->comm) + bpf_core_field_size(task->state);
}

SEC("tp_btf/a")
int direct(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	return task->pid + task->prio + BPF_CORE_READ_BITFIELD(task, delta) + task->mm->gone;
}

SEC("raw_tp/a")
int types(void *ctx)
{
	out += bpf_core_type_exists(struct task_struct) + bpf_core_type_exists(struct vanished) * 2;
	out += bpf_core_type_size(struct task_struct) + bpf_core_type_size(union thread_union);
	out += bpf_core_type_id_local(struct cred) + bpf_core_type_id_kernel(struct cred);
	out += bpf_core_type_exists(uid_type);
	return 0;
}

SEC("raw_tp/b")
int enums(void *ctx)
{
	out += bpf_core_enum_value(enum pid_type, PIDTYPE_TGID) + bpf_core_enum_value_exists(enum pid_type, PIDTYPE_MAX);
	out += bpf_core_enum_value_exists(enum pid_type, PIDTYPE_NONE) * 2;
	return 0;
}

SEC("?raw_tp/c")
int not_loaded(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, pid);
}
