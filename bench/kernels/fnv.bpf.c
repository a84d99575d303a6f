// FNV-1a over 1 KiB, byte by byte.
#include "kernel.h"

static u8 data[1024];

PROG u64 fill(void *ctx)
{
	u64 s = 1;
	for (int i = 0; i < 1024; i++)
		data[i] = next_random(&s);
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 h = 0xcbf29ce484222325ULL;
	for (int i = 0; i < 1024; i++)
		h = (h ^ data[i]) * 0x100000001b3ULL;
	return h;
}
