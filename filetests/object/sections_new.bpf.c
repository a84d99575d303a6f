// SPDX-License-Identifier: MIT OR Apache-2.0
// Section names that are new in libbpf: sleepable tracepoints, sessions and multi attachment of tracing programs.
// libbpf differs: 1.7, which the comparison uses, does not know these names yet.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define PROG(name, sec) SEC(sec) int name(void *ctx) { return 0; }

PROG(prog_21, "tracepoint.s/syscalls/sys_enter_read")
PROG(prog_24, "raw_tracepoint.s/sys_exit")
PROG(new_00, "tp.s/syscalls/sys_enter_read")
PROG(new_01, "fsession/do_unlinkat")
PROG(new_02, "fentry.multi/tcp_*")
PROG(new_03, "fexit.multi.s/tcp_*")
PROG(new_04, "fsession.multi/tcp_*")
