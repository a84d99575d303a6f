// SPDX-License-Identifier: MIT OR Apache-2.0
// Not a case: its types, functions and variables stand for the kernel's, for the cases to be relocated against.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct list_head { struct list_head *next, *prev; };
struct mm_struct { int map_count; unsigned long arg_start; };
enum pid_type { PIDTYPE_PID = 3, PIDTYPE_TGID = 5, PIDTYPE_MAX = 9 };
union thread_union { long stack[16]; int first; };
typedef unsigned int uid_type;
struct cred { uid_type uid; uid_type gid; };
struct task_struct {
	long pad[4];
	unsigned long state;
	int pid;
	int tgid;
	char comm[16];
	struct task_struct *real_parent;
	const struct cred *cred;
	struct mm_struct *mm;
	struct { unsigned in_execve : 1; signed delta : 5; unsigned wide : 20; };
	struct list_head tasks[3];
	short prio;
};
struct rq { int nr_running; };

struct task_struct init_task;
struct rq runqueues;
struct mm_struct init_mm;
struct cred init_cred;
enum pid_type kernel_pid_type;
union thread_union init_thread;
const int bpf_prog_active = 0;

struct task_struct *bpf_task_acquire(struct task_struct *p) { return p; }
void bpf_throw(__u64 cookie) {}
void bpf_task_release(struct task_struct *p) {}
struct task_struct *bpf_task_from_pid(int pid) { return 0; }
int bpf_changed_kfunc(struct task_struct *p, int flags) { return flags; }
