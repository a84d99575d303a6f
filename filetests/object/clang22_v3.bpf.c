// SPDX-License-Identifier: MIT OR Apache-2.0
// An example as clang-22 compiles it for ISA v3.
// build: clang-22 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include "../../examples/opens.bpf.c"
