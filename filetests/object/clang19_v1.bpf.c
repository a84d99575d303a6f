// SPDX-License-Identifier: MIT OR Apache-2.0
// An example as clang-19 compiles it for ISA v1.
// build: clang-19 -O2 -g -target bpf -mcpu=v1 -D__TARGET_ARCH_x86
#include "../../examples/malloc.bpf.c"
