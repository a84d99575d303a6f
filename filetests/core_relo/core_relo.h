/* Each line with PROG, STORE or TEST makes programs; the comment behind it says what their relocations come to,
 * as libbpf 1.8 was seen to patch them, one text for each program, separated by semicolons:
 * "kind immediate", "kind offset/bytes" for loads and stores, "kind poison" for instructions made invalid, or
 * "error: text" where the object is refused ("failed to relocate" where libbpf gives no reason).
 * Each file is compiled twice: with -DTARGET it gives the types of the target. See cargo xtask objects. */
#define SEC(name) __attribute__((section(name), used))
#define PAI __attribute__((preserve_access_index))
#define PROG(name, type, ...) SEC("raw_tp") long name(type *p) { return (long)(__VA_ARGS__); }
#define STORE(name, type, ...) SEC("raw_tp") long name(type *p) { __VA_ARGS__; return 0; }
#define KEEP(name, type) type *keep_##name(type *p) { return p; }

#define BYTE_OFF(x) __builtin_preserve_field_info(x, 0)
#define BYTE_SZ(x) __builtin_preserve_field_info(x, 1)
#define EXISTS(x) __builtin_preserve_field_info(x, 2)
#define SIGNED(x) __builtin_preserve_field_info(x, 3)
#define LSHIFT(x) __builtin_preserve_field_info(x, 4)
#define RSHIFT(x) __builtin_preserve_field_info(x, 5)
#define ID_LOCAL(t) __builtin_btf_type_id(*(t *)0, 0)
#define ID_TARGET(t) __builtin_btf_type_id(*(t *)0, 1)
#define TYPE_EXISTS(t) __builtin_preserve_type_info(*(t *)0, 0)
#define TYPE_SIZE(t) __builtin_preserve_type_info(*(t *)0, 1)
#define TYPE_MATCHES(t) __builtin_preserve_type_info(*(t *)0, 2)
#define ENUM_EXISTS(t, v) __builtin_preserve_enum_value(*(t *)v, 0)
#define ENUM_VALUE(t, v) __builtin_preserve_enum_value(*(t *)v, 1)

#define NULL ((void *)0)
typedef _Bool bool;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
