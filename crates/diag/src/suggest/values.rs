//! Registers and return values.

use super::{Case, Rule};

pub(super) const RULES: &[Rule] = &[
    (&["R0 !read_ok"], no_return_value),
    (&["!read_ok"], unwritten),
    (&["At program exit the register R0"], return_range),
    (&["At program exit"], return_range),
    (&["At callback return"], callback_return),
    (&["division by zero"], division),
    (&["div by zero"], division),
    (&["invalid shift"], shift),
    (&["type=", "expected="], argument_type),
    (&["invalid zero-sized read"], zero_size),
    (&["invalid map_ptr"], map_pointer),
];

fn no_return_value(case: &Case<'_>) -> Option<String> {
    let exits = case.insn()?.code == stylet_insn::opcode::JMP | stylet_insn::opcode::EXIT;
    if !exits {
        return unwritten(case);
    }
    Some("the function ends without a value in R0 on this path: return a value, also from a program that nobody asks (`return 0;`)".into())
}

fn unwritten(case: &Case<'_>) -> Option<String> {
    let reg = case.reg()?;
    let number: u8 = reg[1..].parse().ok()?;
    Some(if (1..=5).contains(&number) {
        format!(
            "{reg} has no value here: nothing was written to it on this path, or a call has cleared it (R1 to R5 do not survive a call)"
        )
    } else {
        format!(
            "{reg} has no value here: give the variable one on every path that leads to this line"
        )
    })
}

fn return_range(case: &Case<'_>) -> Option<String> {
    let info = case.env.prog_info(case.input.prog_type)?;
    let (min, max) = info.return_range(case.input.expected_attach_type)?;
    let (prog, attach) = (case.input.prog_type, case.input.expected_attach_type);
    Some(if min == max {
        format!("a {prog} program attached as {attach} must return {min}")
    } else {
        format!(
            "a {prog} program attached as {attach} must return a value from {min} to {max}: test or mask what is returned"
        )
    })
}

fn callback_return(_: &Case<'_>) -> Option<String> {
    Some("a callback returns 0 to go on or 1 to stop; any other value must be excluded before it returns".into())
}

fn division(_: &Case<'_>) -> Option<String> {
    Some("the divisor is the constant 0".into())
}

fn shift(_: &Case<'_>) -> Option<String> {
    Some("a shift by a constant must be below the width of the operand: 64, or 32 for a 32-bit operation".into())
}

fn argument_type(case: &Case<'_>) -> Option<String> {
    let reg = case.reg()?;
    let got = word_after(case.message(), "type=")?;
    let wanted = case.message().split("expected=").nth(1)?.trim();
    if got.ends_with("_or_null") {
        return Some(format!("argument {reg} may be NULL: test it before the call"));
    }
    if got == "scalar" && wanted.contains("fp") {
        return Some(format!(
            "argument {reg} is a number where memory is expected: pass the address of a local variable or of a map's value"
        ));
    }
    (got == "scalar").then(|| format!("argument {reg} is a number where a pointer ({wanted}) is expected; a pointer that was read from memory as a number stays a number"))
}

fn word_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split(key).nth(1)?.split_whitespace().next()
}

fn zero_size(_: &Case<'_>) -> Option<String> {
    Some("the size may be 0 here and this helper does not take an empty buffer: test `if (!len) return 0;` before the call".into())
}

fn map_pointer(_: &Case<'_>) -> Option<String> {
    Some("the helper needs to know the map when the program is verified: pass `&map`, not a value computed at run time".into())
}
