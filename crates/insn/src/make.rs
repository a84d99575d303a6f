//! Constructors, named after the macros of include/linux/filter.h (`BPF_MOV64_IMM`, `BPF_LDX_MEM`, …).
//!
//! They fill in fields and check nothing: tests need invalid instructions too.

use stylet_uapi::HelperId;

use crate::Insn;
use crate::opcode::*;

/// Arithmetic.
impl Insn {
    /// `r<dst> <op>= imm`; `op` is an `opcode` such as `ADD`.
    pub const fn alu64_imm(op: u8, dst: u8, imm: i32) -> Insn {
        Insn::new(ALU64 | op | K, dst, 0, 0, imm)
    }

    /// `r<dst> <op>= r<src>`.
    pub const fn alu64_reg(op: u8, dst: u8, src: u8) -> Insn {
        Insn::new(ALU64 | op | X, dst, src, 0, 0)
    }

    /// `w<dst> <op>= imm`.
    pub const fn alu32_imm(op: u8, dst: u8, imm: i32) -> Insn {
        Insn::new(ALU | op | K, dst, 0, 0, imm)
    }

    /// `w<dst> <op>= w<src>`.
    pub const fn alu32_reg(op: u8, dst: u8, src: u8) -> Insn {
        Insn::new(ALU | op | X, dst, src, 0, 0)
    }

    /// `r<dst> = imm`, sign-extended.
    pub const fn mov64_imm(dst: u8, imm: i32) -> Insn {
        Insn::alu64_imm(MOV, dst, imm)
    }

    /// `r<dst> = r<src>`.
    pub const fn mov64_reg(dst: u8, src: u8) -> Insn {
        Insn::alu64_reg(MOV, dst, src)
    }

    /// `w<dst> = imm`, upper half zeroed.
    pub const fn mov32_imm(dst: u8, imm: i32) -> Insn {
        Insn::alu32_imm(MOV, dst, imm)
    }

    /// `w<dst> = w<src>`, upper half zeroed.
    pub const fn mov32_reg(dst: u8, src: u8) -> Insn {
        Insn::alu32_reg(MOV, dst, src)
    }

    /// `r<dst> = (s<bits>)r<src>`; `bits` is 8, 16 or 32.
    pub const fn movsx64(dst: u8, src: u8, bits: i16) -> Insn {
        Insn::new(ALU64 | MOV | X, dst, src, bits, 0)
    }

    /// `w<dst> = (s<bits>)w<src>`; `bits` is 8 or 16.
    pub const fn movsx32(dst: u8, src: u8, bits: i16) -> Insn {
        Insn::new(ALU | MOV | X, dst, src, bits, 0)
    }

    /// The same division or modulo (`DIV`, `MOD`, either class and source), signed.
    pub const fn signed(self) -> Insn {
        Insn { off: 1, ..self }
    }

    /// `r<dst> = -r<dst>`.
    pub const fn neg64(dst: u8) -> Insn {
        Insn::alu64_imm(NEG, dst, 0)
    }

    /// `w<dst> = -w<dst>`.
    pub const fn neg32(dst: u8) -> Insn {
        Insn::alu32_imm(NEG, dst, 0)
    }

    /// `r<dst> = le<bits> r<dst>` with `TO_LE`, `be<bits>` with `TO_BE`; `bits` is 16, 32 or 64.
    pub const fn endian(to: u8, dst: u8, bits: i32) -> Insn {
        Insn::new(ALU | END | to, dst, 0, 0, bits)
    }

    /// `r<dst> = bswap<bits> r<dst>`; `bits` is 16, 32 or 64.
    pub const fn bswap(dst: u8, bits: i32) -> Insn {
        Insn::new(ALU64 | END, dst, 0, 0, bits)
    }

    /// `r<dst> = addr_space_cast(r<src>, to, from)`.
    pub const fn addr_space_cast(dst: u8, src: u8, to: u16, from: u16) -> Insn {
        let imm = ((to as u32) << 16 | from as u32) as i32;
        Insn::new(ALU64 | MOV | X, dst, src, ADDR_SPACE_CAST, imm)
    }
}

/// Loads, stores, atomics; `size` is `B`, `H`, `W` or `DW`.
impl Insn {
    /// `r<dst> = *(u<size> *)(r<src> + off)`.
    pub const fn ldx(size: u8, dst: u8, src: u8, off: i16) -> Insn {
        Insn::new(LDX | MEM | size, dst, src, off, 0)
    }

    /// `r<dst> = *(s<size> *)(r<src> + off)`, sign-extended; not with `DW`.
    pub const fn ldxsx(size: u8, dst: u8, src: u8, off: i16) -> Insn {
        Insn::new(LDX | MEMSX | size, dst, src, off, 0)
    }

    /// `*(u<size> *)(r<dst> + off) = r<src>`.
    pub const fn stx(size: u8, dst: u8, src: u8, off: i16) -> Insn {
        Insn::new(STX | MEM | size, dst, src, off, 0)
    }

    /// `*(u<size> *)(r<dst> + off) = imm`.
    pub const fn st(size: u8, dst: u8, off: i16, imm: i32) -> Insn {
        Insn::new(ST | MEM | size, dst, 0, off, imm)
    }

