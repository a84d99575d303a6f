// SPDX-License-Identifier: MIT OR Apache-2.0
// Prints a line when a process makes a system call.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u32 my_pid = 0;

SEC("tp/syscalls/sys_enter_getppid")
int print(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == my_pid)
		bpf_printk("stylet prints %d", 42);
	return 0;
}
