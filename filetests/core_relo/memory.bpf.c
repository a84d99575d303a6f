/* Loads and stores whose size follows the field, or must not. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
struct grow { u64 pad; u64 u8_; u64 u16_; u64 u32_; u64 i32_; u64 ptr; bool b; u64 e; char c; };
struct shrink { u64 pad; u8 u64_; u16 u64_2; u32 u64_4; int i64; signed char i32_; char c4; bool b4; };
struct odd { u64 pad; struct { u8 x[3]; } s3; unsigned __int128 big; u32 arr[2]; };
struct far { char pad[40000]; int f; };
struct edge { char pad[32764]; int f; int g; };
KEEP(g, struct grow) KEEP(s, struct shrink) KEEP(o, struct odd) KEEP(f, struct far) KEEP(e, struct edge)
#else
enum small { S0, S1 };
struct grow { u8 u8_; u16 u16_; u32 u32_; int i32_; void *ptr; u64 b; enum small e; u32 c; } PAI;
struct shrink { u64 u64_; u64 u64_2; u64 u64_4; long i64; int i32_; u32 c4; u32 b4; } PAI;
struct odd { struct { u8 x[2]; } s3; u64 big; u64 arr[2]; } PAI;
struct far { int f; } PAI;
struct edge { int f; int g; } PAI;

PROG(grow8, struct grow, p->u8_) /*~ byte_off 8/8 */
PROG(grow16, struct grow, p->u16_) /*~ byte_off 16/8 */
PROG(grow32, struct grow, p->u32_) /*~ byte_off 24/8 */
PROG(grow_signed, struct grow, p->i32_) /*~ byte_off poison */
PROG(ptr_is_int, struct grow, p->ptr) /*~ byte_off poison */
PROG(bool_shrink, struct grow, p->b) /*~ byte_off 48/1 */
PROG(enum_is_int, struct grow, p->e) /*~ byte_off poison */
PROG(to_char, struct grow, p->c) /*~ byte_off poison */
PROG(shrink8, struct shrink, p->u64_) /*~ byte_off 8/1 */
PROG(shrink16, struct shrink, p->u64_2) /*~ byte_off 10/2 */
PROG(shrink32, struct shrink, p->u64_4) /*~ byte_off 12/4 */
PROG(shrink_signed, struct shrink, p->i64) /*~ byte_off poison */
PROG(shrink_signed8, struct shrink, p->i32_) /*~ byte_off poison */
PROG(char4, struct shrink, p->c4) /*~ byte_off poison */
PROG(bool4, struct shrink, p->b4) /*~ byte_off 22/1 */
PROG(offset_only, struct shrink, BYTE_OFF(p->i64)) /*~ byte_off 16 */
PROG(address_only, struct shrink, &p->i64) /*~ byte_off 16 */
STORE(st, struct grow, p->u32_ = 7) /*~ byte_off 24/8 */
STORE(stx, struct grow, p->u32_ = (u32)(long)p) /*~ byte_off 24/8 */
STORE(stx_signed, struct grow, p->i32_ = (int)(long)p) /*~ byte_off poison */
STORE(stx_shrink, struct shrink, p->u64_2 = (long)p) /*~ byte_off 10/2 */
PROG(int128, struct odd, p->big) /*~ error: insn #0 (LDX/ST/STX) invalid new mem size: 16 */
PROG(elem_shrink, struct odd, p->arr[1]) /*~ byte_off 36/4 */
PROG(too_far, struct far, p->f) /*~ error: insn #0 (LDX/ST/STX) value too big: 40000 */
PROG(far_address, struct far, &p->f) /*~ byte_off 40000 */
PROG(edge_in, struct edge, p->f) /*~ byte_off 32764/4 */
PROG(edge_out, struct edge, p->g) /*~ error: insn #0 (LDX/ST/STX) value too big: 32768 */
#endif
