/* Members that moved, changed or vanished. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
struct inner { u64 more; int z; int y; int x; };
struct moved { char pad[12]; int b; u64 c; int a; struct inner in; const volatile struct inner *ptr; };
struct nature { int *was_int; int was_ptr; struct inner was_int2; u32 was_float; float was_f; enum e { E0 } was_enum; };
union any { u64 big; struct { int deep0; union { int deep1; struct { u16 deep2; u8 deep3; } PAI; } PAI; } PAI; } PAI;
struct holder { u64 first; union any u; struct { int hid_a; struct { int hid_b; }; }; };
struct made_union { union { int left; struct { int skip; int right; }; }; };
typedef struct { int pad; int tda; } tdef;
typedef tdef tdef_again;
struct wider { u64 front; u64 u; u64 pad; };
KEEP(moved, struct moved) KEEP(nature, struct nature) KEEP(holder, struct holder) KEEP(mu, struct made_union)
KEEP(td, tdef) KEEP(td2, tdef_again) KEEP(wider, struct wider)
#else
struct inner { int x; int y; } PAI;
struct moved { int a; int b; u64 c; struct inner in; struct inner *ptr; int gone; } PAI;
struct nature { int was_int; int *was_ptr; int was_int2; float was_float; double was_f; enum f { F0 } was_enum; } PAI;
union any { u64 big; int deep0; int deep1; u16 deep2; u8 deep3; u8 nowhere; } PAI;
struct holder { union any u; int hid_a; int hid_b; } PAI;
struct made_union { int left; int right; } PAI;
typedef struct { int tda; } PAI tdef;
typedef struct { int tda; } PAI tdef_again;
struct missing { int a; } PAI;

PROG(same_size, struct moved, p->b) /*~ byte_off 12/4 */
PROG(moved_a, struct moved, p->a) /*~ byte_off 24/4 */
PROG(moved_c, struct moved, p->c) /*~ byte_off 16/8 */
PROG(nested, struct moved, p->in.x) /*~ byte_off 48/4 */
PROG(nested_y, struct moved, p->in.y) /*~ byte_off 44/4 */
PROG(address, struct moved, &p->in.y) /*~ byte_off 44 */
PROG(two, struct moved, p->ptr->y) /*~ byte_off 56/8, byte_off 12/4 */
PROG(gone, struct moved, p->gone) /*~ byte_off poison */
PROG(gone_exists, struct moved, EXISTS(p->gone)) /*~ field_exists 0 */
PROG(here_exists, struct moved, EXISTS(p->in.y)) /*~ field_exists 1 */
PROG(off, struct moved, BYTE_OFF(p->in.y)) /*~ byte_off 44 */
PROG(size_inner, struct moved, BYTE_SZ(p->in)) /*~ byte_sz 24 */
PROG(size_ptr, struct moved, BYTE_SZ(p->ptr)) /*~ byte_sz 8 */
PROG(size_gone, struct moved, BYTE_SZ(p->gone)) /*~ byte_sz poison */
PROG(is_signed, struct moved, SIGNED(p->a)) /*~ signed 1 */
PROG(is_unsigned, struct moved, SIGNED(p->c)) /*~ signed 0 */
PROG(lshift, struct moved, LSHIFT(p->a)) /*~ lshift_u64 32 */
PROG(rshift, struct moved, RSHIFT(p->a)) /*~ rshift_u64 32 */
PROG(lshift8, struct moved, LSHIFT(p->c)) /*~ lshift_u64 0 */
PROG(no_type, struct missing, p->a) /*~ byte_off poison */
PROG(no_type_exists, struct missing, EXISTS(p->a)) /*~ field_exists 0 */
PROG(int_is_ptr, struct nature, EXISTS(p->was_int)) /*~ field_exists 0 */
PROG(ptr_is_int, struct nature, EXISTS(p->was_ptr)) /*~ field_exists 0 */
PROG(int_is_struct, struct nature, EXISTS(p->was_int2)) /*~ field_exists 0 */
PROG(float_is_int, struct nature, EXISTS(p->was_float)) /*~ field_exists 0 */
PROG(double_is_float, struct nature, EXISTS(p->was_f)) /*~ field_exists 1 */
PROG(enum_other_name, struct nature, EXISTS(p->was_enum)) /*~ field_exists 0 */
PROG(in_union, struct holder, p->u.big) /*~ byte_off 8/8 */
PROG(deep0, struct holder, p->u.deep0) /*~ byte_off 8/4 */
PROG(deep1, struct holder, p->u.deep1) /*~ byte_off 12/4 */
PROG(deep2, struct holder, p->u.deep2) /*~ byte_off 12/2 */
PROG(deep3, struct holder, p->u.deep3) /*~ byte_off 14/1 */
PROG(nowhere, struct holder, p->u.nowhere) /*~ byte_off poison */
PROG(hid_a, struct holder, p->hid_a) /*~ byte_off 16/4 */
PROG(hid_b, struct holder, p->hid_b) /*~ byte_off 20/4 */
PROG(union_root, union any, p->deep3) /*~ byte_off 6/1 */
PROG(left, struct made_union, p->left) /*~ byte_off 0/4 */
PROG(right, struct made_union, p->right) /*~ byte_off 4/4 */
PROG(typedef_root, tdef, p->tda) /*~ byte_off 4/4 */
PROG(typedef_twice, tdef_again, p->tda) /*~ byte_off 4/4 */
#endif
