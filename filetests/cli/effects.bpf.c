// SPDX-License-Identifier: MIT OR Apache-2.0
// Programs that change the traced process, each of them on its own with --prog.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("uprobe/libc.so.6:getppid")
int replaces(struct pt_regs *ctx)
{
	bpf_override_return(ctx, 4242);
	return 0;
}

SEC("uprobe/libc.so.6:getppid")
int signals(struct pt_regs *ctx)
{
	bpf_send_signal(15);
	return 0;
}

// Makes STYLET_MARK of STYLET_LIVE.
SEC("uprobe/libc.so.6:getenv")
int BPF_KPROBE(writes, char *name)
{
	char text[12] = {}, mark[4] = { 'M', 'A', 'R', 'K' };

	bpf_probe_read_user_str(text, sizeof(text), name);
	if (text[0] == 'S' && text[7] == 'L' && text[8] == 'I')
		bpf_probe_write_user(name + 7, mark, sizeof(mark));
	return 0;
}
