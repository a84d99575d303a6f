/* bpf_core_type_matches: names, sizes and members as well. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
struct same { int a; u64 b; };
struct more { int a; u64 b; int c; };
struct fewer { int a; };
struct resized { u64 a; };
struct resigned { u32 a; };
struct order { u64 b; int a; };
struct elem { int a[3]; };
struct elem_type { u32 a[4]; };
struct ptr { struct deep *p; };
struct ptr_kind { union deep_u *p; };
struct deep { int x; };
union deep_u { int x; };
struct ptr_fwd { struct only_fwd *p; };
struct anon { struct { int a; }; int b; };
struct anon_other { int a; int b; };
struct nested { struct same s; };
struct nested_bad { struct same s; };
struct fn { int (*f)(int, struct same *); };
struct fn_args { int (*f)(int); };
union un { int a; char b; };
enum e { E1 = 5, E2 = 6, E3 = 7 };
enum e_missing { EM2 };
enum e_size { ES1 = 0x100000000UL };
enum e64 { X1 = 0x100000000UL, X2 = 1 };
struct with_enum { enum e v; };
typedef int td;
typedef u64 td_size;
typedef struct same td_struct;
struct bits { int a: 3; };
struct self { struct self *next; int v; };
struct mods { const int a; volatile int *p; };
struct fl___1 { int a; };
struct fwd_local { struct comes *p; };
struct comes { int q; };
KEEP(1, struct same) KEEP(2, struct more) KEEP(3, struct fewer) KEEP(4, struct resized) KEEP(5, struct resigned) KEEP(6, struct order)
KEEP(7, struct elem) KEEP(8, struct elem_type) KEEP(9, struct ptr) KEEP(10, struct ptr_kind) KEEP(11, struct deep) KEEP(12, union deep_u)
KEEP(13, struct ptr_fwd) KEEP(14, struct anon) KEEP(15, struct anon_other) KEEP(16, struct nested) KEEP(17, struct nested_bad)
KEEP(18, struct fn) KEEP(19, struct fn_args) KEEP(20, union un) KEEP(21, enum e) KEEP(22, enum e_missing) KEEP(23, enum e_size)
KEEP(24, enum e64) KEEP(25, struct with_enum) KEEP(26, td) KEEP(27, td_size) KEEP(28, td_struct) KEEP(29, struct bits) KEEP(30, struct self)
KEEP(31, struct mods) KEEP(32, struct fl___1) KEEP(33, struct fwd_local) KEEP(34, struct comes)
#else
struct same { int a; u64 b; };
struct more { int a; u64 b; };
struct fewer { int a; int b; };
struct resized { int a; };
struct resigned { int a; };
struct order { int a; u64 b; };
struct elem { int a[4]; };
struct elem_type { int a[4]; };
struct deep { int x; int more; };
struct deep_u { int x; };
struct ptr { struct deep *p; };
struct ptr_kind { struct deep_u *p; };
struct only_fwd { int x; };
struct ptr_fwd { struct only_fwd *p; };
struct anon { struct { int a; }; int b; };
struct anon_other { struct { int a; }; int b; };
struct nested { struct same s; };
struct nested_bad { struct same___x { int a; int zz; } s; };
struct fn { int (*f)(int, struct same *); };
struct fn_args { int (*f)(int, int); };
union un { char b; };
enum e { E2, E1 };
enum e_missing { EM1, EM2 };
enum e_size { ES1 };
enum e64 { X2 = 0x200000000UL, X1 = 3 };
struct with_enum { enum e v; };
typedef int td;
typedef int td_size;
typedef struct same td_struct;
struct bits { int a: 5; };
struct self { int v; struct self *next; };
struct mods { int a; int *p; };
struct fl { int a; };
struct comes;
struct fwd_local { struct comes *p; };
struct no { int a; };

#define TEST(name, t) PROG(matches_##name, void, TYPE_MATCHES(t))
TEST(same, struct same) /*~ type_matches 1 */
TEST(more, struct more) /*~ type_matches 1 */
TEST(fewer, struct fewer) /*~ type_matches 0 */
TEST(resized, struct resized) /*~ type_matches 0 */
TEST(resigned, struct resigned) /*~ type_matches 0 */
TEST(order, struct order) /*~ type_matches 1 */
TEST(elem, struct elem) /*~ type_matches 0 */
TEST(elem_type, struct elem_type) /*~ type_matches 0 */
TEST(ptr, struct ptr) /*~ type_matches 1 */
TEST(ptr_kind, struct ptr_kind) /*~ type_matches 0 */
TEST(ptr_fwd, struct ptr_fwd) /*~ type_matches 1 */
TEST(deep, struct deep) /*~ type_matches 0 */
TEST(anon, struct anon) /*~ type_matches 1 */
TEST(anon_other, struct anon_other) /*~ type_matches 0 */
TEST(nested, struct nested) /*~ type_matches 1 */
TEST(nested_bad, struct nested_bad) /*~ type_matches 0 */
TEST(fn, struct fn) /*~ type_matches 1 */
TEST(fn_args, struct fn_args) /*~ type_matches 0 */
TEST(un, union un) /*~ type_matches 1 */
TEST(e, enum e) /*~ type_matches 1 */
TEST(e_missing, enum e_missing) /*~ type_matches 0 */
TEST(e_size, enum e_size) /*~ type_matches 0 */
TEST(e64, enum e64) /*~ type_matches 1 */
TEST(with_enum, struct with_enum) /*~ type_matches 1 */
TEST(td, td) /*~ type_matches 1 */
TEST(td_size, td_size) /*~ type_matches 0 */
TEST(td_struct, td_struct) /*~ type_matches 1 */
TEST(bits, struct bits) /*~ type_matches 1 */
TEST(self, struct self) /*~ type_matches 1 */
TEST(mods, struct mods) /*~ type_matches 1 */
TEST(fl, struct fl) /*~ type_matches 1 */
TEST(fwd_local, struct fwd_local) /*~ type_matches 1 */
TEST(no, struct no) /*~ type_matches 0 */
#endif
