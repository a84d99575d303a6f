// 32 searches in a sorted array of 256 numbers.
#include "kernel.h"

static u64 sorted[256];
static u64 wanted[32];

PROG u64 fill(void *ctx)
{
	u64 s = 11, v = 0;
	for (int i = 0; i < 256; i++)
		sorted[i] = v += next_random(&s) % 100;
	for (int i = 0; i < 32; i++)
		wanted[i] = next_random(&s) % v;
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 sum = 0;
	for (int i = 0; i < 32; i++) {
		u64 key = wanted[i];
		u32 lo = 0, hi = 256;
		while (lo < hi) {
			u32 mid = (lo + hi) / 2;
			if (sorted[mid & 255] < key)
				lo = mid + 1;
			else
				hi = mid;
		}
		sum = sum * 3 + lo;
	}
	return sum;
}
