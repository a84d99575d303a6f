// SPDX-License-Identifier: MIT OR Apache-2.0
// fentry, fexit, fmod_ret on the functions that the kernel keeps for BPF_PROG_TEST_RUN, and an LSM hook.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u32 my_pid = 0;

__u64 entry_hits = 0;
__s64 entry_args = 0;
__u64 exit_hits = 0;
__s64 exit_ret = 0;
__u64 mod_hits = 0;
__s32 mod_ret = 17;
__u64 lsm_hits = 0;
__u64 lsm_denied = 0;
__u64 entry_cookie = 0;

SEC("fentry/bpf_fentry_test3")
int BPF_PROG(enter, char a, int b, __u64 c)
{
	entry_args = a * 10000 + b * 100 + c;
	__sync_fetch_and_add(&entry_hits, 1);
	return 0;
}

SEC("?fentry/bpf_fentry_test1")
int BPF_PROG(enter_with_cookie, int a)
{
	entry_cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("fexit/bpf_fentry_test3")
int BPF_PROG(leave, char a, int b, __u64 c, int ret)
{
	exit_ret = ret;
	__sync_fetch_and_add(&exit_hits, 1);
	return 0;
}

/* Replaces the function: its side effect (*b += 1) does not happen. */
SEC("fmod_ret/bpf_modify_return_test")
int BPF_PROG(modify, int a, int *b)
{
	__sync_fetch_and_add(&mod_hits, 1);
	return mod_ret;
}

/* A hook's function, which kernels without error injection let modify, too. */
SEC("fmod_ret/security_file_ioctl")
int BPF_PROG(modify_ioctl, void *file, unsigned int cmd, unsigned long arg, int ret)
{
	if (bpf_get_current_pid_tgid() >> 32 != my_pid || cmd != 0x5354)
		return 0;
	__sync_fetch_and_add(&mod_hits, 1);
	return -1;
}

/* Denies the one process an ioctl of the marked number. */
SEC("lsm/file_ioctl")
int BPF_PROG(ioctl, void *file, unsigned int cmd, unsigned long arg)
{
	if (bpf_get_current_pid_tgid() >> 32 != my_pid)
		return 0;
	__sync_fetch_and_add(&lsm_hits, 1);
	if (cmd != 0x5354)
		return 0;
	__sync_fetch_and_add(&lsm_denied, 1);
	return -1;
}
