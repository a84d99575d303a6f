// log2 histogram of 256 latencies, as tracing programs make them.
#include "kernel.h"

static u64 data[256];
static u64 slots[64];

ALWAYS_INLINE u32 log2_u32(u32 v)
{
	u32 r, shift;
	r = (v > 0xffff) << 4;
	v >>= r;
	shift = (v > 0xff) << 3;
	v >>= shift;
	r |= shift;
	shift = (v > 0xf) << 2;
	v >>= shift;
	r |= shift;
	shift = (v > 0x3) << 1;
	v >>= shift;
	r |= shift;
	return r | v >> 1;
}

PROG u64 fill(void *ctx)
{
	u64 s = 14;
	for (int i = 0; i < 256; i++)
		data[i] = (next_random(&s) << 20) >> (next_random(&s) % 50);
	return 0;
}

PROG u64 run(void *ctx)
{
	for (int i = 0; i < 256; i++) {
		u64 v = data[i];
		u32 hi = v >> 32;
		u32 slot = hi ? log2_u32(hi) + 32 : log2_u32(v);
		slots[slot & 63]++;
	}
	return slots[10];
}
