// Insertion sort of 64 numbers, copied from an unsorted array.
#include "kernel.h"

static u64 from[64];
static u64 to[64];

PROG u64 fill(void *ctx)
{
	u64 s = 3;
	for (int i = 0; i < 64; i++)
		from[i] = next_random(&s);
	return 0;
}

PROG u64 run(void *ctx)
{
	for (int i = 0; i < 64; i++) {
		u64 v = from[i];
		int j = i;
		while (j > 0 && to[j - 1] > v) {
			to[j] = to[j - 1];
			j--;
		}
		to[j] = v;
	}
	return to[0] ^ to[31] ^ to[63];
}
