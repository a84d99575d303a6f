//! BTF values as JSON.

use serde_json::{Map, Value as Json};
use stylet_btf::Value;

/// Numbers that fit 64 bits are JSON numbers, enumerators their names, bytes a list of numbers, what is missing null.
pub fn to_json(value: &Value<'_>) -> Json {
    match value {
        Value::Int(v) => i64::try_from(*v).map_or_else(|_| Json::String(v.to_string()), Json::from),
        Value::UInt(v) => {
            u64::try_from(*v).map_or_else(|_| Json::String(v.to_string()), Json::from)
        }
        Value::Bool(v) => Json::from(*v),
        Value::Char(v) => Json::from(*v),
        Value::Float(v) => Json::from(*v),
        Value::Enum { name: Some(name), .. } => Json::from(*name),
        Value::Enum { val, .. } => Json::from(*val as i64),
        Value::Ptr(v) => Json::String(format!("{v:#x}")),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Struct(members) => Json::Object(
            members.iter().map(|(n, v)| ((*n).to_owned(), to_json(v))).collect::<Map<_, _>>(),
        ),
        Value::Str(text) => Json::from(*text),
        Value::Bytes(bytes) => Json::from(bytes.to_vec()),
        Value::Missing => Json::Null,
    }
}

/// The value of an integer of any kind.
pub fn as_integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(v) => Some(*v),
        Value::UInt(v) => i128::try_from(*v).ok(),
        _ => None,
    }
}

/// Bytes as people read them: `de ad be ef`.
pub fn hex(bytes: &[u8]) -> String {
    let words: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    words.join(" ")
}
