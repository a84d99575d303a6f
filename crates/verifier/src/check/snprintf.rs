//! Format strings that are known before the program runs (`check_bpf_snprintf_call`,
//! `bpf_bprintf_prepare`).

use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Res};

impl Verifier<'_> {
    /// The format and number of arguments of `bpf_snprintf`.
    pub(crate) fn check_snprintf_call(&mut self) -> Res<()> {
        let len = self.reg(5).bounds.var_off.value;
        if !len.is_multiple_of(8) {
            return Err(Reject::inval(Kind::Silent));
        }
        let fmt = *self.reg(3);
        let Some(fmt) = self.const_str(&fmt) else {
            return Err(Reject::bug("format is no constant string"));
        };
        match count_specs(fmt) {
            Some(specs) if specs as u64 <= len / 8 => Ok(()),
            _ => Err(Reject::inval(Kind::InvalidFormat)),
        }
    }
}

/// Number of arguments that a format takes; `None` when it is not allowed.
fn count_specs(fmt: &[u8]) -> Option<usize> {
    let at = |i: usize| fmt.get(i).copied().unwrap_or(0);
    let ends_word =
        |c: u8| c == 0 || c.is_ascii_whitespace() || c == 0x0b || c.is_ascii_punctuation();
    let (mut i, mut specs) = (0, 0);
    while i < fmt.len() {
        let c = at(i);
        if !(c.is_ascii_graphic() || c == b' ' || c.is_ascii_whitespace() || c == 0x0b) {
            return None;
        }
        if c != b'%' {
            i += 1;
            continue;
        }
        if at(i + 1) == b'%' {
            i += 2;
            continue;
        }
        specs += 1;
        i += 1;
        while matches!(at(i), b'0' | b'+' | b'-' | b' ') {
            i += 1;
        }
        while at(i).is_ascii_digit() {
            i += 1;
        }
        i = match at(i) {
            b'p' => pointer_spec(at, ends_word, i)?,
            b's' => ends_word(at(i + 1)).then_some(i)?,
            b'c' => i,
            _ => integer_spec(at, i)?,
        } + 1;
    }
    Some(specs)
}

/// Last byte of a `%p…` specifier.
fn pointer_spec(
    at: impl Fn(usize) -> u8,
    ends_word: impl Fn(u8) -> bool,
    i: usize,
) -> Option<usize> {
    match (at(i + 1), at(i + 2)) {
        (c, _) if ends_word(c) => Some(i),
        (b'k' | b'u', b's') => ends_word(at(i + 3)).then_some(i + 2),
        (b'K' | b'x' | b's' | b'S' | b'B', _) => Some(i + 1),
        (b'i' | b'I', b'4' | b'6') => Some(i + 2),
        _ => None,
    }
}

/// Last byte of an integer specifier.
fn integer_spec(at: impl Fn(usize) -> u8, mut i: usize) -> Option<usize> {
    for _ in 0..2 {
        if at(i) == b'l' {
            i += 1;
        }
    }
    matches!(at(i), b'i' | b'd' | b'u' | b'x' | b'X').then_some(i)
}

#[cfg(test)]
mod tests {
    use super::count_specs;

    #[test]
    fn counts_arguments() {
        for (fmt, specs) in [
            ("", 0),
            ("a%%b", 0),
            ("%d %s", 2),
            ("%-08llx|", 1),
            ("%pI4 %pks", 2),
            ("%p", 1),
            ("%c%c", 2),
        ] {
            assert_eq!(count_specs(fmt.as_bytes()), Some(specs), "{fmt}");
        }
    }

    #[test]
    fn refuses_what_the_kernel_does() {
        for fmt in ["%", "%z", "%sx", "%pz", "%pI5", "\u{80}", "%lllx", "%f"] {
            assert_eq!(count_specs(fmt.as_bytes()), None, "{fmt}");
        }
    }
}
