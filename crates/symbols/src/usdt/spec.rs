//! `struct __bpf_usdt_spec`: the value of the map through which `usdt.bpf.h` learns where arguments are.

use super::{Arg, Loc};

/// Arguments that fit (`BPF_USDT_MAX_ARG_CNT`).
pub const MAX_ARGS: usize = 12;

/// `enum __bpf_usdt_arg_type`.
const ARG_CONST: u8 = 0;
const ARG_REG: u8 = 1;
const ARG_REG_DEREF: u8 = 2;
const ARG_SIB: u8 = 3;

/// Which layout the object was compiled with; the size of its map's values tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Before libbpf 1.7: 16 bytes an argument, no index registers.
    Plain,
    /// libbpf 1.7: 24 bytes an argument.
    Sib,
}

impl Layout {
    /// The layout of values of `value_size` bytes.
    pub fn of(value_size: u32) -> Option<Layout> {
        [Layout::Plain, Layout::Sib].into_iter().find(|l| l.size() == value_size as usize)
    }

    const fn arg_size(self) -> usize {
        match self {
            Layout::Plain => 16,
            Layout::Sib => 24,
        }
    }

    /// Bytes of a value: the arguments, the cookie, their count and padding.
    pub const fn size(self) -> usize {
        MAX_ARGS * self.arg_size() + 16
    }

    /// The value for a marker's arguments and the user's cookie.
    pub fn encode(self, args: &[Arg], cookie: u64) -> Result<Vec<u8>, &'static str> {
        if args.len() > MAX_ARGS {
            return Err("it has more than 12 arguments");
        }
        let mut out = vec![0; self.size()];
        for (arg, at) in args.iter().zip(out.chunks_exact_mut(self.arg_size())) {
            self.encode_arg(arg, at)?;
        }
        let tail = MAX_ARGS * self.arg_size();
        out[tail..tail + 8].copy_from_slice(&cookie.to_ne_bytes());
        out[tail + 8..tail + 10].copy_from_slice(&(args.len() as u16).to_ne_bytes());
        Ok(out)
    }

    fn encode_arg(self, arg: &Arg, at: &mut [u8]) -> Result<(), &'static str> {
        let (kind, value, reg, index) = match arg.loc {
            Loc::Const(value) => (ARG_CONST, value, 0, 0),
            Loc::Reg(reg) => (ARG_REG, 0, reg, 0),
            Loc::Deref { reg, offset } => (ARG_REG_DEREF, offset, reg, 0),
            Loc::Sib { base, index, shift, offset } => {
                (ARG_SIB, offset, base, index & 0xfff | u16::from(shift) << 12)
            }
        };
        if kind == ARG_SIB && self == Layout::Plain {
            return Err(
                "an argument is in memory at two registers, which the object's usdt.bpf.h \
                        (before libbpf 1.7) cannot express",
            );
        }
        // The bit fields before `reg_off` push it from byte 12 to 14 in the newer layout.
        let reg_off = if self == Layout::Plain { 12 } else { 14 };
        at[..8].copy_from_slice(&value.to_ne_bytes());
        at[8] = kind;
        if self == Layout::Sib {
            at[10..12].copy_from_slice(&index.to_ne_bytes());
        }
        at[reg_off..reg_off + 2].copy_from_slice(&reg.to_ne_bytes());
        at[reg_off + 2] = u8::from(arg.signed);
        at[reg_off + 3] = 64 - 8 * arg.size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_two_headers() {
        assert_eq!(Layout::of(208), Some(Layout::Plain));
        assert_eq!(Layout::of(304), Some(Layout::Sib));
        assert_eq!(Layout::of(200), None);
    }

    #[test]
    fn bytes() {
        let sib = Loc::Sib { base: 0x20, index: 0xabc, shift: 3, offset: -1 };
        let arg = Arg { size: 1, signed: true, loc: sib };
        // As clang lays the header's struct out for the BPF target.
        let want: [u8; 24] = [
            255, 255, 255, 255, 255, 255, 255, 255, 3, 0, 0xbc, 0x3a, 0, 0, 0x20, 0, 1, 56, 0, 0,
            0, 0, 0, 0,
        ];
        assert_eq!(Layout::Sib.encode(&[arg], 7).unwrap()[..24], want);
        assert!(Layout::Plain.encode(&[arg], 7).is_err());
        let reg = Arg { size: 4, signed: false, loc: Loc::Reg(0x70) };
        let plain = Layout::Plain.encode(&[reg], 7).unwrap();
        assert_eq!(plain[..16], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x70, 0, 0, 32]);
        assert_eq!(plain[192..202], [7, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert!(Layout::Sib.encode(&[reg; 13], 0).is_err());
    }
}
