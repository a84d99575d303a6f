// Decimal numbers separated by commas out of a string.
#include "kernel.h"

static char text[512];

PROG u64 fill(void *ctx)
{
	u64 s = 4;
	for (int i = 0; i < 511; i++) {
		u64 r = next_random(&s) % 12;
		text[i] = r < 10 ? '0' + r : r == 10 ? ',' : ' ';
	}
	text[511] = 0;
	return 0;
}

PROG u64 run(void *ctx)
{
	u64 sum = 0, number = 0;
	int digits = 0;
	for (int i = 0; i < 512; i++) {
		char c = text[i];
		if (c >= '0' && c <= '9') {
			number = number * 10 + (c - '0');
			digits++;
		} else if (c == ' ') {
			continue;
		} else {
			if (digits)
				sum = sum * 31 + number;
			number = 0;
			digits = 0;
			if (!c)
				break;
		}
	}
	return sum;
}
