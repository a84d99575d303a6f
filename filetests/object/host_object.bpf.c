// SPDX-License-Identifier: MIT OR Apache-2.0
// An object of another machine.
// build: clang -fdebug-compilation-dir=. -O2 -c --target=x86_64-linux-gnu
int main(void)
{
	return 0;
}
