// Calls of two small functions that are not inlined.
#include "kernel.h"

static u64 data[64];

NOINLINE u64 step(u64 h, u64 v)
{
	h ^= v;
	h *= 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

NOINLINE u64 twice(u64 h, u64 v, u64 i)
{
	return step(step(h, v), i);
}

PROG u64 fill(void *ctx)
{
	u64 s = 9;
	for (int i = 0; i < 64; i++)
		data[i] = next_random(&s);
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 h = 1;
	for (int i = 0; i < 64; i++)
		h = twice(h, data[i], i);
	return h;
}
