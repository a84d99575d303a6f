/* What the same source needs to be a BPF object and a shared library: `fill` prepares the data, `run` is timed. */
#ifndef KERNEL_H
#define KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#ifdef __bpf__
#define PROG __attribute__((section("kprobe"), used))
static u64 (*const bench_helper)(u64 a, u64 b) = (void *)7;
char LICENSE[] __attribute__((section("license"), used)) = "Dual MIT/GPL";
#else
#define PROG __attribute__((visibility("default")))
extern u64 (*bench_helper_entry)(u64 a, u64 b);
u64 (*bench_helper_entry)(u64 a, u64 b);
#define bench_helper bench_helper_entry
#endif

#define NOINLINE static __attribute__((noinline))
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A step of the generator that fills the data. */
ALWAYS_INLINE u64 next_random(u64 *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

#endif
