// SPDX-License-Identifier: MIT OR Apache-2.0
// Values of the kernel's configuration: every type, virtual ones, weak ones that are not set.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool LINUX_HAS_BPF_COOKIE __kconfig;
extern bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern int LINUX_UNKNOWN_VIRTUAL_EXTERN __kconfig __weak;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_NET_KEY __kconfig;
extern char CONFIG_NET_KEY_AS_CHAR __kconfig __weak;
extern unsigned short CONFIG_HZ __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[7] __kconfig;
extern unsigned long CONFIG_LONG __kconfig;
extern int CONFIG_NOT_THERE __kconfig __weak;

long out;

SEC("raw_tp/sys_enter")
int prog(void *ctx)
{
	out += LINUX_KERNEL_VERSION + LINUX_HAS_BPF_COOKIE + LINUX_HAS_SYSCALL_WRAPPER + LINUX_UNKNOWN_VIRTUAL_EXTERN;
	out += CONFIG_BPF_SYSCALL + CONFIG_NET_KEY + CONFIG_NET_KEY_AS_CHAR + CONFIG_HZ + CONFIG_NOT_THERE + CONFIG_LONG;
	return CONFIG_DEFAULT_HOSTNAME[out & 3];
}
