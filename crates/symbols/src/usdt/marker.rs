//! Notes of `.note.stapsdt`.

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader, SectionTable};

/// `n_type` of a marker's note (`NT_STAPSDT` of systemtap's sys/sdt.h).
const NT_STAPSDT: u32 = 3;

/// One place of a USDT marker; a marker that was inlined has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Provider.
    pub provider: String,
    /// Name.
    pub name: String,
    /// Arguments as the assembler wrote them: `-4@%edi 8@-16(%rbp)`.
    pub args: String,
    /// Address of the `nop` in the file's own address space.
    pub vaddr: u64,
    /// Address of the 16-bit semaphore, 0 if there is none.
    pub semaphore: u64,
}

/// All markers of a file; a damaged note ends the list.
///
/// Addresses are corrected by how far prelink moved `.stapsdt.base` since the note was written.
pub(crate) fn markers<H: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    data: &[u8],
    sections: &SectionTable<'_, H>,
) -> Vec<Marker> {
    let base = sections.section_by_name(endian, b".stapsdt.base");
    let base: Option<u64> = base.map(|(_, section)| section.sh_addr(endian).into());
    let word = if size_of::<H::Word>() == 8 { 8 } else { 4 };
    let mut found = Vec::new();
    for section in sections.iter() {
        let named = sections.section_name(endian, section).is_ok_and(|n| n == b".note.stapsdt");
        if !named || section.sh_type(endian) != elf::SHT_NOTE {
            continue;
        }
        let Ok(Some(mut notes)) = section.notes(endian, data) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"stapsdt" && note.n_type(endian) == NT_STAPSDT {
                found.extend(marker(endian, word, note.desc(), base));
            }
        }
    }
    found
}

fn marker(endian: Endianness, word: usize, desc: &[u8], base: Option<u64>) -> Option<Marker> {
    let address = |i: usize| {
        let bytes = desc.get(i * word..(i + 1) * word)?;
        let little = endian == Endianness::Little;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
    };
    let (vaddr, linked, semaphore) = (address(0)?, address(1)?, address(2)?);
    let moved = base.map_or(0, |base| base.wrapping_sub(linked));
    let mut texts = desc[3 * word..].split(|&b| b == 0);
    let mut text = || Some(String::from_utf8_lossy(texts.next()?).into_owned());
    Some(Marker {
        provider: text()?,
        name: text()?,
        args: text()?,
        vaddr: vaddr.wrapping_add(moved),
        semaphore: if semaphore == 0 { 0 } else { semaphore.wrapping_add(moved) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note() {
        let mut desc = Vec::new();
        for word in [0x1000u64, 0x5000, 0x9000] {
            desc.extend(word.to_le_bytes());
        }
        desc.extend(b"app\0start\0-4@%edi\0");
        let got = marker(Endianness::Little, 8, &desc, Some(0x5010)).unwrap();
        assert_eq!((got.vaddr, got.semaphore), (0x1010, 0x9010));
        assert_eq!((&*got.provider, &*got.name, &*got.args), ("app", "start", "-4@%edi"));
        for len in 0..desc.len() {
            let _ = marker(Endianness::Little, 8, &desc[..len], None);
        }
    }
}
