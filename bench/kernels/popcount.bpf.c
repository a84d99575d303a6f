// Bits set in 128 words, by shifts and masks.
#include "kernel.h"

static u64 data[128];

PROG u64 fill(void *ctx)
{
	u64 s = 7;
	for (int i = 0; i < 128; i++)
		data[i] = next_random(&s) << 32 ^ next_random(&s);
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 n = 0;
	for (int i = 0; i < 128; i++) {
		u64 v = data[i];
		v -= v >> 1 & 0x5555555555555555ULL;
		v = (v & 0x3333333333333333ULL) + (v >> 2 & 0x3333333333333333ULL);
		v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
		n += v * 0x0101010101010101ULL >> 56;
		n = n << 1 | n >> 63;
	}
	return n;
}
