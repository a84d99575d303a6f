// SPDX-License-Identifier: MIT OR Apache-2.0
// What both backends must do alike. Each program is chosen by name; a test says where it goes.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef bpf_ksym_exists
#define bpf_ksym_exists(sym) (!!(sym))
#endif

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Without and with the context, as kernels before and since 7.0 have them. */
extern bool bpf_session_is_return(void) __ksym __weak;
extern bool bpf_session_is_return___ctx(void *ctx) __ksym __weak;
extern __u64 *bpf_session_cookie(void) __ksym __weak;
extern __u64 *bpf_session_cookie___ctx(void *ctx) __ksym __weak;
extern int bpf_copy_from_user_str_dynptr(struct bpf_dynptr *dptr, __u64 off, __u64 size,
					 const void *unsafe_ptr) __ksym __weak;

__u64 entries, returns, first, second, result, cookie, session_sum, return_cookie;
__s64 copied = 0;
__u64 changed = 0;
char text[32];

struct event {
	__u64 first, second;
};
const struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} strings SEC(".maps");

SEC("?uprobe")
int BPF_KPROBE(enter, __u64 a, __u64 b)
{
	struct event *event;

	__sync_fetch_and_add(&entries, 1);
	first = a;
	second = b;
	cookie = bpf_get_attach_cookie(ctx);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->first = a;
	event->second = b;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("?uretprobe")
int BPF_KRETPROBE(leave, __u64 value)
{
	__sync_fetch_and_add(&returns, 1);
	result = value;
	return_cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

/* Adds up the first arguments of the calls that it saw end, which it hands from entry to return. An argument of 13 is not
 * followed. */
SEC("?uprobe.session")
int BPF_KPROBE(session, __u64 a)
{
	bool is_return;
	__u64 *kept;

	if (bpf_ksym_exists(bpf_session_is_return___ctx)) {
		is_return = bpf_session_is_return___ctx(ctx) & 1;
		kept = bpf_session_cookie___ctx(ctx);
	} else {
		is_return = bpf_session_is_return() & 1;
		kept = bpf_session_cookie();
	}
	if (is_return) {
		__sync_fetch_and_add(&returns, 1);
		session_sum += *kept;
		return 0;
	}
	__sync_fetch_and_add(&entries, 1);
	*kept = a;
	return a == 13;
}

/* Copies the string that the function is given. */
SEC("?uprobe.s")
int BPF_KPROBE(copies, const char *string)
{
	struct bpf_dynptr record;

	if (!bpf_ringbuf_reserve_dynptr(&strings, 32, 0, &record)) {
		copied = bpf_copy_from_user_str_dynptr(&record, 0, 32, string);
		bpf_dynptr_read(text, sizeof(text), &record, 0, 0);
	}
	bpf_ringbuf_discard_dynptr(&record, 0);
	return 0;
}

/* Rewrites the first bytes of the buffer that the function is given. */
SEC("?uprobe")
int BPF_KPROBE(writes, void *buffer)
{
	__u32 ones = 0x01010101;

	changed = bpf_probe_write_user(buffer, &ones, sizeof(ones));
	return 0;
}
