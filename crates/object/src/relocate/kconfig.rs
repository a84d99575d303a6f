//! Values of `__kconfig` externs (`bpf_object__resolve_externs`, `set_kcfg_value_*`).

use alloc::string::{String, ToString};

use crate::error::ExternFault;
use crate::relocate::Target;
use crate::spec::{ExternSpec, KconfigType, KconfigVar};

/// `enum libbpf_tristate`
const TRI_NO: u64 = 0;
const TRI_YES: u64 = 1;
const TRI_MODULE: u64 = 2;

/// Writes the value of a kconfig extern into the contents of the `.kconfig` map.
pub(crate) fn fill(
    ext: &ExternSpec,
    var: &KconfigVar,
    target: &Target<'_>,
    contents: &mut [u8],
) -> Result<(), ExternFault> {
    let start = var.offset as usize;
    let Some(place) = contents.get_mut(start..start + var.size as usize) else {
        return Err(ExternFault::KconfigType);
    };
    if ext.name.starts_with("CONFIG_") {
        return match (target.kconfig)(&ext.name) {
            Some(text) => parse(var, &text, place).ok_or_else(|| unsuitable(var, text)),
            None if ext.weak => Ok(()),
            None => Err(ExternFault::NotSet),
        };
    }
    let value = match ext.name.as_str() {
        "LINUX_KERNEL_VERSION" => u64::from(target.kernel_version),
        "LINUX_HAS_BPF_COOKIE" => u64::from(target.has_bpf_cookie),
        "LINUX_HAS_SYSCALL_WRAPPER" => u64::from(target.has_syscall_wrapper),
        // An unknown virtual value is zero for those who can do without.
        name if name.starts_with("LINUX_") && ext.weak => 0,
        _ => return Err(ExternFault::Virtual),
    };
    number(var, value, place).ok_or_else(|| unsuitable(var, value.to_string()))
}

fn unsuitable(var: &KconfigVar, value: String) -> ExternFault {
    ExternFault::Value { value, ty: var.ty, size: var.size }
}

/// Text of `.config`: `y`, `n`, `m`, a string in quotes, or a number in C's notation.
fn parse(var: &KconfigVar, text: &str, place: &mut [u8]) -> Option<()> {
    match text.as_bytes().first()? {
        b'y' | b'n' | b'm' => tristate(var, text.as_bytes()[0], place),
        b'"' => string(var, text, place),
        _ => {
            let value = unsigned(text)?;
            matches!(var.ty, KconfigType::Int | KconfigType::Char).then_some(())?;
            number(var, value, place)
        }
    }
}

fn tristate(var: &KconfigVar, letter: u8, place: &mut [u8]) -> Option<()> {
    let value = match (var.ty, letter) {
        (KconfigType::Bool, b'm') => return None,
        (KconfigType::Bool, _) => u64::from(letter == b'y'),
        (KconfigType::Char, _) => u64::from(letter),
        (KconfigType::Tristate, b'y') => TRI_YES,
        (KconfigType::Tristate, b'm') => TRI_MODULE,
        (KconfigType::Tristate, _) => TRI_NO,
        _ => return None,
    };
    write(value, place)
}

/// A string loses its quotes, and its end when the array is too short for it.
fn string(var: &KconfigVar, text: &str, place: &mut [u8]) -> Option<()> {
    if var.ty != KconfigType::CharArray {
        return None;
    }
    let text = text.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let len = text.len().min(place.len().checked_sub(1)?);
    place.fill(0);
    place[..len].copy_from_slice(&text[..len]);
    Some(())
}

fn number(var: &KconfigVar, value: u64, place: &mut [u8]) -> Option<()> {
    let is_number = matches!(var.ty, KconfigType::Int | KconfigType::Char | KconfigType::Bool);
    let fits = match var.size * 8 {
        64 => true,
        bits if var.signed => value.wrapping_add(1 << (bits - 1)) < 1 << bits,
        bits => value >> bits == 0,
    };
    if !is_number || !fits || (var.ty == KconfigType::Bool && value > 1) {
        return None;
    }
    write(value, place)
}

fn write(value: u64, place: &mut [u8]) -> Option<()> {
    place.copy_from_slice(value.to_le_bytes().get(..place.len())?);
    Some(())
}

/// `strtoull` with an automatic base over the whole text.
fn unsigned(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let value = match hex {
        Some(hex) => u64::from_str_radix(hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    let value = value.ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(ty: KconfigType, size: u32, signed: bool, text: &str) -> Option<[u8; 4]> {
        let mut place = [0; 4];
        let var = KconfigVar { ty, offset: 0, size, align: 1, signed };
        parse(&var, text, &mut place[..size as usize]).map(|()| place)
    }

    #[test]
    fn values() {
        assert_eq!(value(KconfigType::Bool, 1, false, "y"), Some([1, 0, 0, 0]));
        assert_eq!(value(KconfigType::Bool, 1, false, "m"), None);
        assert_eq!(value(KconfigType::Bool, 1, false, "1"), None);
        assert_eq!(value(KconfigType::Tristate, 4, false, "m"), Some([2, 0, 0, 0]));
        assert_eq!(value(KconfigType::Char, 1, true, "m"), Some([b'm', 0, 0, 0]));
        assert_eq!(value(KconfigType::Int, 4, true, "0x10"), Some([16, 0, 0, 0]));
        assert_eq!(value(KconfigType::Int, 2, true, "-1"), Some([255, 255, 0, 0]));
        assert_eq!(value(KconfigType::Int, 2, false, "-1"), None);
        assert_eq!(value(KconfigType::Int, 2, true, "32768"), None);
        assert_eq!(value(KconfigType::Int, 4, true, "y"), None);
        assert_eq!(value(KconfigType::CharArray, 4, false, "\"ab\""), Some([b'a', b'b', 0, 0]));
        assert_eq!(
            value(KconfigType::CharArray, 4, false, "\"abcdef\""),
            Some([b'a', b'b', b'c', 0])
        );
        assert_eq!(value(KconfigType::CharArray, 4, false, "\"ab"), None);
    }
}
