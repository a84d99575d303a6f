/* Names with ___flavor on both sides, and targets that disagree. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
struct local_flavored { u64 pad; int a; };
struct target_flavored___v2 { u64 pad; int a; };
struct agree { u64 pad; int a; };
struct agree___2 { u64 pad; int a; int b; };
struct offsets { int a; };
struct offsets___2 { u64 pad; int a; };
struct some_have { int a; };
struct some_have___2 { u64 pad; int b; };
struct sizes { int a; };
struct sizes___2 { u64 a; };
struct poisoned { u32 pad; int a; };
struct poisoned___2 { u32 pad; long a; };
struct double___two___seps { int pad; int a; };
struct ____lead { int pad; int a; };
KEEP(1, struct local_flavored) KEEP(2, struct target_flavored___v2) KEEP(3, struct agree) KEEP(4, struct agree___2)
KEEP(5, struct offsets) KEEP(6, struct offsets___2) KEEP(7, struct some_have) KEEP(8, struct some_have___2)
KEEP(9, struct sizes) KEEP(10, struct sizes___2) KEEP(11, struct poisoned) KEEP(12, struct poisoned___2)
KEEP(13, struct double___two___seps) KEEP(14, struct ____lead)
#else
struct local_flavored___mine { int a; } PAI;
struct target_flavored { int a; } PAI;
struct agree { int a; } PAI;
struct agree___other { int a; int b; } PAI;
struct offsets { int a; } PAI;
struct some_have { int a; int b; int c; } PAI;
struct sizes { int a; } PAI;
struct poisoned { int a; } PAI;
struct double___two___x { int a; } PAI;
struct ____lead { int a; } PAI;
struct seps___ { int a; } PAI;

PROG(local_flavored, struct local_flavored___mine, p->a) /*~ byte_off 8/4 */
PROG(target_flavored, struct target_flavored, p->a) /*~ byte_off 8/4 */
PROG(agree, struct agree, p->a) /*~ byte_off 8/4 */
PROG(agree_flavor, struct agree___other, p->b) /*~ byte_off 12/4 */
PROG(agree_id, struct agree, ID_TARGET(struct agree)) /*~ error: relocation decision ambiguity: success 17 != success 13 */
PROG(agree_exists, struct agree, TYPE_EXISTS(struct agree)) /*~ type_exists 1 */
PROG(offsets, struct offsets, p->a) /*~ error: field offset ambiguity: 64 != 0 */
PROG(offsets_exists, struct offsets, EXISTS(p->a)) /*~ error: field offset ambiguity: 64 != 0 */
PROG(some_a, struct some_have, p->a) /*~ byte_off 0/4 */
PROG(some_b, struct some_have, p->b) /*~ byte_off 8/4 */
PROG(some_c_exists, struct some_have, EXISTS(p->c)) /*~ field_exists 0 */
PROG(narrowed, struct some_have, EXISTS(p->a) + BYTE_OFF(p->b)) /*~ field_exists 1, byte_off poison */
PROG(narrowed_rev, struct some_have, EXISTS(p->b) + EXISTS(p->a)) /*~ field_exists 1, field_exists 0 */
PROG(sizes, struct sizes, BYTE_SZ(p->a)) /*~ error: relocation decision ambiguity: success 8 != success 4 */
PROG(sizes_type, struct sizes, TYPE_SIZE(struct sizes)) /*~ error: relocation decision ambiguity: success 8 != success 4 */
PROG(poisoned, struct poisoned, p->a) /*~ error: field offset ambiguity: 64 != 32 */
PROG(double_sep, struct double___two___x, p->a) /*~ byte_off 4/4 */
PROG(lead, struct ____lead, p->a) /*~ byte_off 4/4 */
PROG(seps, struct seps___, EXISTS(p->a)) /*~ field_exists 0 */
#endif
