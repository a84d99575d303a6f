//! What the tests here share.
#![allow(dead_code)]

use std::path::Path;

use stylet_kernel::{Feature, Kernel};
use stylet_object::{Options, Spec};
use stylet_uapi::ProgType;

/// The kernel, if it lets us load programs.
pub fn kernel() -> Option<Kernel> {
    let kernel = Kernel::open().unwrap();
    match kernel.require(Feature::ProgType(ProgType::SOCKET_FILTER)) {
        Ok(()) => Some(kernel),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// An object of the repository.
pub fn spec(path: &str) -> Spec {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let bytes = std::fs::read(full).unwrap();
    Spec::parse_with(&bytes, &Options { name: path, ..Options::default() }).unwrap()
}
