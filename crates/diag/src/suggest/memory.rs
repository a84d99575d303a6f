//! Memory: null, bounds, stack, context.

use super::{Case, Rule};

pub(super) const RULES: &[Rule] = &[
    (&["_or_null'"], null_check),
    (&["pointer arithmetic on", "null-check it first"], null_check),
    (&["Possibly NULL pointer passed"], null_check),
    (&["invalid mem access 'scalar'"], scalar),
    (&["min value is negative"], negative),
    (&["unbounded memory access"], unbounded),
    (&["unbounded min value"], unbounded),
    (&["invalid access to map value"], map_value),
    (&["invalid access to memory, mem_size="], mem_size),
    (&["is outside of the allowed memory range"], outside),
    (&["invalid indirect read from stack"], uninit_stack),
    (&["invalid read from stack"], uninit_stack),
    (&["invalid write to stack"], stack_range),
    (&["invalid stack"], stack_range),
    (&["combined stack size"], stack_size),
    (&["stack limit"], stack_size),
    (&["invalid bpf_context access"], ctx_access),
    (&["dereference of modified ctx ptr"], modified_ctx),
    (&["variable ctx access"], modified_ctx),
    (&["misaligned"], misaligned),
    (&["write into map forbidden"], rdonly_map),
    (&["read from map forbidden"], wronly_map),
    (&["cannot write into rdonly"], rdonly_mem),
    (&["tp buffer"], tp_buffer),
    (&["frame pointer is read only"], frame_pointer),
    (&["pointer += pointer prohibited"], pointer_sum),
    (&["bitwise operator", "on pointer prohibited"], pointer_bits),
    (&["32-bit pointer arithmetic prohibited"], pointer_32),
    (&["pointer arithmetic", "prohibited"], pointer_arithmetic),
    (&["leaks addr"], leak),
];

fn null_check(case: &Case<'_>) -> Option<String> {
    let reg = case.reg_or_value();
    Some(format!(
        "{reg} may be NULL here: test the pointer (`if (!p) return 0;`) before it is used, and use the tested variable, not a copy made before the test"
    ))
}

fn scalar(case: &Case<'_>) -> Option<String> {
    let reg = case.reg_or_value();
    Some(format!(
        "{reg} holds a number, which the verifier does not let a program dereference; copy the memory with bpf_probe_read_kernel() (or BPF_CORE_READ) if it is kernel memory, with bpf_probe_read_user() if it is the process's"
    ))
}

fn negative(case: &Case<'_>) -> Option<String> {
    let reg = case.reg_or_value();
    Some(format!(
        "{reg} may be negative: make the variable unsigned, or test `if (i < 0) return 0;`; a test of a 32-bit copy does not bound the 64-bit value"
    ))
}

fn unbounded(case: &Case<'_>) -> Option<String> {
    let reg = case.reg_or_value();
    Some(format!(
        "{reg} has no upper bound on this path: test it against a constant (`if (i >= N) return 0;`) or mask it (`i &= N - 1`, N a power of two) right before the access"
    ))
}

fn outside(case: &Case<'_>) -> Option<String> {
    let reg = case.reg_or_value();
    Some(format!(
        "the range of {reg} that the verifier knows reaches beyond the memory: test offset plus size against the memory's size, not the offset alone"
    ))
}

fn map_value(case: &Case<'_>) -> Option<String> {
    let (value, off, size) =
        (case.number("value_size=")?, case.number("off=")?, case.number(" size=")?);
    if off < 0 {
        return Some(format!("the access starts {} bytes before the map's value", -off));
    }
    let last = off.checked_add(size)?.checked_sub(1)?;
    let reaches = match last == off {
        true => format!("byte {off}"),
        false => format!("bytes {off} to {last}"),
    };
    Some(format!(
        "the access reaches {reaches} (the first is 0) of a map value of {value}: compare the program's struct with the map's value_size, or test the index first"
    ))
}

