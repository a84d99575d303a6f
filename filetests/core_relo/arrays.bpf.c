/* Elements: bounds, arrays of arrays, flexible arrays, arrays of the root type. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
struct elem { int pad; int v; u64 w; };
struct arr { u64 pad; int a[4]; struct elem e[3]; char m[2][3][4]; int shrunk[2]; int grown[9]; u64 wide[3]; int last[]; };
struct flex { int n; struct elem f[]; };
struct not_last { int z[0]; int n; };
struct became_flex { int n; int d[]; };
struct was_flex { int n; int d[2]; };
struct ptrs { u64 pad; int x; int **pp; void (*fn[3])(int); };
KEEP(a, struct arr) KEEP(f, struct flex) KEEP(n, struct not_last) KEEP(b, struct became_flex) KEEP(w, struct was_flex) KEEP(p, struct ptrs)
#else
struct elem { int v; u64 w; } PAI;
struct arr { int a[8]; struct elem e[2]; char m[4][5][6]; int shrunk[5]; int grown[1]; u32 wide[3]; int last[]; } PAI;
struct flex { int n; struct elem f[]; } PAI;
struct not_last { int n; int z[4]; } PAI;
struct became_flex { int n; int d[4]; } PAI;
struct was_flex { int n; int d[]; } PAI;
struct ptrs { int x; int *pp; void (*fn[2])(int); } PAI;

PROG(first, struct arr, p->a[0]) /*~ byte_off 8/4 */
PROG(third, struct arr, p->a[3]) /*~ byte_off 20/4 */
PROG(beyond, struct arr, p->a[4]) /*~ byte_off poison */
PROG(beyond_exists, struct arr, EXISTS(p->a[5])) /*~ field_exists 0 */
PROG(whole, struct arr, BYTE_SZ(p->a)) /*~ byte_sz 16 */
PROG(elem_size, struct arr, BYTE_SZ(p->e[1])) /*~ byte_sz 16 */
PROG(elem_off, struct arr, BYTE_OFF(p->e[1])) /*~ byte_off 40 */
PROG(elem_signed, struct arr, SIGNED(p->a[1])) /*~ error: failed to relocate: -EINVAL */
PROG(elem_lshift, struct arr, LSHIFT(p->a[1])) /*~ error: failed to relocate: -EINVAL */
PROG(in_elem, struct arr, p->e[1].v) /*~ byte_off 44/4 */
PROG(in_elem_w, struct arr, p->e[1].w) /*~ byte_off 48/8 */
PROG(multi, struct arr, p->m[1][2][3]) /*~ byte_off 84 */
PROG(multi_row, struct arr, BYTE_SZ(p->m[1][2])) /*~ byte_sz 4 */
PROG(multi_row_off, struct arr, BYTE_OFF(p->m[1])) /*~ byte_off 84 */
PROG(multi_beyond, struct arr, p->m[1][3][0]) /*~ byte_off 84 */
PROG(array_load, struct arr, *(char *)p->m) /*~ byte_off 72/1 */
PROG(shrunk, struct arr, p->shrunk[1]) /*~ byte_off 100/4 */
PROG(shrunk_out, struct arr, p->shrunk[2]) /*~ byte_off poison */
PROG(grown, struct arr, p->grown[0]) /*~ byte_off 104/4 */
PROG(wide, struct arr, p->wide[2]) /*~ byte_off 160/8 */
PROG(last, struct arr, p->last[5]) /*~ byte_off 188/4 */
PROG(last_size, struct arr, BYTE_SZ(p->last)) /*~ byte_sz 0 */
PROG(flex, struct flex, p->f[7].w) /*~ byte_off 128/8 */
PROG(not_last, struct not_last, p->z[0]) /*~ byte_off poison */
PROG(became_flex, struct became_flex, p->d[3]) /*~ byte_off 16/4 */
PROG(was_flex, struct was_flex, p->d[1]) /*~ byte_off 8/4 */
PROG(was_flex_out, struct was_flex, p->d[2]) /*~ byte_off poison */
PROG(root_1, struct elem, p[1].w) /*~ byte_off 24/8 */
PROG(root_3, struct elem, p[3].v) /*~ byte_off 52/4 */
PROG(root_size, struct elem, BYTE_SZ(p[2])) /*~ error: unexpected insn #0 (ALU/ALU64) value: got 32, exp 16 -> 16 */
PROG(ptr_depth, struct ptrs, p->pp) /*~ byte_off 16/8 */
PROG(fn, struct ptrs, p->fn[1]) /*~ byte_off 32/8 */
#endif
