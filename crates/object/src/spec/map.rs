//! Maps of an object, as plain data.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use stylet_uapi::MapType;

/// Where a map comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// Declared by the program (`SEC(".maps")` or `SEC("maps")`).
    #[default]
    User,
    /// Constant data (`.rodata*`): read-only to programs, frozen before they load.
    Rodata,
    /// Initialised variables (`.data*`).
    Data,
    /// Zero-initialised variables (`.bss*`).
    Bss,
    /// Values of the kernel's configuration (`.kconfig`): as `.rodata`.
    Kconfig,
}

impl MapKind {
    /// Whether the map holds variables of the object instead of being declared as a map.
    pub fn is_internal(self) -> bool {
        self != MapKind::User
    }

    /// Whether the map is to be frozen once its contents are in place (`bpf_object__populate_internal_map`).
    pub fn is_frozen(self) -> bool {
        matches!(self, MapKind::Rodata | MapKind::Kconfig)
    }
}

/// Whether a map is pinned (`enum libbpf_pin_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pinning {
    /// Not pinned.
    #[default]
    None,
    /// Pinned under its name (`LIBBPF_PIN_BY_NAME`).
    ByName,
}

/// Initial value of a slot of a map of maps or a program array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotValue {
    /// Index into `Spec::maps`.
    Map(u32),
    /// Index into `Spec::progs`.
    Prog(u32),
}

/// A map to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapSpec {
    /// Name, whole (the kernel takes 15 bytes of it). Internal maps are named as libbpf names them.
    pub name: String,
    /// ELF section: `maps`, `.maps`, or the data section.
    pub section: String,
    /// Where the map comes from.
    pub kind: MapKind,
    /// Map type.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries as declared; for ring buffers bytes, not yet adjusted to pages.
    pub max_entries: u32,
    /// `BPF_F_*` of BPF_MAP_CREATE.
    pub map_flags: u32,
    /// NUMA node (counts with `BPF_F_NUMA_NODE` only).
    pub numa_node: u32,
    /// `map_extra` of BPF_MAP_CREATE.
    pub map_extra: u64,
    /// Pinning.
    pub pinning: Pinning,
    /// BTF type of the key, 0 when there is none.
    pub btf_key_type_id: u32,
    /// BTF type of the value, 0 when there is none; for data sections their `BTF_KIND_DATASEC`.
    pub btf_value_type_id: u32,
    /// Template of the inner maps of a map of maps.
    pub inner: Option<Box<MapSpec>>,
    /// Contents of a data section: `value_size` bytes. Empty for [`MapKind::User`].
    pub contents: Vec<u8>,
    /// Initial slots, ascending by slot.
    pub values: Vec<(u32, SlotValue)>,
}
