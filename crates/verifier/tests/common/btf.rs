//! The least BTF that gives functions a name and linkage.

use stylet_insn::{Insn, opcode as op};
use stylet_verifier::FuncInfo;

const KIND_INT: u32 = 1;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;

/// BTF for the functions of a program (`fn0`, `fn1`, …, all `int fn(int, int)` when global, `int fn()` otherwise)
/// and where they start. Functions that start at `globals` are global.
pub fn for_functions(insns: &[Insn], globals: &[u32]) -> (Vec<u8>, Vec<FuncInfo>) {
    let mut starts = vec![0u32];
    for (i, insn) in insns.iter().enumerate() {
        if insn.is_pseudo_call() || (insn.is_lddw() && insn.src == op::PSEUDO_FUNC) {
            starts.push((i as i64 + i64::from(insn.imm) + 1) as u32);
        }
    }
    starts.sort_unstable();
    starts.dedup();
    let mut strings = b"\0int\0a\0".to_vec();
    // 1: int; 2: int (*)(); 3: int (*)(int a, int a)
    let mut types: Vec<u32> = vec![1, KIND_INT << 24, 4, 1 << 24 | 32];
    types.extend([0, KIND_FUNC_PROTO << 24, 1]);
    types.extend([0, KIND_FUNC_PROTO << 24 | 2, 1, 5, 1, 5, 1]);
    let mut funcs = Vec::new();
    for (n, start) in starts.iter().enumerate() {
        let global = n == 0 || globals.contains(start);
        let name = strings.len() as u32;
        strings.extend(format!("fn{n}\0").bytes());
        types.extend([
            name,
            KIND_FUNC << 24 | u32::from(global),
            if globals.contains(start) { 3 } else { 2 },
        ]);
        funcs.push(FuncInfo { insn_idx: *start, type_id: 4 + n as u32 });
    }
    let type_len = types.len() as u32 * 4;
    let mut out = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, type_len, type_len, strings.len() as u32] {
        out.extend(u32::to_le_bytes(word));
    }
    types.iter().for_each(|w| out.extend(w.to_le_bytes()));
    out.extend(strings);
    (out, funcs)
}
