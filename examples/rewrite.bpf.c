// SPDX-License-Identifier: MIT OR Apache-2.0
// Changes what a program writes: the first `len` bytes of every buffer passed to libc's write() are turned to upper
// case, in the program's own memory, before the function runs.
//
//   stylet run --allow-write examples/rewrite.bpf.o -- echo hello
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define MAX_LEN 64

const volatile __u32 len = 64;

__u64 rewritten = 0;
__u64 refused = 0;

SEC("uprobe/libc.so.6:write")
int BPF_KPROBE(upper_case, int fd, char *buf, __u64 count)
{
	char text[MAX_LEN];
	__u32 i, n = len;

	if (n > count)
		n = count;
	if (n == 0 || n > MAX_LEN)
		return 0;
	if (bpf_probe_read_user(text, n, buf))
		return 0;
	for (i = 0; i < MAX_LEN; i++) {
		if (i >= n)
			break;
		if (text[i] >= 'a' && text[i] <= 'z')
			text[i] -= 'a' - 'A';
	}
	if (bpf_probe_write_user(buf, text, n))
		__sync_fetch_and_add(&refused, 1);
	else
		__sync_fetch_and_add(&rewritten, 1);
	return 0;
}