    /// An atomic operation of `r<src>` on `r<dst> + off`; `op` as `ADD as i32 | FETCH`, `XCHG`, `CMPXCHG`,
    /// `STORE_REL`; with `LOAD_ACQ` the roles are those of a load.
    pub const fn atomic(size: u8, op: i32, dst: u8, src: u8, off: i16) -> Insn {
        Insn::new(STX | ATOMIC | size, dst, src, off, op)
    }

    /// `r0 = *(u<size> *)skb[imm]`.
    pub const fn ld_abs(size: u8, imm: i32) -> Insn {
        Insn::new(LD | ABS | size, 0, 0, 0, imm)
    }

    /// `r0 = *(u<size> *)skb[r<src> + imm]`.
    pub const fn ld_ind(size: u8, src: u8, imm: i32) -> Insn {
        Insn::new(LD | IND | size, 0, src, 0, imm)
    }

    /// `r<dst> = imm ll`: both slots.
    pub const fn lddw(dst: u8, imm: u64) -> [Insn; 2] {
        Insn::lddw_pseudo(dst, 0, imm as i32, (imm >> 32) as i32)
    }

    /// A 64-bit load of pseudo kind `src` (`PSEUDO_*`) with the `imm` of each slot.
    pub const fn lddw_pseudo(dst: u8, src: u8, imm: i32, next_imm: i32) -> [Insn; 2] {
        [Insn::new(LDDW, dst, src, 0, imm), Insn::new(0, 0, 0, 0, next_imm)]
    }

    /// `r<dst>` = the map with index `idx` (`PSEUDO_MAP_IDX`).
    pub const fn ld_map_idx(dst: u8, idx: i32) -> [Insn; 2] {
        Insn::lddw_pseudo(dst, PSEUDO_MAP_IDX, idx, 0)
    }

    /// `r<dst>` = byte `off` of the first value of the map with index `idx` (`PSEUDO_MAP_IDX_VALUE`).
    pub const fn ld_map_idx_value(dst: u8, idx: i32, off: i32) -> [Insn; 2] {
        Insn::lddw_pseudo(dst, PSEUDO_MAP_IDX_VALUE, idx, off)
    }

    /// `r<dst>` = the function `rel` slots after the next slot (`PSEUDO_FUNC`), for callbacks.
    pub const fn ld_func(dst: u8, rel: i32) -> [Insn; 2] {
        Insn::lddw_pseudo(dst, PSEUDO_FUNC, rel, 0)
    }
}

/// Jumps and calls; offsets count slots from the next slot.
impl Insn {
    /// `if r<dst> <op> imm goto off`; `op` is an `opcode` such as `JEQ`.
    pub const fn jmp_imm(op: u8, dst: u8, imm: i32, off: i16) -> Insn {
        Insn::new(JMP | op | K, dst, 0, off, imm)
    }

    /// `if r<dst> <op> r<src> goto off`.
    pub const fn jmp_reg(op: u8, dst: u8, src: u8, off: i16) -> Insn {
        Insn::new(JMP | op | X, dst, src, off, 0)
    }

    /// `if w<dst> <op> imm goto off`.
    pub const fn jmp32_imm(op: u8, dst: u8, imm: i32, off: i16) -> Insn {
        Insn::new(JMP32 | op | K, dst, 0, off, imm)
    }

    /// `if w<dst> <op> w<src> goto off`.
    pub const fn jmp32_reg(op: u8, dst: u8, src: u8, off: i16) -> Insn {
        Insn::new(JMP32 | op | X, dst, src, off, 0)
    }

    /// `goto off`.
    pub const fn ja(off: i16) -> Insn {
        Insn::new(JMP | JA, 0, 0, off, 0)
    }

    /// `gotol off`: a jump with a 32-bit offset.
    pub const fn gotol(off: i32) -> Insn {
        Insn::new(JMP32 | JA, 0, 0, 0, off)
    }

    /// `gotox r<reg>`: an indirect jump (release 6.19).
    pub const fn gotox(reg: u8) -> Insn {
        Insn::new(JMP | JA | X, reg, 0, 0, 0)
    }

    /// `may_goto off`.
    pub const fn may_goto(off: i16) -> Insn {
        Insn::new(JMP | JCOND, 0, 0, off, 0)
    }

    /// Calls a helper.
    pub const fn call(helper: HelperId) -> Insn {
        Insn::new(JMP | CALL, 0, 0, 0, helper.0 as i32)
    }

    /// Calls the program's function `rel` slots after the next slot.
    pub const fn call_rel(rel: i32) -> Insn {
        Insn::new(JMP | CALL, 0, PSEUDO_CALL, 0, rel)
    }

    /// Calls the kernel function with a BTF id; `btf_idx` indexes `fd_array` (0 is vmlinux).
    pub const fn call_kfunc(btf_id: i32, btf_idx: i16) -> Insn {
        Insn::new(JMP | CALL, 0, PSEUDO_KFUNC_CALL, btf_idx, btf_id)
    }

    /// `exit`.
    pub const fn exit() -> Insn {
        Insn::new(JMP | EXIT, 0, 0, 0, 0)
    }
}
