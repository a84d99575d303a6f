// SPDX-License-Identifier: MIT OR Apache-2.0
// Which files a program opens through libc, with the outcome: an event a call.
//
//   stylet run examples/opens.bpf.o -- cat /etc/hostname
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define PATH_LEN 128

struct open_event {
	__u32 pid;
	__s32 fd;
	__u32 flags;
	char comm[16];
	char path[PATH_LEN];
};

// Puts the type into the object's BTF, so that events can be decoded.
const struct open_event *unused __attribute__((unused));

struct args {
	const char *path;
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct args);
} pending SEC(".maps");

static __always_inline int entry(const char *path, __u32 flags)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct args args = { .path = path, .flags = flags };

	bpf_map_update_elem(&pending, &id, &args, BPF_ANY);
	return 0;
}

static __always_inline int result(__s32 fd)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct args *args = bpf_map_lookup_elem(&pending, &id);
	struct open_event *e;

	if (!args)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (e) {
		e->pid = id >> 32;
		e->fd = fd;
		e->flags = args->flags;
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		if (bpf_probe_read_user_str(e->path, sizeof(e->path), args->path) < 0)
			e->path[0] = 0;
		bpf_ringbuf_submit(e, 0);
	}
	bpf_map_delete_elem(&pending, &id);
	return 0;
}

SEC("uprobe/libc.so.6:open64")
int BPF_KPROBE(open_enter, const char *path, __u32 flags)
{
	return entry(path, flags);
}

SEC("uretprobe/libc.so.6:open64")
int BPF_KRETPROBE(open_return, long fd)
{
	return result(fd);
}

SEC("uprobe/libc.so.6:openat64")
int BPF_KPROBE(openat_enter, int dir, const char *path, __u32 flags)
{
	return entry(path, flags);
}

SEC("uretprobe/libc.so.6:openat64")
int BPF_KRETPROBE(openat_return, long fd)
{
	return result(fd);
}
