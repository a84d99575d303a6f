// SPDX-License-Identifier: MIT OR Apache-2.0
// What ISA v4 adds, as clang-22 emits it: signed division, sign extensions, byte swap, a store of an immediate, a long jump;
// with a 64-bit enum and calls of static and global functions.
// build: clang-22 -O2 -g -target bpf -mcpu=v4 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

enum wide { NARROW = 1, WIDE = 0x1122334455667788ULL };

enum wide chosen = WIDE;
struct { int first; int second; } pair;

static __attribute__((noinline)) long divide(long a, int b)
{
	return a / (b ? b : 1) + a % (b ? b : 1);
}

__attribute__((noinline)) int swap(int value)
{
	return __builtin_bswap32(value) + (signed char)value;
}

SEC("uprobe/libc.so.6:malloc")
int BPF_KPROBE(isa, long size, int by)
{
	pair.first = 7;
	pair.second = (short)size;
	return divide(size, by) + swap(by) + (chosen == WIDE);
}
