//! Programs with the shapes that real ones have: spills, bounds refined by branches, loops, calls, callbacks, map
//! values, ring-buffer records, dynptrs, iterators and packets, each mostly right and sometimes not.
//!
//! What a kernel and this verifier say of them is compared by `tests/kernel.rs`.

mod emit;
mod flow;
mod numbers;
mod shape;
mod small;
mod things;

use arbitrary::{Result, Unstructured};
use stylet_btf::builder::{BtfBuilder, IntEncoding};
use stylet_btf::{Btf, FuncLinkage};
use stylet_catalog::{Env, Release};
use stylet_insn::Insn;
use stylet_uapi::{MapType, ProgType};
use stylet_verifier::{FuncInfo, MapDef, ProgInput};

pub use emit::Kfuncs;

/// A generated program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Type.
    pub prog_type: ProgType,
    /// Slots; maps are named by `PSEUDO_MAP_IDX*` with an index into [`maps`].
    pub insns: Vec<Insn>,
    /// Starts of functions other than the first, ascending; those that are global have `true`.
    pub funcs: Vec<(u32, bool)>,
}

/// The maps that programs name by index.
pub fn maps() -> Vec<MapDef> {
    let map = |name: &str, map_type, key_size, value_size, max_entries| MapDef {
        name: name.into(),
        map_type,
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    };
    vec![
        map("array", MapType::ARRAY, 4, emit::VALUE_SIZE, 1),
        map("hash", MapType::HASH, 8, emit::VALUE_SIZE, 8),
        map("ring", MapType::RINGBUF, 0, 0, 4096),
        map("progs", MapType::PROG_ARRAY, 4, 4, 2),
        map("percpu", MapType::PERCPU_ARRAY, 4, emit::VALUE_SIZE, 2),
    ]
}

/// Makes a program that may call the kfuncs of `kfuncs`.
pub fn program(u: &mut Unstructured<'_>, kfuncs: &Kfuncs) -> Result<Program> {
    shape::program(u, kfuncs)
}

impl Program {
    /// BTF that names the functions, and where they start: callbacks and global functions need it.
    ///
    /// # Panics
    /// Never: so small a BTF can be built.
    pub fn btf(&self) -> (Vec<u8>, Vec<FuncInfo>) {
        let mut btf = BtfBuilder::new();
        let int = btf.int("int", 4, IntEncoding::Signed);
        let none = btf.func_proto(int, &[]);
        let numbers = btf.func_proto(int, &[("a", int), ("b", int)]);
        let main = btf.func("main", FuncLinkage::Global, none);
        let mut info = vec![FuncInfo { insn_idx: 0, type_id: main }];
        for (n, (insn_idx, global)) in self.funcs.iter().enumerate() {
            let (linkage, proto) =
                if *global { (FuncLinkage::Global, numbers) } else { (FuncLinkage::Static, none) };
            let type_id = btf.func(&format!("fn{n}"), linkage, proto);
            info.push(FuncInfo { insn_idx: *insn_idx, type_id });
        }
        (btf.to_bytes().expect("a BTF of few types"), info)
    }
}

/// What the verifier is to be told of a program, apart from its BTF.
pub fn input<'a>(
    program: &'a Program,
    maps: &'a [MapDef],
    btf: &'a Btf,
    func_info: &'a [FuncInfo],
) -> ProgInput<'a> {
    ProgInput {
        name: "main",
        prog_type: program.prog_type,
        license: "GPL",
        insns: &program.insns,
        maps,
        btf: Some(btf),
        func_info,
        ..ProgInput::default()
    }
}

/// The body of the fuzz target: whatever the shape, the verifier ends with a verdict.
pub fn verdicts(u: &mut Unstructured<'_>) -> Result<()> {
    let program = program(u, &Kfuncs::default())?;
    let (raw, func_info) = program.btf();
    let btf = Btf::parse(&raw).expect("our own BTF");
    let mut env = Env::kernel(Release::V6_18);
    env.limits.complexity_limit_insns = 20_000;
    crate::verifier::check(&env, &input(&program, &maps(), &btf, &func_info));
    Ok(())
}
