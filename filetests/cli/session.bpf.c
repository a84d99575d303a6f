// SPDX-License-Identifier: MIT OR Apache-2.0
// Sessions: one program at a function's entry and return. Every second call of getppid wants no return; each of the two
// programs has a cookie of its own.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

// Without arguments up to Linux 6.19, with the context from 7.0 on.
extern bool bpf_session_is_return(void) __ksym __weak;
extern bool bpf_session_is_return___ctx(void *ctx) __ksym __weak;
extern __u64 *bpf_session_cookie(void) __ksym __weak;
extern __u64 *bpf_session_cookie___ctx(void *ctx) __ksym __weak;

static bool is_return(void *ctx)
{
	return bpf_session_is_return ? bpf_session_is_return() : bpf_session_is_return___ctx(ctx);
}

static __u64 *cookie_of(void *ctx)
{
	return bpf_session_cookie ? bpf_session_cookie() : bpf_session_cookie___ctx(ctx);
}

__u64 pid;
__u64 entries, returns, cookies, last_result, attach_cookie;
__u64 other_entries, other_returns, other_cookies, fresh;

static bool foreign(void)
{
	return pid && bpf_get_current_pid_tgid() >> 32 != pid;
}

SEC("uprobe.session/libc.so.6:getppid")
int halves(struct pt_regs *ctx)
{
	__u64 *cookie = cookie_of(ctx);

	if (foreign())
		return 0;
	if (is_return(ctx)) {
		__sync_fetch_and_add(&returns, 1);
		__sync_fetch_and_add(&cookies, *cookie);
		last_result = PT_REGS_RC(ctx);
		return 0;
	}
	attach_cookie = bpf_get_attach_cookie(ctx);
	*cookie = __sync_fetch_and_add(&entries, 1);
	return *cookie & 1;
}

SEC("uprobe.session/libc.so.6:getppid")
int whole(struct pt_regs *ctx)
{
	__u64 *cookie = cookie_of(ctx);

	if (foreign())
		return 0;
	if (is_return(ctx)) {
		__sync_fetch_and_add(&other_returns, 1);
		__sync_fetch_and_add(&other_cookies, *cookie);
		return 0;
	}
	__sync_fetch_and_add(&fresh, *cookie == 0);
	*cookie = 1000 + __sync_fetch_and_add(&other_entries, 1);
	return 0;
}
