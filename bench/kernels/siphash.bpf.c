// SipHash-2-4 of 256 bytes: rotations.
#include "kernel.h"

static u64 data[32];

ALWAYS_INLINE u64 rotl(u64 v, int n)
{
	return v << n | v >> (64 - n);
}

#define ROUND                       \
	do {                        \
		v0 += v1;           \
		v1 = rotl(v1, 13);  \
		v1 ^= v0;           \
		v0 = rotl(v0, 32);  \
		v2 += v3;           \
		v3 = rotl(v3, 16);  \
		v3 ^= v2;           \
		v0 += v3;           \
		v3 = rotl(v3, 21);  \
		v3 ^= v0;           \
		v2 += v1;           \
		v1 = rotl(v1, 17);  \
		v1 ^= v2;           \
		v2 = rotl(v2, 32);  \
	} while (0)

PROG u64 fill(void *ctx)
{
	u64 s = 13;
	for (int i = 0; i < 32; i++)
		data[i] = next_random(&s) << 32 ^ next_random(&s);
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 v0 = 0x736f6d6570736575ULL, v1 = 0x646f72616e646f6dULL;
	u64 v2 = 0x6c7967656e657261ULL, v3 = 0x7465646279746573ULL;
	for (int i = 0; i < 32; i++) {
		v3 ^= data[i];
		ROUND;
		ROUND;
		v0 ^= data[i];
	}
	v2 ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}
