// SPDX-License-Identifier: MIT OR Apache-2.0
// kprobe.session: entry and return of a call are paired by a session cookie.
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include "probe.h"

/* Up to 6.18 the kfuncs take nothing, later the context: whichever the kernel has is not null. */
extern _Bool bpf_session_is_return___plain(void) __ksym __weak;
extern __u64 *bpf_session_cookie___plain(void) __ksym __weak;
extern _Bool bpf_session_is_return___ctx(void *ctx) __ksym __weak;
extern __u64 *bpf_session_cookie___ctx(void *ctx) __ksym __weak;

SEC("kprobe.session")
int session(struct pt_regs *ctx)
{
	__u64 *cookie;
	_Bool is_return;

	if (bpf_session_cookie___ctx) {
		is_return = bpf_session_is_return___ctx(ctx);
		cookie = bpf_session_cookie___ctx(ctx);
	} else {
		is_return = bpf_session_is_return___plain();
		cookie = bpf_session_cookie___plain();
	}
	if (!mine())
		return 0;
	if (is_return) {
		saw_return(ctx);
		saw_cookie(&state.ret, *cookie);
		return 0;
	}
	saw_entry(ctx);
	*cookie = 0x5e55100 + state.entry.hits;
	return state.suppress & 1;
}
