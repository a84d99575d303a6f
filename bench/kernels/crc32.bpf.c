// CRC-32 of 1 KiB with a table of 256 entries.
#include "kernel.h"

static u8 data[1024];
static u32 table[256];

PROG u64 fill(void *ctx)
{
	u64 s = 2;
	for (u32 i = 0; i < 256; i++) {
		u32 c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
		table[i] = c;
	}
	for (int i = 0; i < 1024; i++)
		data[i] = next_random(&s);
	return 0;
}

PROG u64 run(void *ctx)
{
	u32 c = ~0u;
	for (int i = 0; i < 1024; i++)
		c = table[(c ^ data[i]) & 0xff] ^ (c >> 8);
	return ~c;
}
