// SPDX-License-Identifier: MIT OR Apache-2.0
// A system call's arguments and result, whatever the kernel calls its function.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include "probe.h"

SEC("ksyscall/lseek")
int BPF_KSYSCALL(entry, int fd, long offset, int whence)
{
	if (!mine())
		return 0;
	__sync_fetch_and_add(&state.entry.hits, 1);
	state.entry.a = fd;
	state.entry.b = offset;
	state.entry.c = whence;
	return 0;
}

SEC("kretsyscall/lseek")
int BPF_KRETPROBE(ret, long rc)
{
	if (mine())
		saw_return(ctx);
	return 0;
}
