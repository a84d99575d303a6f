/* Whole types: existence, size, ids. Kinds must agree, also through pointers and arrays. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
struct s { u64 a[3]; };
union u { u64 a; };
enum e { E1, E2, E3 };
enum wide { W1 = 0x100000000UL };
struct was_union { int x; };
typedef int t_int;
typedef u64 t_int_long;
typedef struct s t_struct;
typedef union u t_other_kind;
typedef struct { int a; int b; } t_anon;
typedef enum { TE1 } t_enum;
typedef void *t_void_ptr;
typedef u64 *t_int_ptr;
typedef struct s *t_struct_ptr;
typedef const volatile int t_mods;
typedef int t_array[7];
typedef int *t_array_of_ptr[2];
typedef int (*t_fn)(u64, struct s *);
typedef int (*t_fn_args)(int);
typedef void (*t_fn_ret)(int);
typedef int (*t_fn_kind)(int *);
typedef int t_proto(int);
struct fwd;
typedef struct fwd *t_fwd;
KEEP(1, struct s) KEEP(2, union u) KEEP(3, enum e) KEEP(4, enum wide) KEEP(5, struct was_union) KEEP(6, t_int) KEEP(7, t_int_long)
KEEP(8, t_struct) KEEP(9, t_other_kind) KEEP(10, t_anon) KEEP(11, t_enum) KEEP(12, t_void_ptr) KEEP(13, t_int_ptr)
KEEP(14, t_struct_ptr) KEEP(15, t_mods) t_array keep_array; t_array_of_ptr keep_aop; KEEP(18, t_fn) KEEP(19, t_fn_args)
KEEP(20, t_fn_ret) KEEP(21, t_fn_kind) KEEP(22, t_proto) KEEP(23, t_fwd)
#else
struct s { int a; };
union u { char c; };
enum e { E9 };
enum wide { W1 };
union was_union { int x; };
struct none { int x; };
typedef u8 t_int;
typedef int t_int_long;
typedef struct s t_struct;
typedef struct s t_other_kind;
typedef struct { int a; } t_anon;
typedef enum { TE1 } t_enum;
typedef void *t_void_ptr;
typedef int *t_int_ptr;
typedef struct { int q; } *t_struct_ptr;
typedef int t_mods;
typedef int t_array[2];
typedef int *t_array_of_ptr[3];
typedef int (*t_fn)(int, struct none *);
typedef int (*t_fn_args)(int, int);
typedef int (*t_fn_ret)(int);
typedef int (*t_fn_kind)(int);
typedef int t_proto(int);
struct fwd { int x; };
typedef struct fwd *t_fwd;
typedef int t_none;
typedef float t_float;

#define TEST(name, t) PROG(name##_exists, void, TYPE_EXISTS(t)) PROG(name##_size, void, TYPE_SIZE(t)) PROG(name##_id, void, ID_TARGET(t)) PROG(name##_local, void, ID_LOCAL(t))
TEST(s, struct s) /*~ type_exists 1; type_size 24; target_type_id 2; local_type_id 5 */
TEST(u, union u) /*~ type_exists 1; type_size 8; target_type_id 10; local_type_id 15 */
TEST(e, enum e) /*~ type_exists 1; type_size 4; target_type_id 14; local_type_id 25 */
TEST(wide, enum wide) /*~ type_exists 1; type_size 8; target_type_id 18; local_type_id 34 */
TEST(was_union, union was_union) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 43 */
TEST(none, struct none) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 52 */
TEST(t_int, t_int) /*~ type_exists 1; type_size 4; target_type_id 27; local_type_id 61 */
TEST(t_int_long, t_int_long) /*~ type_exists 1; type_size 8; target_type_id 31; local_type_id 72 */
TEST(t_struct, t_struct) /*~ type_exists 1; type_size 24; target_type_id 35; local_type_id 81 */
TEST(t_other_kind, t_other_kind) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 90 */
TEST(t_anon, t_anon) /*~ type_exists 1; type_size 8; target_type_id 43; local_type_id 99 */
TEST(t_enum, t_enum) /*~ type_exists 1; type_size 4; target_type_id 48; local_type_id 109 */
TEST(t_void_ptr, t_void_ptr) /*~ type_exists 1; type_size 8; target_type_id 53; local_type_id 119 */
TEST(t_int_ptr, t_int_ptr) /*~ type_exists 1; type_size 8; target_type_id 58; local_type_id 128 */
TEST(t_struct_ptr, t_struct_ptr) /*~ type_exists 1; type_size 8; target_type_id 63; local_type_id 138 */
TEST(t_mods, t_mods) /*~ type_exists 1; type_size 4; target_type_id 67; local_type_id 149 */
TEST(t_array, t_array) /*~ type_exists 1; type_size 28; target_type_id 107; local_type_id 158 */
TEST(t_array_of_ptr, t_array_of_ptr) /*~ type_exists 1; type_size 16; target_type_id 110; local_type_id 169 */
TEST(t_fn, t_fn) /*~ type_exists 1; type_size 8; target_type_id 73; local_type_id 179 */
TEST(t_fn_args, t_fn_args) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 191 */
TEST(t_fn_ret, t_fn_ret) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 202 */
TEST(t_fn_kind, t_fn_kind) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 213 */
TEST(t_fwd, t_fwd) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 222 */
TEST(t_none, t_none) /*~ type_exists 0; type_size 0; target_type_id 0; local_type_id 233 */
PROG(t_builtin, void, TYPE_SIZE(u64)) /*~ type_size 8 */
#endif
