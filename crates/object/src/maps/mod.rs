//! Maps: how each kind of definition is read.

pub(crate) mod btf;
pub(crate) mod data;
pub(crate) mod legacy;
pub(crate) mod values;
