// A switch with twelve cases, as in a small bytecode machine.
#include "kernel.h"

static u8 code[512];

PROG u64 fill(void *ctx)
{
	u64 s = 5;
	for (int i = 0; i < 512; i++)
		code[i] = next_random(&s) % 12;
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 a = 1, b = 2, c = 3;
	for (int i = 0; i < 512; i++) {
		switch (code[i]) {
		case 0: a += b; break;
		case 1: a ^= c; break;
		case 2: b -= a; break;
		case 3: c = c << 3 | c >> 61; break;
		case 4: a *= 3; break;
		case 5: b |= 1; break;
		case 6: c += i; break;
		case 7: { u64 t = a; a = b; b = t; break; }
		case 8: b ^= c >> 7; break;
		case 9: c *= a | 1; break;
		case 10: a = ~a; break;
		case 11: b += 0x1234567; break;
		}
	}
	return a ^ b ^ c;
}
