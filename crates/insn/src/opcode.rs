//! Opcode fields (RFC 9669 section 3; include/uapi/linux/bpf.h and bpf_common.h).
#![allow(missing_docs)]

// Instruction classes (low 3 bits of the opcode).
pub const LD: u8 = 0x00;
pub const LDX: u8 = 0x01;
pub const ST: u8 = 0x02;
pub const STX: u8 = 0x03;
pub const ALU: u8 = 0x04;
pub const JMP: u8 = 0x05;
pub const JMP32: u8 = 0x06;
pub const ALU64: u8 = 0x07;
pub const CLASS_MASK: u8 = 0x07;

// Source operand.
pub const K: u8 = 0x00;
pub const X: u8 = 0x08;

// Arithmetic operations (high 4 bits).
pub const ADD: u8 = 0x00;
pub const SUB: u8 = 0x10;
pub const MUL: u8 = 0x20;
pub const DIV: u8 = 0x30;
pub const OR: u8 = 0x40;
pub const AND: u8 = 0x50;
pub const LSH: u8 = 0x60;
pub const RSH: u8 = 0x70;
pub const NEG: u8 = 0x80;
pub const MOD: u8 = 0x90;
pub const XOR: u8 = 0xa0;
pub const MOV: u8 = 0xb0;
pub const ARSH: u8 = 0xc0;
pub const END: u8 = 0xd0;
pub const OP_MASK: u8 = 0xf0;

// Byte swap: source bit of `END`.
pub const TO_LE: u8 = 0x00;
pub const TO_BE: u8 = 0x08;

// Jump operations.
pub const JA: u8 = 0x00;
pub const JEQ: u8 = 0x10;
pub const JGT: u8 = 0x20;
pub const JGE: u8 = 0x30;
pub const JSET: u8 = 0x40;
pub const JNE: u8 = 0x50;
pub const JSGT: u8 = 0x60;
pub const JSGE: u8 = 0x70;
pub const CALL: u8 = 0x80;
pub const EXIT: u8 = 0x90;
pub const JLT: u8 = 0xa0;
pub const JLE: u8 = 0xb0;
pub const JSLT: u8 = 0xc0;
pub const JSLE: u8 = 0xd0;
/// may_goto (`BPF_JCOND`, class JMP, kernel addition).
pub const JCOND: u8 = 0xe0;

// Load/store sizes.
pub const W: u8 = 0x00;
pub const H: u8 = 0x08;
pub const B: u8 = 0x10;
pub const DW: u8 = 0x18;
pub const SIZE_MASK: u8 = 0x18;

// Load/store modes.
pub const IMM: u8 = 0x00;
pub const ABS: u8 = 0x20;
pub const IND: u8 = 0x40;
pub const MEM: u8 = 0x60;
pub const MEMSX: u8 = 0x80;
pub const ATOMIC: u8 = 0xc0;
pub const MODE_MASK: u8 = 0xe0;

// Atomic operations (`imm`).
pub const FETCH: i32 = 0x01;
pub const XCHG: i32 = 0xe0 | FETCH;
pub const CMPXCHG: i32 = 0xf0 | FETCH;
pub const LOAD_ACQ: i32 = 0x100;
pub const STORE_REL: i32 = 0x110;

/// `off` of a 64-bit `MOV X` that casts between address spaces (`BPF_ADDR_SPACE_CAST`).
pub const ADDR_SPACE_CAST: i16 = 1;

/// Opcode byte of the two-slot 64-bit immediate load.
pub const LDDW: u8 = LD | IMM | DW;

// `src` of LDDW.
pub const PSEUDO_MAP_FD: u8 = 1;
pub const PSEUDO_MAP_VALUE: u8 = 2;
pub const PSEUDO_BTF_ID: u8 = 3;
pub const PSEUDO_FUNC: u8 = 4;
pub const PSEUDO_MAP_IDX: u8 = 5;
pub const PSEUDO_MAP_IDX_VALUE: u8 = 6;

// `src` of CALL.
pub const PSEUDO_CALL: u8 = 1;
pub const PSEUDO_KFUNC_CALL: u8 = 2;

/// Number of registers a program may name (R0 to R10).
pub const MAX_BPF_REG: u8 = 11;
/// Bytes of stack in one frame (`MAX_BPF_STACK`, include/linux/filter.h).
pub const MAX_BPF_STACK: i32 = 512;
