//! The static test program, and the initramfs that carries it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kernels::Kernel;

/// The target that is named explicitly, so that build scripts and macros stay dynamic.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds `crates/vmtest` as a static program; its path.
pub fn build(root: &Path) -> Result<PathBuf, String> {
    let status = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--package",
            "stylet-vmtest",
            "--profile",
            "guest",
            "--target",
            TARGET,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(root)
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if !status.success() {
        return Err("the test program does not build".into());
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("guest/stylet-vmtest"))
}

/// The initramfs: the program as `/init`, objects, modules, the kernel's configuration where a distribution puts it.
pub fn initramfs(
    root: &Path,
    kernel: &Kernel,
    binary: &Path,
    tests: &[String],
) -> Result<Vec<u8>, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let mut cpio = Cpio::default();
    for folder in ["boot", "dev", "etc", "modules", "objects", "proc", "root", "run", "sys", "tmp"]
    {
        cpio.add(folder, 0o040_755, (0, 0), &[]);
    }
    // Where messages go until devtmpfs is mounted.
    cpio.add("dev/console", 0o020_600, (5, 1), &[]);
    cpio.add("init", 0o100_755, (0, 0), &read(binary)?);
    cpio.add("etc/vmtest.tests", 0o100_644, (0, 0), tests.join("\n").as_bytes());
    if let Some(config) = &kernel.config {
        cpio.add("boot/config", 0o100_644, (0, 0), &read(config)?);
    }
    for module in &kernel.modules {
        cpio.add(&format!("modules/{}", file_name(module)), 0o100_644, (0, 0), &read(module)?);
    }
    let objects = root.join("filetests/kernel");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(objects)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    for object in paths.iter().filter(|p| file_name(p).ends_with(".bpf.o")) {
        cpio.add(&format!("objects/{}", file_name(object)), 0o100_644, (0, 0), &read(object)?);
    }
    Ok(cpio.finish())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// An archive in the format that the kernel unpacks: `newc`, see its `Documentation/driver-api/early-userspace/buffer-format`.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    /// Adds a file; `device` is the number of a device node.
    pub fn add(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.inode += 1;
        let size = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(b"070701");
        for field in [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    /// Names and contents end at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Cpio;

    #[test]
    fn newc() {
        let mut cpio = Cpio::default();
        cpio.add("a", 0o100_644, (0, 0), b"xyz");
        let bytes = cpio.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("07070100000001000081a4"), "{text}");
        assert!(text.contains("a\0xyz\0"), "{text}");
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"), "{text}");
    }
}
