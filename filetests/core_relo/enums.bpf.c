/* Enumerators: by essential name, 32 and 64 bits, signs. */
// build: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion
// build target: clang-19 -O2 -g -target bpf -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -DTARGET
#include "core_relo.h"

#ifdef TARGET
enum plain { A = 11, B = 22, NEG = -5 };
enum big { HUGE = 0xffffffff12345678UL, SMALL = 1 };
enum to64 { T1 = 0x1122334455667788UL, T2 = 2 };
enum to32 { T3 = 33 };
enum uns { U1 = 0xfffffff0U };
enum negative64 { N1 = -0x123456789aL };
typedef enum { TD1 = 7 } tdef;
enum flav___x { FL1___old = 71 };
enum amb { AM = 1 };
enum amb___2 { AM2___2 = 5, AM_ = 2 };
struct not_enum { int x; };
KEEP(1, enum plain) KEEP(2, enum big) KEEP(3, enum to64) KEEP(4, enum to32) KEEP(5, enum uns) KEEP(6, enum negative64)
KEEP(7, tdef) KEEP(8, enum flav___x) KEEP(9, enum amb) KEEP(10, enum amb___2) KEEP(11, struct not_enum)
#else
enum plain { A = 1, B = 2, NEG = -1, GONE = 4 };
enum big { HUGE = 0xffffffff00000000UL, SMALL = 2, BIG_GONE = 3 };
enum to64 { T1 = 1, T2 = 5 };
enum to32 { T3 = 0x100000000UL };
enum uns { U1 = 0xffffffffU };
enum negative64 { N1 = -1L - 0x100000000L };
typedef enum { TD1 = 1 } tdef;
enum flav { FL1 = 1 };
enum amb { AM = 9, AM2 = 8, AM_ = 7 };
enum not_enum { NE = 1 };
enum nowhere { NW = 1 };

#define TEST(name, t, v) PROG(name##_exists, void, ENUM_EXISTS(t, v)) PROG(name##_value, void, ENUM_VALUE(t, v))
TEST(a, enum plain, A) /*~ enumval_exists 1; enumval_value 11 */
TEST(b, enum plain, B) /*~ enumval_exists 1; enumval_value 22 */
TEST(neg, enum plain, NEG) /*~ enumval_exists 1; enumval_value -5 */
TEST(gone, enum plain, GONE) /*~ enumval_exists 0; enumval_value poison */
TEST(huge, enum big, HUGE) /*~ enumval_exists 1; enumval_value -3989547400 */
TEST(small, enum big, SMALL) /*~ enumval_exists 1; enumval_value 1 */
TEST(big_gone, enum big, BIG_GONE) /*~ enumval_exists 0; enumval_value poison */
TEST(to64, enum to64, T1) /*~ enumval_exists 1; enumval_value 1234605616436508552 */
TEST(to64_small, enum to64, T2) /*~ enumval_exists 1; enumval_value 2 */
TEST(to32, enum to32, T3) /*~ enumval_exists 1; enumval_value 33 */
TEST(uns, enum uns, U1) /*~ enumval_exists 1; error: unexpected insn #0 (LDIMM64) value: got 4294967295, exp 18446744073709551615 -> 18446744073709551600 */
TEST(negative64, enum negative64, N1) /*~ enumval_exists 1; enumval_value -78187493530 */
TEST(td, tdef, TD1) /*~ enumval_exists 1; enumval_value 7 */
TEST(flav, enum flav, FL1) /*~ enumval_exists 1; enumval_value 71 */
TEST(am, enum amb, AM) /*~ enumval_exists 1; enumval_value 1 */
TEST(am2, enum amb, AM2) /*~ enumval_exists 1; enumval_value 5 */
TEST(am_, enum amb, AM_) /*~ enumval_exists 1; enumval_value 2 */
TEST(not_enum, enum not_enum, NE) /*~ enumval_exists 0; enumval_value poison */
TEST(nowhere, enum nowhere, NW) /*~ enumval_exists 0; enumval_value poison */
#endif
