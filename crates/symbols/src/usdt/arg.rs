//! Where a marker's arguments are: operands in the assembler's syntax.

use crate::{Error, Result};
use stylet_uapi::PtRegs;

/// An argument of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// Whether it is sign-extended.
    pub signed: bool,
    /// Where it is.
    pub loc: Loc,
}

/// Where an argument is. Registers are byte offsets into `struct pt_regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loc {
    /// A constant.
    Const(i64),
    /// In a register.
    Reg(u16),
    /// In memory at a register plus an offset.
    Deref {
        /// Register.
        reg: u16,
        /// Bytes.
        offset: i64,
    },
    /// In memory at `base + (index << shift) + offset`.
    Sib {
        /// Base register.
        base: u16,
        /// Index register.
        index: u16,
        /// Power of two of the scale.
        shift: u8,
        /// Bytes.
        offset: i64,
    },
}

/// Parses a marker's arguments (x86-64, AT&T syntax): `SIZE@OPERAND`, separated by blanks.
///
/// Floating point (`8f@%xmm0`) and operands relative to a symbol (`8@x(%rip)`) are refused by name: no register of the
/// context holds them, and libbpf refuses them as well.
pub fn parse_args(text: &str) -> Result<Vec<Arg>> {
    let mut rest = text.trim();
    let mut args = Vec::new();
    while !rest.is_empty() {
        // An operand holds a blank only inside its brackets.
        let mut depth = 0usize;
        let end = rest.find(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c.is_ascii_whitespace() && depth == 0
        });
        let (one, tail) = rest.split_at(end.unwrap_or(rest.len()));
        args.push(parse_arg(one)?);
        rest = tail.trim_start();
    }
    Ok(args)
}

fn parse_arg(text: &str) -> Result<Arg> {
    let bad = |why| Error::BadMarkerArg { text: text.to_owned(), why };
    let (size, operand) = text.split_once('@').ok_or_else(|| bad("expected SIZE@OPERAND"))?;
    if size.ends_with('f') {
        return Err(bad("floating-point arguments cannot be read"));
    }
    let size: i8 = size.trim().parse().map_err(|_| bad("the size is no number"))?;
    if !matches!(size.unsigned_abs(), 1 | 2 | 4 | 8) {
        return Err(bad("the size is not 1, 2, 4 or 8"));
    }
    let loc = operand_at(operand.trim()).map_err(bad)?;
    Ok(Arg { size: size.unsigned_abs(), signed: size < 0, loc })
}

fn operand_at(text: &str) -> std::result::Result<Loc, &'static str> {
    if let Some(constant) = text.strip_prefix('$') {
        return Ok(Loc::Const(number(constant).ok_or("the constant is no number")?));
    }
    if let Some(name) = text.strip_prefix('%') {
        return register(name).map(Loc::Reg);
    }
    let (offset, inner) = text.split_once('(').ok_or("unknown operand")?;
    let inner = inner.strip_suffix(')').ok_or("unbalanced brackets")?;
    let offset = match offset.trim() {
        "" => 0,
        text => number(text).ok_or("operands relative to a symbol cannot be read")?,
    };
    let mut parts = inner.split(',').map(str::trim);
    let base = named(parts.next().unwrap_or_default())?;
    let Some(index) = parts.next() else {
        return Ok(Loc::Deref { reg: base, offset });
    };
    let shift = match parts.next() {
        None | Some("1") => 0,
        Some("2") => 1,
        Some("4") => 2,
        Some("8") => 3,
        Some(_) => return Err("the scale is not 1, 2, 4 or 8"),
    };
    Ok(Loc::Sib { base, index: named(index)?, shift, offset })
}

fn named(text: &str) -> std::result::Result<u16, &'static str> {
    register(text.strip_prefix('%').ok_or("a register is missing")?)
}

/// Fields of `struct pt_regs` that are no operand.
const OTHER: [&str; 5] = ["orig_ax", "ip", "cs", "flags", "ss"];

/// Byte offset of a register of any width in `struct pt_regs`.
fn register(name: &str) -> std::result::Result<u16, &'static str> {
    let field = match name {
        "rip" | "eip" => "ip",
        "rax" | "eax" | "ax" | "al" => "ax",
        "rbx" | "ebx" | "bx" | "bl" => "bx",
        "rcx" | "ecx" | "cx" | "cl" => "cx",
        "rdx" | "edx" | "dx" | "dl" => "dx",
        "rsi" | "esi" | "si" | "sil" => "si",
        "rdi" | "edi" | "di" | "dil" => "di",
        "rbp" | "ebp" | "bp" | "bpl" => "bp",
        "rsp" | "esp" | "sp" | "spl" => "sp",
        name => name.strip_suffix(['d', 'w', 'b']).unwrap_or(name),
    };
    match PtRegs::FIELDS.iter().position(|f| *f == field) {
        Some(i) if !OTHER.contains(&name) => Ok(8 * i as u16),
        _ => Err("a register that the context does not hold"),
    }
}

/// A C number: decimal, or hexadecimal after `0x`, maybe negative.
fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { (value as i64).wrapping_neg() } else { value as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DI: u16 = 14 * 8;
    const BP: u16 = 4 * 8;

    #[test]
    fn operands() {
        let arg = |size, signed, loc| Arg { size, signed, loc };
        for (text, want) in [
            ("-4@%edi", arg(4, true, Loc::Reg(DI))),
            ("8@%rdi", arg(8, false, Loc::Reg(DI))),
            ("1@%dil", arg(1, false, Loc::Reg(DI))),
            ("2@%r10w", arg(2, false, Loc::Reg(7 * 8))),
            ("4@%r8d", arg(4, false, Loc::Reg(9 * 8))),
            ("-4@$-9", arg(4, true, Loc::Const(-9))),
            ("8@$0xffffffffffffffff", arg(8, false, Loc::Const(-1))),
            ("-4@-1204(%rbp)", arg(4, true, Loc::Deref { reg: BP, offset: -1204 })),
            ("8@(%rbp)", arg(8, false, Loc::Deref { reg: BP, offset: 0 })),
            (
                "-1@-96(%rbp,%rax,8)",
                arg(1, true, Loc::Sib { base: BP, index: 80, shift: 3, offset: -96 }),
            ),
            (
                "8@(%rbp, %rdi)",
                arg(8, false, Loc::Sib { base: BP, index: DI, shift: 0, offset: 0 }),
            ),
        ] {
            assert_eq!(parse_args(text).unwrap(), [want], "{text}");
        }
        assert_eq!(parse_args("-4@%edi 8@-96(%rbp, %rax, 8)  4@$1 ").unwrap().len(), 3);
        assert!(parse_args("").unwrap().is_empty());
    }

    #[test]
    fn refused() {
        for text in [
            "4",
            "4@",
            "3@%rdi",
            "x@%rdi",
            "8f@%xmm0",
            "8@%xmm0",
            "8@x(%rip)",
            "8@x+8(%rip)",
            "8@%r16",
            "8@%r8dw",
            "8@%cs",
            "8@%ss",
            "8@%flags",
            "8@(%rbp",
            "8@8(,%rax,8)",
            "8@(%rbp,%rax,3)",
            "8@$",
            "8@$x",
            "-128@%rdi",
            "@",
        ] {
            assert!(matches!(parse_args(text), Err(Error::BadMarkerArg { .. })), "{text}");
        }
    }
}
