// SPDX-License-Identifier: MIT OR Apache-2.0
// Variables: initialised, zero, constant, static, hidden, in sections of their own, and strings.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile int threshold = 7;
const volatile struct { char c; long l; } settings = { 'x', 0x1122334455667788 };
static volatile const int private_const = 9;
int counter = 3;
static volatile int private_counter = 4;
long zeros[4];
static volatile int private_zero;
__hidden int hidden_var SEC(".data.hidden_only") = 1;
int custom SEC(".data.custom_section_name") = 5;
int custom_bss SEC(".bss.mine");
const volatile int custom_const SEC(".rodata.mine") = 6;

SEC("kprobe/a")
int prog(void *ctx)
{
	bpf_printk("%d %d %s", counter, threshold, "text");
	counter += threshold + private_const + settings.c + (int)settings.l;
	private_counter += 2;
	private_zero++;
	zeros[2] += private_zero;
	hidden_var++;
	custom += custom_const;
	custom_bss++;
	return zeros[3];
}
