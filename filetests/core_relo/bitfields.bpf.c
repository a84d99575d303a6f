/* Bitfields: the load that covers them, shifts, signs. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
struct bits { u64 pad; u32 a: 3; int b: 5; u32 plain; u64 wide: 40; u8 tiny: 1; u32 full: 32; bool f: 1; enum e { E = -1 } en: 4; u32 was_plain: 7; u64 at60: 60; u64 rest: 4; };
struct __attribute__((packed)) tight { char pad; u64 cross: 60; u32 over: 30; u32 now_plain; };
KEEP(b, struct bits) KEEP(t, struct tight)
#else
struct bits { u32 a: 1; int b: 9; u32 plain: 7; u64 wide: 33; u8 tiny: 2; u32 full: 17; bool f: 1; enum e { E = -1 } en: 3; u32 was_plain; u64 at60: 1; u64 rest: 1; int gone: 2; } PAI;
struct tight { u64 cross: 40; u32 over: 10; u32 now_plain: 4; } PAI;

PROG(a_off, struct bits, BYTE_OFF(p->a)) /*~ byte_off 8 */
PROG(a_size, struct bits, BYTE_SZ(p->a)) /*~ byte_sz 4 */
PROG(a_lshift, struct bits, LSHIFT(p->a)) /*~ lshift_u64 61 */
PROG(a_rshift, struct bits, RSHIFT(p->a)) /*~ rshift_u64 61 */
PROG(a_signed, struct bits, SIGNED(p->a)) /*~ signed 0 */
PROG(a_exists, struct bits, EXISTS(p->a)) /*~ field_exists 1 */
PROG(b_off, struct bits, BYTE_OFF(p->b)) /*~ byte_off 8 */
PROG(b_lshift, struct bits, LSHIFT(p->b)) /*~ lshift_u64 56 */
PROG(b_rshift, struct bits, RSHIFT(p->b)) /*~ rshift_u64 59 */
PROG(b_signed, struct bits, SIGNED(p->b)) /*~ signed 1 */
PROG(plain_off, struct bits, BYTE_OFF(p->plain)) /*~ byte_off 12 */
PROG(plain_size, struct bits, BYTE_SZ(p->plain)) /*~ byte_sz 4 */
PROG(plain_lshift, struct bits, LSHIFT(p->plain)) /*~ lshift_u64 32 */
PROG(plain_rshift, struct bits, RSHIFT(p->plain)) /*~ rshift_u64 32 */
PROG(wide_off, struct bits, BYTE_OFF(p->wide)) /*~ byte_off 16 */
PROG(wide_size, struct bits, BYTE_SZ(p->wide)) /*~ byte_sz 8 */
PROG(wide_lshift, struct bits, LSHIFT(p->wide)) /*~ lshift_u64 24 */
PROG(tiny_off, struct bits, BYTE_OFF(p->tiny)) /*~ byte_off 21 */
PROG(tiny_size, struct bits, BYTE_SZ(p->tiny)) /*~ byte_sz 1 */
PROG(tiny_lshift, struct bits, LSHIFT(p->tiny)) /*~ lshift_u64 63 */
PROG(full_off, struct bits, BYTE_OFF(p->full)) /*~ byte_off 24 */
PROG(full_rshift, struct bits, RSHIFT(p->full)) /*~ rshift_u64 32 */
PROG(f_off, struct bits, BYTE_OFF(p->f)) /*~ byte_off 28 */
PROG(f_size, struct bits, BYTE_SZ(p->f)) /*~ byte_sz 1 */
PROG(en_signed, struct bits, SIGNED(p->en)) /*~ signed 1 */
PROG(en_lshift, struct bits, LSHIFT(p->en)) /*~ lshift_u64 59 */
PROG(was_plain_off, struct bits, BYTE_OFF(p->was_plain)) /*~ byte_off 28 */
PROG(was_plain_size, struct bits, BYTE_SZ(p->was_plain)) /*~ byte_sz 4 */
PROG(was_plain_load, struct bits, p->was_plain) /*~ byte_off poison */
PROG(at60_size, struct bits, BYTE_SZ(p->at60)) /*~ byte_sz 8 */
PROG(rest_lshift, struct bits, LSHIFT(p->rest)) /*~ lshift_u64 0 */
PROG(gone_off, struct bits, BYTE_OFF(p->gone)) /*~ byte_off poison */
PROG(gone_exists, struct bits, EXISTS(p->gone)) /*~ field_exists 0 */
PROG(cross_off, struct tight, BYTE_OFF(p->cross)) /*~ error: failed to relocate: -E2BIG */
PROG(over_off, struct tight, BYTE_OFF(p->over)) /*~ byte_off 8 */
PROG(over_size, struct tight, BYTE_SZ(p->over)) /*~ byte_sz 8 */
PROG(now_plain_off, struct tight, BYTE_OFF(p->now_plain)) /*~ byte_off 13 */
#endif
