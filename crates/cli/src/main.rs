//! The command `stylet`.
fn main() {}
