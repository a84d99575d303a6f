// SPDX-License-Identifier: MIT OR Apache-2.0
// An example as clang-22 compiles it for ISA v4.
// build: clang-22 -O2 -g -target bpf -mcpu=v4 -D__TARGET_ARCH_x86
#include "../../examples/malloc.bpf.c"
