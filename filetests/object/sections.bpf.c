// SPDX-License-Identifier: MIT OR Apache-2.0
// Section names of every kind, with targets good and bad, and `?` for programs that are not loaded by default.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define PROG(name, sec) SEC(sec) int name(void *ctx) { return 0; }

PROG(prog_00, "socket")
PROG(prog_01, "sk_reuseport/migrate")
PROG(prog_02, "kprobe")
PROG(prog_03, "kprobe/do_sys_open+0x4")
PROG(prog_04, "uprobe//bin/sh:main+8")
PROG(prog_05, "uprobe.s/libc.so.6:malloc")
PROG(prog_06, "kretprobe/do_sys_open")
PROG(prog_07, "uretprobe//bin/sh:main")
PROG(prog_08, "uretprobe.s/libc.so.6:free@GLIBC_2.2.5")
PROG(prog_09, "kprobe.multi/tcp_*")
PROG(prog_10, "kretprobe.multi/udp_?end")
PROG(prog_11, "kprobe.session/vfs_*")
PROG(prog_12, "uprobe.multi//bin/sh:m*")
PROG(prog_13, "uretprobe.multi.s//bin/sh:m*")
PROG(prog_14, "uprobe.session//bin/sh:m*")
PROG(prog_15, "ksyscall/nanosleep")
PROG(prog_16, "kretsyscall/openat")
PROG(prog_17, "usdt/libc.so.6:libc:setjmp")
PROG(prog_18, "?usdt.s//bin/sh:a:b")
PROG(prog_19, "tc/ingress")
PROG(prog_20, "?tp/sched/sched_switch")
PROG(prog_22, "raw_tp/sys_enter")
PROG(prog_23, "raw_tp.w/bpf_testmod_test_writable_bare")
PROG(prog_25, "tp_btf/sched_switch")
PROG(prog_26, "fentry/do_unlinkat")
PROG(prog_27, "fexit.s/do_unlinkat")
PROG(prog_28, "fmod_ret/security_file_open")
PROG(prog_29, "?freplace/func")
PROG(prog_30, "lsm.s/file_open")
PROG(prog_31, "lsm_cgroup/socket_bind")
PROG(prog_32, "iter/task")
PROG(prog_33, "?iter.s/bpf_map")
PROG(prog_34, "syscall")
PROG(prog_35, "xdp.frags/devmap")
PROG(prog_36, "xdp")
PROG(prog_37, "perf_event")
PROG(prog_38, "sk_skb/stream_verdict")
PROG(prog_39, "cgroup/connect4")
PROG(prog_40, "sk_lookup")
PROG(prog_41, "netfilter")
PROG(prog_42, "?no_such_section/x")
PROG(prog_43, "?kretprobe/with_offset+1")
PROG(prog_44, "?uprobe//bin/sh")
PROG(prog_45, "?tp/only_category")
