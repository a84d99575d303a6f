// SPDX-License-Identifier: MIT OR Apache-2.0
// Writes to the memory of one process when it makes a system call: a good address and one that is read-only.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u32 my_pid = 0;
const volatile __s64 my_nr = 0;
const volatile __u64 writable = 0;
const volatile __u64 readonly = 0;

__u64 hits = 0;
__s64 writable_ret = 1;
__s64 readonly_ret = 1;

SEC("raw_tp/sys_enter")
int write_user(struct bpf_raw_tracepoint_args *ctx)
{
	char text[8] = "stylet!";

	if (bpf_get_current_pid_tgid() >> 32 != my_pid || (__s64)ctx->args[1] != my_nr)
		return 0;
	writable_ret = bpf_probe_write_user((void *)writable, text, sizeof(text));
	readonly_ret = bpf_probe_write_user((void *)readonly, text, sizeof(text));
	__sync_fetch_and_add(&hits, 1);
	return 0;
}
