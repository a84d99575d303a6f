//! Functions' bounds by unwind tables, which stripped files have too.

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindSection};
use object::Endianness;
use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use std::ops::Range;

/// Copies of `.eh_frame_hdr` and `.eh_frame` with their addresses.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    hdr: (u64, Vec<u8>),
    frame: (u64, Vec<u8>),
}

impl Frames {
    /// Of a little-endian 64-bit file; `None` if it has no table that can be searched.
    pub fn of<H: FileHeader<Endian = Endianness>>(
        endian: Endianness,
        data: &[u8],
        sections: &SectionTable<'_, H>,
    ) -> Option<Frames> {
        let section = |name: &[u8]| {
            let (_, section) = sections.section_by_name(endian, name)?;
            let bytes = section.data(endian, data).ok().filter(|b| !b.is_empty())?;
            Some((section.sh_addr(endian).into(), bytes.to_vec()))
        };
        let fits = size_of::<H::Word>() == 8 && endian == Endianness::Little;
        fits.then_some(())?;
        Some(Frames { hdr: section(b".eh_frame_hdr")?, frame: section(b".eh_frame")? })
    }

    /// The piece of code around an address that has unwind information of its own: a function, or a part of one that the
    /// compiler has moved away.
    pub fn bounds_at(&self, vaddr: u64) -> Option<Range<u64>> {
        let bases =
            BaseAddresses::default().set_eh_frame_hdr(self.hdr.0).set_eh_frame(self.frame.0);
        let hdr = EhFrameHdr::new(&self.hdr.1, LittleEndian).parse(&bases, 8).ok()?;
        let frame = EhFrame::new(&self.frame.1, LittleEndian);
        let table = hdr.table()?;
        let fde = table.fde_for_address(&frame, &bases, vaddr, EhFrame::cie_from_offset).ok()?;
        let start = fde.initial_address();
        Some(start..start.checked_add(fde.len())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElfImage;
    use object::elf::FileHeader64;

    #[test]
    fn bounds_are_those_of_symbols() {
        let exe = std::env::current_exe().unwrap();
        let data = std::fs::read(&exe).unwrap();
        let header = FileHeader64::<Endianness>::parse(&*data).unwrap();
        let endian = header.endian().unwrap();
        let sections = header.sections(endian, &*data).unwrap();
        let frames = Frames::of(endian, &data, &sections).unwrap();
        let image = ElfImage::parse(&data, &exe).unwrap();
        let sized = image.funcs().iter().filter(|f| f.size > 0);
        let same = |f: &&crate::Func| frames.bounds_at(f.vaddr) == Some(f.vaddr..f.vaddr + f.size);
        let (all, same) = (sized.clone().count(), sized.filter(same).count());
        assert!(all > 1000 && same * 10 > all * 9, "{same} of {all}");
        assert_eq!(frames.bounds_at(1), None);
    }
}
