// Product of two 12 x 12 matrices of 64-bit numbers.
#include "kernel.h"

#define N 12
static u64 a[N][N], b[N][N], c[N][N];

PROG u64 fill(void *ctx)
{
	u64 s = 8;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			a[i][j] = next_random(&s);
			b[i][j] = next_random(&s);
		}
	return 0;
}

PROG u64 run(void *ctx)
{
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			u64 sum = 0;
			for (int k = 0; k < N; k++)
				sum += a[i][k] * b[k][j];
			c[i][j] = sum;
		}
	return c[0][0] ^ c[5][7] ^ c[N - 1][N - 1];
}
