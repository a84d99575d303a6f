// SPDX-License-Identifier: MIT OR Apache-2.0
// Not a case: two types of one name for core_ambiguous.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct ambiguous { long pad; int x; } one;
struct ambiguous___two { long pad[2]; int x; } two;
