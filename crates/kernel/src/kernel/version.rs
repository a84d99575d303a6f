//! The running kernel's `LINUX_VERSION_CODE`.
//!
//! Releases of distributions (`4.19.0-21-amd64`) do not carry the patch level that kernels before 5.0 compare. The
//! kernel itself says it in a note of the vDSO (arch/x86/entry/vdso/vdso-note.S); failing that, distributions say it in
//! `/proc/version_signature` (Ubuntu) and `/proc/version` (Debian).

use std::fs::File;
use std::os::unix::fs::FileExt;

use stylet_catalog::Release;

/// `AT_SYSINFO_EHDR`: where the vDSO is.
const AT_SYSINFO_EHDR: u64 = 33;
/// Bytes of the vDSO that are looked at.
const VDSO_BYTES: usize = 4096;
const PT_NOTE: u32 = 4;

pub(super) fn code(release: Release, running: &str) -> u32 {
    vdso()
        .or_else(signature)
        .unwrap_or_else(|| from_text(running).unwrap_or(kernel_version(release, 0)))
}

fn kernel_version(release: Release, patch: u32) -> u32 {
    u32::from(release.major) << 16 | u32::from(release.minor) << 8 | patch.min(255)
}

/// `KERNEL_VERSION` of a text that starts with `major.minor.patch`.
fn from_text(text: &str) -> Option<u32> {
    let release: Release = text.parse().ok()?;
    let patch = text.splitn(3, '.').nth(2).unwrap_or("0");
    let end = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
    Some(kernel_version(release, patch[..end].parse().unwrap_or(0)))
}

/// Ubuntu: `Ubuntu 4.15.0-20.21-generic 4.15.17`; Debian: `... Debian 4.19.249-2 (2022-06-30)`.
fn signature() -> Option<u32> {
    if let Ok(text) = std::fs::read_to_string("/proc/version_signature") {
        return from_text(text.split_whitespace().nth(2)?);
    }
    let text = std::fs::read_to_string("/proc/version").ok()?;
    from_text(text.rsplit_once(" Debian ")?.1)
}

/// The note of owner `Linux` and type 0 in this process's vDSO.
fn vdso() -> Option<u32> {
    let auxv = std::fs::read("/proc/self/auxv").ok()?;
    let word = |bytes: &[u8]| Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?));
    let base = auxv
        .chunks_exact(16)
        .find(|pair| word(pair) == Some(AT_SYSINFO_EHDR))
        .and_then(|pair| word(&pair[8..]))?;
    let mut image = vec![0; VDSO_BYTES];
    let read = File::open("/proc/self/mem").ok()?.read_at(&mut image, base).ok()?;
    image.truncate(read);
    note(&image)
}

/// The version in the notes of a 64-bit ELF image.
fn note(image: &[u8]) -> Option<u32> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(image.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(image.get(at..at + 4)?.try_into().ok()?));
    let headers = u32_at(32)? as usize;
    for idx in 0..usize::from(u16_at(56)?) {
        let header = headers.checked_add(idx * usize::from(u16_at(54)?))?;
        if u32_at(header)? != PT_NOTE {
            continue;
        }
        let mut at = u32_at(header + 8)? as usize;
        let end = at.checked_add(u32_at(header + 32)? as usize)?;
        while at + 12 <= end {
            let (name_len, len) = (u32_at(at)? as usize, u32_at(at + 4)? as usize);
            let desc = at.checked_add(12)?.checked_add(name_len.checked_next_multiple_of(4)?)?;
            if u32_at(at + 8)? == 0 && image.get(at + 12..at + 12 + name_len)? == b"Linux\0" {
                return u32_at(desc);
            }
            at = desc.checked_add(len.checked_next_multiple_of(4)?)?;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_distributions() {
        assert_eq!(from_text("4.19.249-2 (2022-06-30)"), Some(4 << 16 | 19 << 8 | 249));
        assert_eq!(from_text("4.15.0-20-generic"), Some(4 << 16 | 15 << 8));
        // From 4.9.256 on the field holds no more.
        assert_eq!(from_text("4.9.337"), Some(4 << 16 | 9 << 8 | 255));
        assert_eq!(from_text("7.3-rc1"), Some(7 << 16 | 3 << 8));
        assert_eq!(from_text("linux"), None);
    }

    #[test]
    fn this_kernel_says_its_version_in_the_vdso() {
        let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let release: Release = text.trim().parse().unwrap();
        let Some(code) = vdso() else {
            eprintln!("skipped: this process has no vDSO, or may not read itself");
            return;
        };
        assert_eq!(code >> 8, kernel_version(release, 0) >> 8);
    }

    #[test]
    fn damaged_images_have_no_version() {
        let mut image = vec![0; 64];
        image[32] = 0xff;
        image[56] = 0xff;
        assert_eq!(note(&image), None);
        assert_eq!(note(&[]), None);
        assert_eq!(note(&vec![0xff; 4096]), None);
    }
}
