// SPDX-License-Identifier: MIT OR Apache-2.0
// Every kind of BTF that some kernel does not know, functions static and global, CO-RE, externs of all kinds. The program
// says in `seen` what it saw, bit by bit.
// build: clang -O2 -g -target bpf -mcpu=v2 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum big { SMALL = 1, BIG = 0x1234567890ULL };
enum signed_one { MINUS = -1, PLUS = 1 };

struct tagged {
	double number;
	int __attribute__((btf_type_tag("user"))) *pointer;
	enum big big;
	enum signed_one sign;
} __attribute__((btf_decl_tag("a_struct")));

struct tagged tagged = { .number = 1.5, .big = BIG, .sign = MINUS };
const volatile __u32 constant = 42;
__u64 seen = 0;
__u64 version = 0;
__u64 hz = 0;
__u64 address = 0;
char text[16] SEC(".data.more") = "more";

struct task_struct {
	int pid;
	int tgid;
	int stylet_no_such_field;
} __attribute__((preserve_access_index));

struct stylet_no_such_struct___flavor {
	int a;
} __attribute__((preserve_access_index));

extern unsigned LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern _Bool CONFIG_STYLET_NO_SUCH_OPTION __kconfig __weak;
extern const void bpf_prog_alloc __ksym;
extern const void stylet_no_such_symbol __ksym __weak;
extern const int stylet_no_such_variable __ksym __weak;
extern int stylet_no_such_kfunc(int value) __ksym __weak;

static __noinline int add(int a, int b)
{
	return a + b;
}

__noinline int twice(int a)
{
	return add(a, a);
}

SEC("raw_tp")
int look(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 bits = 0;

	if (constant == 42)
		bits |= 1;
	if (tagged.big == BIG && tagged.sign == MINUS)
		bits |= 2;
	if (BPF_CORE_READ(task, tgid) == bpf_get_current_pid_tgid() >> 32)
		bits |= 4;
	if (!bpf_core_field_exists(task->stylet_no_such_field) && bpf_core_field_exists(task->pid))
		bits |= 8;
	if (!bpf_core_type_exists(struct stylet_no_such_struct___flavor))
		bits |= 16;
	if (CONFIG_BPF_SYSCALL && !CONFIG_STYLET_NO_SUCH_OPTION)
		bits |= 32;
	if (&stylet_no_such_symbol == 0 && &stylet_no_such_variable == 0)
		bits |= 64;
	if (stylet_no_such_kfunc)
		stylet_no_such_kfunc(1);
	else
		bits |= 128;
	if (twice(21) == 42)
		bits |= 256;
	if (text[0] == 'm')
		bits |= 512;
	version = LINUX_KERNEL_VERSION;
	hz = CONFIG_HZ;
	address = (__u64)&bpf_prog_alloc;
	seen = bits;
	return 0;
}

SEC("?kprobe/do_nanosleep")
int poisoned(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, stylet_no_such_field);
}
