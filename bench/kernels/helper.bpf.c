// Calls of a helper, a value kept over each.
#include "kernel.h"

static u64 data[64];

PROG u64 fill(void *ctx)
{
	u64 s = 10;
	for (int i = 0; i < 64; i++)
		data[i] = next_random(&s);
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 h = 1;
	for (int i = 0; i < 64; i++)
		h = h * 31 + bench_helper(h, data[i]);
	return h;
}
