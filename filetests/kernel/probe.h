/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the probes' programs share: the kernel's registers, and what they tell of their runs. */
#ifndef PROBE_H
#define PROBE_H

/* bpf_tracing.h then uses the kernel's names of registers. */
#define __VMLINUX_H__
#include <linux/bpf.h>
#include <stdbool.h>

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
} __attribute__((preserve_access_index));

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct side {
	__u64 hits;
	__u64 a, b, c;
	__u64 rc;
	__u64 cookie;
	__u64 by_cookie[8];
};

/* All of .bss, so that its layout is known. */
struct {
	/* The process whose hits count, 0: any. */
	__u64 target;
	/* What a session's entry returns. */
	__u64 suppress;
	struct side entry, ret;
} state = {};

static __always_inline int mine(void)
{
	return !state.target || state.target == bpf_get_current_pid_tgid() >> 32;
}

static __always_inline void saw_entry(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&state.entry.hits, 1);
	state.entry.a = PT_REGS_PARM1(ctx);
	state.entry.b = PT_REGS_PARM2(ctx);
	state.entry.c = PT_REGS_PARM3(ctx);
}

static __always_inline void saw_return(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&state.ret.hits, 1);
	state.ret.rc = PT_REGS_RC(ctx);
}

static __always_inline void saw_cookie(struct side *side, __u64 cookie)
{
	side->cookie = cookie;
	__sync_fetch_and_add(&side->by_cookie[cookie & 7], 1);
}

#endif
