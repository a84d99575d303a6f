//! What the compiler is told and what it gives: position-independent bytes and relocations.

/// A place outside the generated code that it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sym {
    /// Header of the map with this index (what a BPF map pointer is at run time).
    Map(u32),
    /// First byte of the value of an array map with one entry (`PSEUDO_MAP_IDX_VALUE`).
    MapValue(u32),
    /// Entry of a helper, by number.
    Helper(u32),
    /// Entry of a kfunc, by BTF id in the target's BTF.
    Kfunc(u32),
}

/// A 32-bit RIP-relative field: `field = address(sym) + addend - (address(field) + 4)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloc {
    /// Offset of the four-byte field in [`Code::text`].
    pub at: u32,
    /// What it refers to.
    pub sym: Sym,
    /// Added to the address of `sym`.
    pub addend: i32,
}

/// How a helper is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperImpl {
    /// Near call of `Sym::Helper(id)`.
    Call,
    /// Near call of `Sym::Helper(n)` with this number instead of the helper's own: an implementation that is made for the
    /// map at hand.
    CallAs(u32),
    /// The result is the u64 at this offset of the run context.
    LoadRunCtx64(i32),
    /// The result is the zero-extended u32 at this offset of the run context.
    LoadRunCtx32(i32),
    /// `bpf_tail_call`: the prog array has entries of i64 at `values_off` from the map header, 0 for empty, else
    /// (code address - map header address); the u32 entry count is at `max_entries_off`, the u32 count of tail
    /// calls so far at `count_off` of the run context.
    TailCall {
        /// Offset of the first entry from the map header.
        values_off: i32,
        /// Offset of the entry count from the map header.
        max_entries_off: i32,
        /// Offset of the count in the run context.
        count_off: i32,
    },
    /// `bpf_map_lookup_elem` on this map is an array lookup: values of `elem_size` bytes at `values_off` from the map
    /// header, `max_entries` of them.
    ArrayLookup {
        /// Offset of the first value from the map header.
        values_off: i32,
        /// Distance of two values in bytes.
        elem_size: u32,
        /// Number of values.
        max_entries: u32,
    },
}

/// Instruction set extensions of the machine that will run the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuFeatures {
    /// `shlx`, `shrx`, `sarx`.
    pub bmi2: bool,
}

impl CpuFeatures {
    /// Those of this machine.
    pub fn detect() -> CpuFeatures {
        #[cfg(target_arch = "x86_64")]
        return CpuFeatures { bmi2: std::is_x86_feature_detected!("bmi2") };
        #[cfg(not(target_arch = "x86_64"))]
        return CpuFeatures::default();
    }
}

/// Choices for one compilation.
pub struct Options<'a> {
    /// What the machine that will run the code offers; `CpuFeatures::default()` is every x86-64 machine.
    pub cpu: CpuFeatures,
    /// How to carry out helper `id`, called with the map of index `map` where the verifier knows it.
    pub helper: &'a dyn Fn(u32, Option<u32>) -> HelperImpl,
}

/// Generated code. Its entry (offset 0) has the System V ABI: `rdi..r8` are R1 to R5, `r9` is the run context, the
/// result is in `rax`; `rbx rbp r12..r15` are preserved. Helpers are called the same way.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// Machine code, position-independent once relocated.
    pub text: Vec<u8>,
    /// Fields to fill in when the place of the code is known.
    pub relocs: Vec<Reloc>,
    /// For each BPF slot the offset of its code; slots without code have that of the next.
    pub insn_offsets: Vec<u32>,
    /// The code uses `r9` (helper calls that take the run context, tail calls).
    pub uses_run_ctx: bool,
    /// The code calls helpers or kfuncs (or by tail call programs that may), which may touch vector registers and use
    /// more stack.
    pub has_calls: bool,
    /// Offsets of loads that may fault and the offset to continue at, destination zeroed (`MemKind::Probe`).
    pub fixups: Vec<(u32, u32)>,
}
