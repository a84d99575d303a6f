//! Setting an object's global variables before it is loaded.

use super::Object;
use crate::Error;
use stylet_btf::{Btf, Type, TypeId};
use stylet_object::MapKind;

/// Where a global variable lies.
struct Global {
    map: usize,
    offset: usize,
    size: usize,
    ty: TypeId,
}

impl Object {
    /// Gives a global variable (`const volatile`, `.data` or `.bss`) its initial value from text: a decimal, hexadecimal or
    /// negative integer, `true`/`false`, an enumerator's name, or a string for an array of `char`.
    ///
    /// # Errors
    /// [`Error::NoSuchGlobal`], or [`Error::GlobalValue`] when the text does not fit the variable's type.
    pub fn set_global(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let btf = self.spec.btf.clone().unwrap_or_default();
        let Some(global) = self.find_global(&btf, name) else {
            return Err(Error::NoSuchGlobal {
                object: self.path.clone(),
                name: name.to_owned(),
                known: self.global_names(),
            });
        };
        let refuse = |reason: String| Error::GlobalValue {
            name: name.to_owned(),
            value: text.to_owned(),
            reason,
        };
        let bytes = encode(&btf, global.ty, global.size, text).map_err(refuse)?;
        let contents = &mut self.spec.maps[global.map].contents;
        match contents.get_mut(global.offset..global.offset + global.size) {
            Some(place) => place.copy_from_slice(&bytes),
            None => return Err(refuse("the variable lies outside its section".into())),
        }
        Ok(())
    }

    /// Names of all global variables that can be set.
    pub fn global_names(&self) -> Vec<String> {
        let btf = self.spec.btf.clone().unwrap_or_default();
        let mut names = Vec::new();
        for map in self.spec.maps.iter().filter(|m| is_settable(m.kind)) {
            for_each_var(&btf, map.btf_value_type_id, |name, _, _, _| names.push(name.to_owned()));
        }
        names
    }

    fn find_global(&self, btf: &Btf, wanted: &str) -> Option<Global> {
        let mut found = None;
        for (index, map) in self.spec.maps.iter().enumerate().filter(|(_, m)| is_settable(m.kind)) {
            for_each_var(btf, map.btf_value_type_id, |name, offset, size, ty| {
                if name == wanted {
                    found = Some(Global { map: index, offset, size, ty });
                }
            });
        }
        found
    }
}

fn is_settable(kind: MapKind) -> bool {
    matches!(kind, MapKind::Rodata | MapKind::Data | MapKind::Bss)
}

/// Calls `each(name, offset, size, type)` for every variable of a BTF_KIND_DATASEC.
pub fn for_each_var<'b>(
    btf: &'b Btf,
    datasec: TypeId,
    mut each: impl FnMut(&'b str, usize, usize, TypeId),
) {
    let Some(Type::DataSec(section)) = btf.type_by_id(datasec) else { return };
    for var in section.vars() {
        if let Some(Type::Var(v)) = btf.type_by_id(var.ty) {
            each(btf.name(v.name_off), var.offset as usize, var.size as usize, v.ty);
        }
    }
}

/// The bytes of `text` as a value of type `ty`, little-endian.
fn encode(btf: &Btf, ty: TypeId, size: usize, text: &str) -> Result<Vec<u8>, String> {
    let ty = btf.skip_mods_and_typedefs(ty);
    match btf.type_by_id(ty) {
        Some(Type::Int(int)) if int.is_bool => {
            let value = match text {
                "true" | "1" => 1,
                "false" | "0" => 0,
                _ => return Err("expected true or false".into()),
            };
            Ok(vec![value])
        }
        Some(Type::Int(int)) => integer(text, size, int.signed),
        Some(Type::Enum(e)) => {
            let named = e.values().find(|v| btf.name(v.name_off) == text).map(|v| v.value);
            named.map_or_else(
                || integer(text, size, e.signed),
                |v| Ok(v.to_le_bytes()[..size].to_vec()),
            )
        }
        Some(Type::Enum64(e)) => {
            let named = e.values().find(|v| btf.name(v.name_off) == text).map(|v| v.value);
            named.map_or_else(
                || integer(text, size, e.signed),
                |v| Ok(v.to_le_bytes()[..size].to_vec()),
            )
        }
        Some(Type::Array(array)) if is_char(btf, array.elem) => {
            let mut bytes = text.as_bytes().to_vec();
            if bytes.len() >= size {
                return Err(format!("longer than {} bytes", size.saturating_sub(1)));
            }
            bytes.resize(size, 0);
            Ok(bytes)
        }
        _ => Err("only integers, booleans, enums and character arrays can be set".into()),
    }
}

fn is_char(btf: &Btf, ty: TypeId) -> bool {
    matches!(btf.type_by_id(btf.skip_mods_and_typedefs(ty)), Some(Type::Int(i)) if i.size == 1)
}

fn integer(text: &str, size: usize, signed: bool) -> Result<Vec<u8>, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse::<i128>(),
    };
    let value = magnitude.map_err(|_| "expected an integer".to_string())?;
    let value = if negative { -value } else { value };
    let bits = 8 * size as u32;
    if !(1..=8).contains(&size) {
        return Err(format!("integers of {size} bytes can not be set"));
    }
    let (low, high) = if signed {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    };
    if value < low || value > high {
        return Err(format!("expected an integer from {low} to {high}"));
    }
    Ok(value.to_le_bytes()[..size].to_vec())
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn integers_are_range_checked() {
        assert_eq!(integer("255", 1, false), Ok(vec![255]));
        assert_eq!(integer("-1", 2, true), Ok(vec![255, 255]));
        assert_eq!(integer("0x10", 4, false), Ok(vec![16, 0, 0, 0]));
        assert!(integer("256", 1, false).is_err());
        assert!(integer("-1", 8, false).is_err());
        assert!(integer("128", 1, true).is_err());
        assert!(integer("ten", 4, true).is_err());
    }
}