fn mem_size(case: &Case<'_>) -> Option<String> {
    let (have, off, size) =
        (case.number("mem_size=")?, case.number("off=")?, case.number(" size=")?);
    let end = off.checked_add(size)?;
    Some(format!("the access covers bytes {off} to {end}, the memory has {have}"))
}

fn uninit_stack(_: &Case<'_>) -> Option<String> {
    Some("bytes of a local variable are read that this path never wrote: initialise all of it (`= {}`), padding included (`__builtin_memset`)".into())
}

fn stack_range(_: &Case<'_>) -> Option<String> {
    Some("a function's stack is the 512 bytes below R10: test the index of a local array against its length before the access".into())
}

fn stack_size(case: &Case<'_>) -> Option<String> {
    let max = case.env.limits.max_bpf_stack;
    Some(format!(
        "all functions of a call chain share {max} bytes of stack, each rounded up to 32: move large local variables to a value of a BPF_MAP_TYPE_PERCPU_ARRAY"
    ))
}

fn ctx_access(case: &Case<'_>) -> Option<String> {
    let prog_type = case.input.prog_type;
    let (off, size) = (case.number("off=")?, case.number("size=")?);
    let info = case.env.prog_info(prog_type)?;
    let class = case.insn().map(|i| i.class());
    let stores = matches!(class, Some(stylet_insn::opcode::ST | stylet_insn::opcode::STX));
    if stores && !info.ctx_writable(case.env.features) {
        let target = case.env.target();
        return Some(format!(
            "programs of type {prog_type} may not write their context on {target}"
        ));
    }
    if off < info.ctx_start.into() || off.checked_add(size)? > info.ctx_size.into() {
        let (start, end) = (info.ctx_start, info.ctx_size);
        return Some(format!(
            "the context of a {prog_type} program that may be read is bytes {start} to {end}"
        ));
    }
    (off % size.max(1) != 0).then(|| format!("the context is read at offsets that are multiples of the access's size; {off} is no multiple of {size}"))
}

fn modified_ctx(_: &Case<'_>) -> Option<String> {
    Some("the context is read only at constant offsets from R1: read the field into a variable first, and do not index the context by a variable".into())
}

fn misaligned(_: &Case<'_>) -> Option<String> {
    Some("this memory is accessed only at multiples of the access's size: read it in smaller parts, or copy it to the stack first".into())
}

fn rdonly_map(_: &Case<'_>) -> Option<String> {
    Some("the map was made with BPF_F_RDONLY_PROG (.rodata is): programs may not write it; a variable that programs change must not be `const`".into())
}

fn wronly_map(_: &Case<'_>) -> Option<String> {
    Some("the map was made with BPF_F_WRONLY_PROG: programs may not read it".into())
}

fn rdonly_mem(_: &Case<'_>) -> Option<String> {
    Some("this memory is read-only to the program: copy it to the stack and change the copy".into())
}

fn tp_buffer(_: &Case<'_>) -> Option<String> {
    Some("the tracepoint's buffer is accessed at constant offsets from the pointer that args[0] holds; the kernel checks the largest one against the tracepoint's buffer when the program is attached".into())
}

fn frame_pointer(_: &Case<'_>) -> Option<String> {
    Some("R10 is the frame pointer and cannot be written: copy it to another register".into())
}

fn pointer_sum(_: &Case<'_>) -> Option<String> {
    Some("two pointers are added: subtract them, or add an offset to one of them".into())
}

fn pointer_bits(_: &Case<'_>) -> Option<String> {
    Some("bits of a pointer are changed: mask the offset before it is added to the pointer".into())
}

fn pointer_32(_: &Case<'_>) -> Option<String> {
    Some("a pointer is cut to 32 bits: keep it in a 64-bit variable (`void *`, `__u64`)".into())
}

fn pointer_arithmetic(case: &Case<'_>) -> Option<String> {
    let reg = case.reg_or_value();
    Some(format!(
        "{reg} points to something of which only the start may be named: nothing can be added to it"
    ))
}

fn leak(_: &Case<'_>) -> Option<String> {
    Some("a kernel address would become visible to user space: store a number instead, or load the program with CAP_PERFMON".into())
}
