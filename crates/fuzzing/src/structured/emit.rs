//! The program under construction.

use arbitrary::{Result, Unstructured};
use stylet_btf::{Btf, Kind};
use stylet_insn::{Insn, opcode::*};
use stylet_uapi::{HelperId, ProgType};

/// Bytes of every map's value.
pub const VALUE_SIZE: u32 = 64;

/// Where functions keep what they need, relative to the frame pointer.
pub mod slot {
    /// A key of 8 bytes.
    pub const KEY: i16 = -8;
    /// First of three numbers, the others below it.
    pub const NUMBERS: i16 = -16;
    /// The context.
    pub const CTX: i16 = -40;
    /// A ring-buffer record.
    pub const RECORD: i16 = -48;
    /// Loop counters: two.
    pub const COUNTER: i16 = -56;
    /// Dynptrs of 16 bytes.
    pub const DYNPTRS: [i16; 2] = [-80, -96];
    /// Iterators of 8 bytes.
    pub const ITERS: [i16; 2] = [-104, -112];
    /// A buffer of 32 bytes.
    pub const BUFFER: i16 = -144;
}

/// Bytes of the buffer.
pub const BUFFER_SIZE: i32 = 32;

/// Indices of [`super::maps`].
pub mod map {
    pub const ARRAY: i32 = 0;
    pub const HASH: i32 = 1;
    pub const RING: i32 = 2;
    pub const PROGS: i32 = 3;
    pub const PERCPU: i32 = 4;
}

macro_rules! kfuncs {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// BTF ids of kfuncs in the target; 0 where it has none.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Kfuncs {
            $(#[doc = concat!("`", $name, "`")] pub $field: u32,)*
        }

        impl Kfuncs {
            /// Those of a kernel's BTF.
            pub fn of(btf: &Btf) -> Kfuncs {
                let id = |name| btf.find_by_name_kind(name, Kind::Func).unwrap_or(0);
                Kfuncs { $($field: id($name),)* }
            }
        }
    };
}

kfuncs! {
    iter_num_new = "bpf_iter_num_new",
    iter_num_next = "bpf_iter_num_next",
    iter_num_destroy = "bpf_iter_num_destroy",
    dynptr_adjust = "bpf_dynptr_adjust",
    dynptr_clone = "bpf_dynptr_clone",
    dynptr_is_null = "bpf_dynptr_is_null",
    dynptr_is_rdonly = "bpf_dynptr_is_rdonly",
    dynptr_size = "bpf_dynptr_size",
    dynptr_slice = "bpf_dynptr_slice",
    dynptr_slice_rdwr = "bpf_dynptr_slice_rdwr",
    rcu_read_lock = "bpf_rcu_read_lock",
    rcu_read_unlock = "bpf_rcu_read_unlock",
    preempt_disable = "bpf_preempt_disable",
    preempt_enable = "bpf_preempt_enable",
}

/// A function other than the main one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Called with a number, the value and a pointer to the caller's buffer.
    Static,
    /// Called with two numbers; verified on its own.
    Global,
    /// `bpf_loop`'s: a number and a pointer to two numbers of the caller.
    Loop,
    /// `bpf_for_each_map_elem`'s: map, key, value, a pointer to two numbers of the caller.
    ForEach,
}

/// What a function can do at the place that is generated now.
pub struct Gen<'a, 'b> {
    pub u: &'a mut Unstructured<'b>,
    pub kfuncs: Kfuncs,
    pub prog_type: ProgType,
    pub insns: Vec<Insn>,
    /// Jumps to the end of this function.
    pub to_end: Vec<usize>,
    /// Slots that call or name a function, with its number.
    pub calls: Vec<(usize, usize)>,
    /// Functions that were called.
    pub roles: Vec<Role>,
    /// The function that is generated; none for the main one.
    pub role: Option<Role>,
    /// Bytes that may be accessed at `r6`.
    pub reach: i32,
    /// References and sections that the code here holds: no way out before they end.
    pub held: u32,
    /// Dynptr and iterator slots in use.
    pub busy: (usize, usize),
}

impl Gen<'_, '_> {
    pub fn push(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    pub fn extend(&mut self, insns: impl IntoIterator<Item = Insn>) {
        self.insns.extend(insns);
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u32) -> Result<u32> {
        self.u.int_in_range(0..=n - 1)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Result<T> {
        self.u.choose(of).copied()
    }

    /// Whether to do something wrong.
    pub fn slip(&mut self) -> Result<bool> {
        self.u.ratio(1, 40u8)
    }

    /// A register that holds a number.
    pub fn number(&mut self) -> Result<u8> {
        self.pick(&[7, 8, 9])
    }

    pub fn size(&mut self) -> Result<u8> {
        self.pick(&[DW, DW, DW, W, H, B])
    }

    pub fn imm(&mut self) -> Result<i32> {
        Ok(match self.below(4)? {
            0 => self.u.arbitrary()?,
            1 => self.u.int_in_range(-2..=128)?,
            _ => self.pick(&[0, 1, 7, 15, 31, 32, 63, 64, 65, 127, -1, -64])?,
        })
    }

    /// A conditional jump to the function's end; over nothing where something is held.
    pub fn leave(&mut self, insn: Insn) -> Result<()> {
        if self.held == 0 || self.slip()? {
            self.to_end.push(self.insns.len());
        }
        self.push(insn);
        Ok(())
    }

    /// `reg` = frame pointer + `off`
    pub fn address(&mut self, reg: u8, off: i16) {
        self.extend([Insn::mov64_reg(reg, 10), Insn::alu64_imm(ADD, reg, off.into())]);
    }

    pub fn map(&mut self, reg: u8, index: i32) {
        self.extend(Insn::ld_map_idx(reg, index));
    }

    /// A call; `r0` and the numbers live on.
    pub fn helper(&mut self, id: HelperId) {
        self.push(Insn::call(id));
    }

    pub fn kfunc(&mut self, id: u32) {
        self.push(Insn::call_kfunc(id as i32, 0));
    }

    /// `reg` = the context; only the main function has one.
    pub fn ctx(&mut self, reg: u8) {
        self.push(Insn::ldx(DW, reg, 10, slot::CTX));
    }

    /// Completes the jump at `at`, so that it goes to what comes next.
    pub fn land(&mut self, at: usize) {
        self.insns[at].off = (self.insns.len() - at - 1) as i16;
    }

    /// Offset of a jump that is emitted next and goes to `start`.
    pub fn back(&self, start: usize) -> i16 {
        (start as i64 - self.insns.len() as i64 - 1) as i16
    }
}
