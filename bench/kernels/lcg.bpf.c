// A linear congruential generator with rejection and a remainder.
#include "kernel.h"

static u64 buckets[16];

PROG u64 fill(void *ctx)
{
	for (int i = 0; i < 16; i++)
		buckets[i] = 0;
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 s = 12;
	u32 seen = 0;
	for (int i = 0; i < 256; i++) {
		u32 r = next_random(&s);
		if (r & 0x40000000)
			continue;
		buckets[r % 13] += r;
		seen++;
	}
	return s ^ seen;
}
