//! The kernel backend: BPF programs in the kernel, through bpf(2).

mod attach;
mod find;
mod held;
mod once;
mod process;
mod read;
mod session;

pub use find::{KernelObject, Selector, find};
pub use held::{
    HeldLink, HeldMap, HeldProg, KernelSymbols, btf, dump, links, maps, prog_type_of, progs,
    read_map,
};
pub use session::{Loaded, Session};
pub use stylet_kernel::attach::Method;
pub use stylet_kernel::list::{HeldEvent, Holder, Holders, Kind, MapEntry, ProgEntry};
pub use stylet_kernel::sys::{DumpWish, FuncRecord, LineRecord, ProgDump};
pub use stylet_kernel::{Kernel, LinkDetails, LinkInfo};
