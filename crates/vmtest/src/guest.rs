//! The machine that the tests run in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use stylet_kernel::{Feature, Kernel, Release};

use crate::test::Failure;

/// The machine that the tests run in; each test's process has its own copy.
pub struct Guest {
    kernel: &'static Kernel,
    config: HashMap<String, String>,
    /// Names, or parts of names, of the tests to run; empty: all.
    pub filters: Vec<String>,
}

impl Guest {
    /// Looks at the running kernel. `filters`: see the field.
    pub fn new(filters: Vec<String>) -> Result<Self, Failure> {
        // Lives as long as the process; what tests make of it may too.
        let kernel: &'static Kernel = Box::leak(Box::new(Kernel::open()?));
        let config = std::fs::read_to_string(format!("/boot/config-{}", kernel.running()))
            .unwrap_or_default();
        let config = config.lines().filter_map(|line| line.split_once('='));
        let config = config.map(|(name, value)| (name.into(), value.into())).collect();
        Ok(Self { kernel, config, filters })
    }

    /// The running kernel, as the library sees it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Finds out what most tests ask of the kernel, so that their processes inherit it instead of doing it each for itself:
    /// its types, symbols and features. Again before each test, which costs nothing unless the kernel's modules have changed.
    pub fn warm(&self) {
        let missing = [
            self.kernel.require_vmlinux().err(),
            self.kernel.symbols().err(),
            self.kernel.traceable().err(),
        ];
        missing.iter().flatten().for_each(|error| println!("vmtest: {error}"));
        for &feature in Feature::ALL {
            self.kernel.has(feature);
        }
    }

    /// The kernel's release.
    pub fn release(&self) -> Release {
        self.kernel.release()
    }

    /// The value of a configuration option (`CONFIG_BPF` → `y`), `None` if it is not set.
    pub fn config(&self, option: &str) -> Option<&str> {
        self.config.get(option).map(String::as_str)
    }

    /// The path of the program under test: this one. Uprobes on it hit the functions in [`crate::target`].
    pub fn exe(&self) -> PathBuf {
        std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/init".into())
    }

    /// Bytes of `filetests/kernel/NAME.bpf.o`.
    pub fn object(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let path = format!("/objects/{name}.bpf.o");
        std::fs::read(&path).map_err(|e| Failure::Failed(format!("{path}: {e}")))
    }

    /// Loads a module of `/modules` (and first what it needs) with parameters as on `insmod`'s command line; nothing happens
    /// if it is loaded already.
    pub fn insmod(&self, name: &str, parameters: &str) -> Result<(), Failure> {
        if Path::new("/sys/module").join(name).exists() {
            return Ok(());
        }
        let path = format!("/modules/{name}.ko");
        let image = std::fs::read(&path).map_err(|e| Failure::Failed(format!("{path}: {e}")))?;
        for needed in depends(&image) {
            self.insmod(&needed, "")?;
        }
        let parameters =
            std::ffi::CString::new(parameters).map_err(|e| Failure::Failed(e.to_string()))?;
        rustix::system::init_module(&image, &parameters)
            .map_err(|e| Failure::Failed(format!("{path}: {e}")))
    }
}

/// The modules named by `depends=` in a module's `.modinfo` section.
fn depends(image: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = image.windows(key.len()).position(|w| w == key) else { return Vec::new() };
    let value = image[at + key.len()..].split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn depends_are_read() {
        assert_eq!(super::depends(b"x\0depends=libcrc32c,nbd\0y"), ["libcrc32c", "nbd"]);
        assert!(super::depends(b"x\0depends=\0y").is_empty());
    }
}
