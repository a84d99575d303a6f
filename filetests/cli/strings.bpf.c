// SPDX-License-Identifier: MIT OR Apache-2.0
// Strings of the traced process in dynptrs: whole, cut off, at an offset, of a bad pointer, into too little room; a copy in
// a ring buffer record; loops over numbers. What is not there is null.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

extern int bpf_copy_from_user_str_dynptr(const struct bpf_dynptr *dptr, __u64 off, __u64 size,
					 const void *unsafe_ptr__ign) __ksym;
extern int bpf_copy_from_user_str(void *dst, __u32 dst__sz, const void *unsafe_ptr__ign,
				  __u64 flags) __ksym;
extern int bpf_probe_read_user_dynptr(const struct bpf_dynptr *dptr, __u64 off, __u64 size,
				      const void *unsafe_ptr__ign) __ksym;
extern int bpf_dynptr_adjust(const struct bpf_dynptr *p, __u64 start, __u64 end) __ksym;
extern __u64 bpf_dynptr_size(const struct bpf_dynptr *p) __ksym;
extern bool bpf_dynptr_is_null(const struct bpf_dynptr *p) __ksym;
extern int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *p, __u64 offset, void *buffer,
			      __u64 buffer__szk) __ksym;
struct bpf_iter_num {
	__u64 __opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern int bpf_no_such_function(void) __ksym __weak;

__u64 pid;
char whole[64], padded[16];
char cut[8] = "ab";
int length, cut_length, padded_length, bad, no_room, null, nothing, exists, backwards;
__u32 adjusted, sum;
char third;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

SEC("uprobe.s/libc.so.6:getenv")
int strings(struct pt_regs *ctx)
{
	const void *name = (const void *)PT_REGS_PARM1(ctx);
	struct bpf_dynptr all, part, copy, record;
	char *at;

	if (pid && bpf_get_current_pid_tgid() >> 32 != pid)
		return 0;
	bpf_dynptr_from_mem(whole, sizeof(whole), 0, &all);
	length = bpf_copy_from_user_str_dynptr(&all, 0, sizeof(whole), name);
	bad = bpf_copy_from_user_str_dynptr(&all, 32, 32, (void *)0x10);
	no_room = bpf_copy_from_user_str_dynptr(&all, 60, 8, name);
	bpf_dynptr_from_mem(cut, sizeof(cut), 0, &part);
	cut_length = bpf_copy_from_user_str_dynptr(&part, 2, 4, name);
	padded_length = bpf_copy_from_user_str(padded, sizeof(padded), name, 1);

	bpf_dynptr_clone(&all, &copy);
	bpf_dynptr_adjust(&copy, 2, 34);
	adjusted = bpf_dynptr_size(&copy);
	at = bpf_dynptr_slice(&copy, 0, 0, 1);
	if (at)
		third = *at;

	bpf_ringbuf_reserve_dynptr(&records, 16, 0, &record);
	null = bpf_dynptr_is_null(&record);
	if (bpf_probe_read_user_dynptr(&record, 0, 8, name))
		bpf_ringbuf_discard_dynptr(&record, 0);
	else
		bpf_ringbuf_submit_dynptr(&record, 0);
	return 0;
}

SEC("uprobe/libc.so.6:getenv")
int loops(struct pt_regs *ctx)
{
	struct bpf_iter_num it;
	int *i;

	if (pid && bpf_get_current_pid_tgid() >> 32 != pid)
		return 0;
	sum = 0;
	bpf_iter_num_new(&it, 5, 105);
	while ((i = bpf_iter_num_next(&it)))
		sum += *i;
	bpf_iter_num_destroy(&it);
	backwards = bpf_iter_num_new(&it, 2, 1);
	while (bpf_iter_num_next(&it))
		sum = 0;
	bpf_iter_num_destroy(&it);
	exists = !!bpf_no_such_function;
	if (exists)
		nothing = bpf_no_such_function();
	return 0;
}
