//! What can be wrong with a program. `Display` gives the kernel's text, which people search for.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::regs::TypeName;
use crate::tnum::Tnum;

/// A piece of memory with a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Region {
    /// Key of a map.
    MapKey,
    /// Value of a map.
    MapValue,
    /// Other memory.
    Memory,
}

impl Region {
    fn sized(self, size: u32) -> Sized {
        Sized(self, size)
    }
}

struct Sized(Region, u32);

impl fmt::Display for Sized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Region::MapKey => write!(f, "map key, key_size={}", self.1),
            Region::MapValue => write!(f, "map value, value_size={}", self.1),
            Region::Memory => write!(f, "memory, mem_size={}", self.1),
        }
    }
}

/// Register types that an argument takes, and the kernel's list of them.
#[derive(Debug)]
pub(crate) struct Expected {
    pub types: &'static [TypeName],
    pub text: &'static str,
}

struct Off(Tnum);

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_const() { write!(f, "{}", self.0.value as i64) } else { self.0.fmt(f) }
    }
}

struct Limit(&'static str, Option<i64>);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.map_or(Ok(()), |v| write!(f, " {}={v}", self.0))
    }
}

fn unknown(smin: &Option<i64>, smax: &Option<i64>) -> &'static str {
    if smin.is_none() && smax.is_none() { " unknown scalar value" } else { "" }
}

fn graph_root(list: bool) -> &'static str {
    if list { "bpf_list_head" } else { "bpf_rb_root" }
}

fn graph_node(list: bool) -> &'static str {
    if list { "bpf_list_node" } else { "bpf_rb_node" }
}

/// What is wrong. Fields are the numbers of the message; `reg` is a register number.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum RejectionKind {
    // This verifier's own.
    #[error("not supported yet: {what}")]
    NotSupportedYet { what: String },
    #[error("verifier bug: {what}")]
    VerifierBug { what: &'static str },
    /// The kernel refuses without a word.
    #[error("")]
    Silent,
    #[error("the program has no map number {index}")]
    UnknownMap { index: i32 },
    #[error("programs of type {prog_type} cannot be loaded here")]
    NoProgType { prog_type: stylet_uapi::ProgType },
    #[error("programs of type {prog_type} have no expected attach type {attach_type}")]
    NoAttachType { prog_type: stylet_uapi::ProgType, attach_type: stylet_uapi::AttachType },
    #[error(
        "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable"
    )]
    CannotSleep,
    #[error("the program has {count} instructions")]
    InsnCount { count: u32 },

    /// A refusal and the message that went before it.
    #[error("{note}\n{kind}")]
    Noted { note: String, kind: Box<RejectionKind> },

    // Control flow.
    #[error("call to invalid destination")]
    CallInvalidDestination,
    #[error("too many subprograms")]
    TooManySubprogs,
    #[error("jump out of range from insn {from} to {to}")]
    JumpOutOfRange { from: u32, to: i64 },
    #[error("last insn is not an exit or jmp")]
    LastInsnNotExit,
    #[error("unreachable insn {insn}")]
    UnreachableInsn { insn: u32 },
    #[error("jump into the middle of ldimm64 insn {insn}")]
    JumpIntoLdimm64 { insn: u32 },
    #[error("infinite loop detected at insn {insn}")]
    InfiniteLoop { insn: u32 },
    #[error("The sequence of {count} jumps is too complex.")]
    TooManyJumps { count: u32 },
    #[error("BPF program is too large. Processed {processed} insn")]
    TooLarge { processed: u64 },
    #[error("invalid insn idx {insn}")]
    InvalidInsnIdx { insn: u32 },
    #[error("the call stack of {frames} frames is too deep")]
    CallStackTooDeep { frames: u32 },
    #[error("the call stack of {frames} frames is too deep !")]
    CallChainTooDeep { frames: u32 },
    #[error(
        "tail_calls are not allowed when call stack of previous frames is {bytes} bytes. Too large"
    )]
    TailCallStack { bytes: u32 },
    #[error("stack size of subprog {subprog} is {bytes}. Too large")]
    SubprogStack { subprog: u32, bytes: u32 },
    #[error("combined stack size of {calls} calls is {bytes}. Too large")]
    CombinedStack { calls: u32, bytes: u32 },

    #[error("{what} is not allowed in subprogs without BTF")]
    AbnormalReturnWithoutBtf { what: &'static str },
    #[error("{what} is only allowed in functions that return 'int'.")]
    AbnormalReturn { what: &'static str },
    // What programs attach to.
    #[error("Tracing programs must provide btf_id")]
    NoAttachBtfId,
    #[error("programs of type {prog_type} attach to nothing that has BTF id {id}")]
    AttachesByNoId { prog_type: stylet_uapi::ProgType, id: u32 },
    #[error("{name} is no iterator")]
    NotAnIterator { name: String },
    #[error("{name} has no prototype")]
    NoPrototype { name: String },
    #[error("attach_btf_id {id} {what}")]
    AttachBtfId { id: u32, what: String },
    #[error("The function {name} {what}")]
    TracedFunction { name: String, what: String },
    #[error("{name} is not sleepable")]
    NotSleepable { name: String },
    #[error("{name}() is not modifiable")]
    NotModifiable { name: String },
    #[error("Attaching tracing programs to function '{name}' is rejected.")]
    AttachDenied { name: String },
    #[error("Attaching fexit/fsession/fmod_ret to __noreturn function '{name}' is rejected.")]
    AttachNoReturn { name: String },
    #[error("LSM programs must have a GPL compatible license")]
    LsmNeedsGpl,

    // Encoding.
    #[error("{insn} uses reserved fields")]
    ReservedFields { insn: &'static str },
    #[error("invalid BPF_ALU opcode {opcode:x}")]
    InvalidAluOpcode { opcode: u8 },
    #[error("invalid BPF_JMP/JMP32 opcode {opcode:x}")]
    InvalidJmpOpcode { opcode: u8 },
    #[error("invalid may_goto imm {imm}")]
    InvalidMayGoto { imm: i32 },
    #[error("unknown opcode {code:02x}")]
    UnknownOpcode { code: u8 },
    #[error("invalid bpf_ld_imm64 insn")]
    InvalidLdImm64,
    #[error("unrecognized bpf_ld_imm64 insn")]
    UnrecognizedLdImm64,
    #[error("BPF_LD_[ABS|IND] instructions not allowed for this program type")]
    LdAbsNotAllowed,
    #[error("invalid BPF_LD mode")]
    InvalidLdMode,
    #[error("direct value offset of {off} is not allowed")]
    DirectValueOffset { off: u32 },
    #[error("no direct value access support for this map type")]
    NoDirectValueAccess,
    #[error("invalid access to map value pointer, value_size={value_size} off={off}")]
    InvalidDirectValue { value_size: u32, off: u32 },
    #[error("div by zero")]
    DivByZero,
    #[error("invalid shift {shift}")]
    InvalidShift { shift: i32 },
    #[error("invalid atomic operand size")]
    InvalidAtomicSize,
    #[error("BPF_ATOMIC uses invalid atomic opcode {imm:02x}")]
    InvalidAtomicOpcode { imm: i32 },
    #[error("missing btf func_info")]
    MissingFuncInfo,
    #[error("callback function not static")]
    CallbackNotStatic,

    // Registers and arithmetic.
    #[error("R{reg} is invalid")]
    InvalidRegister { reg: u8 },
    #[error("R{reg} !read_ok")]
    NotReadOk { reg: u8 },
    #[error("frame pointer is read only")]
    FramePointerReadOnly,
    #[error("R{reg} pointer {op} pointer prohibited")]
    PointerOpPointer { reg: u8, op: &'static str },
    #[error("R{reg} 32-bit pointer arithmetic prohibited")]
    PointerArith32 { reg: u8 },
    #[error("R{reg} pointer arithmetic on {ptr} prohibited, null-check it first")]
    PointerArithMaybeNull { reg: u8, ptr: TypeName },
    #[error("R{reg} pointer arithmetic on {ptr} prohibited")]
    PointerArithProhibited { reg: u8, ptr: TypeName },
    #[error("R{reg} tried to subtract pointer from scalar")]
    SubtractPointerFromScalar { reg: u8 },
    #[error("R{reg} subtraction from stack pointer prohibited")]
    SubtractFromStackPointer { reg: u8 },
    #[error("R{reg} bitwise operator {op} on pointer prohibited")]
    BitwiseOnPointer { reg: u8, op: &'static str },
    #[error("R{reg} pointer arithmetic with {op} operator prohibited")]
    PointerOperator { reg: u8, op: &'static str },
    #[error("math between {ptr} pointer and {value} is not allowed")]
    MathWithConst { ptr: TypeName, value: i64 },
    #[error("{ptr} pointer offset {off} is not allowed")]
    PointerOffset { ptr: TypeName, off: i32 },
    #[error("math between {ptr} pointer and register with unbounded min value is not allowed")]
    MathUnbounded { ptr: TypeName },
    #[error("value {value} makes {ptr} pointer be out of bounds")]
    ValueOutOfBounds { ptr: TypeName, value: i64 },

    // Memory.
    #[error("same insn cannot be used with different pointers")]
    DifferentPointers,
    #[error("R{reg} invalid mem access '{ty}'")]
    InvalidMemAccess { reg: u8, ty: TypeName },
    #[error("R{reg} cannot write into {ty}")]
    CannotWriteInto { reg: u8, ty: TypeName },
    #[error("write to change key R{reg} not allowed")]
    WriteToMapKey { reg: u8 },
    #[error("misaligned {what}access off {}+{reg_off}+{off} size {size}", Off(*var_off))]
    Misaligned { what: &'static str, var_off: Tnum, reg_off: i32, off: i32, size: u32 },
    #[error(
        "R{reg} min value is negative, either use unsigned index or do a if (index >=0) check."
    )]
    MinValueNegativeIndex { reg: u8 },
    #[error("R{reg} unbounded memory access, make sure to bounds check any such access")]
    UnboundedMemoryAccess { reg: u8 },
    #[error("invalid access to {} off={off} size={size}\nR{reg} {end} value is outside of the allowed memory range", region.sized(*mem_size))]
    InvalidRegionAccess {
        region: Region,
        mem_size: u32,
        off: i32,
        size: i32,
        reg: u8,
        end: &'static str,
    },
    #[error("{what} map forbidden, value_size={value_size} off={off} size={size}")]
    MapForbidden { what: &'static str, value_size: u32, off: i32, size: i32 },
    #[error("{name} cannot be accessed directly by load/store")]
    FieldAccess { name: &'static str },
    #[error("{name} cannot be accessed indirectly by helper")]
    KptrByHelper { name: &'static str },
    #[error("{name} access cannot have variable offset")]
    KptrVariableOffset { name: &'static str },
    #[error("{name} access misaligned expected={expected} off={off}")]
    KptrMisaligned { name: &'static str, expected: u32, off: u64 },
    #[error("{name} access size must be BPF_DW")]
    KptrSize { name: &'static str },
    #[error("direct access to {name} is disallowed")]
    DirectFieldAccess { name: &'static str },
    #[error("kptr in map can only be accessed using BPF_MEM instruction mode")]
    KptrMode,
    #[error("store to {what} disallowed")]
    KptrStore { what: &'static str },
    #[error("BPF_ST imm must be 0 when storing to kptr at off={off}")]
    KptrStoreImm { off: u32 },
    /// `expected` with all that the field takes.
    #[error("invalid kptr access, R{reg} type={ty}{name} expected={expected}")]
    KptrBadType { reg: u8, ty: TypeName, name: Box<str>, expected: Box<str> },
    #[error("R{reg} has no valid kptr")]
    NoKptr { reg: u8 },
    #[error("off={off} doesn't point to kptr")]
    NotAtKptr { off: i32 },
    #[error("off={off} kptr isn't referenced kptr")]
    KptrWithoutReference { off: i32 },
    #[error("write into map forbidden")]
    WriteIntoMapForbidden,
    #[error("R{reg} invalid {what} buffer access: off={off}, size={size}")]
    BufferNegativeOffset { reg: u8, what: &'static str, off: i32, size: u32 },
    #[error("R{reg} invalid variable buffer offset: off={off}, var_off={var_off}")]
    BufferVariableOffset { reg: u8, off: i32, var_off: Tnum },
    #[error("invalid bpf_context access off={off} size={size}")]
    InvalidCtxAccess { off: i32, size: i32 },
    #[error("negative offset {ty} ptr R{reg} off={off} disallowed")]
    NegativeOffsetPointer { ty: TypeName, reg: u8, off: i32 },
    #[error("dereference of modified {ty} ptr R{reg} off={off} disallowed")]
    ModifiedPointer { ty: TypeName, reg: u8, off: i32 },
    #[error("variable {ty} access var_off={var_off} disallowed")]
    VariableAccess { ty: TypeName, var_off: Tnum },
    #[error("BPF_ST stores into R{reg} ctx is not allowed")]
    StoreIntoCtx { reg: u8 },
    #[error("BPF_ATOMIC {verb} R{reg} {ty} is not allowed")]
    AtomicOnPointer { verb: &'static str, reg: u8, ty: TypeName },

    // Kernel objects.
    #[error("Type '{name}' is not a struct")]
    NotAStruct { name: String },
    #[error("access beyond struct {struct_name} at off {off} size {size}")]
    BeyondStruct { struct_name: String, off: i64, size: u32 },
    #[error(
        "access beyond the end of member {field} (mend:{end}) in struct {struct_name} with off {off} size {size}"
    )]
    BeyondMember { field: Box<str>, end: i64, struct_name: Box<str>, off: i32, size: u32 },
    #[error(
        "cannot access ptr member {field} with moff {at} in struct {struct_name} with off {off} size {size}"
    )]
    PartOfPointer { field: Box<str>, at: i64, struct_name: Box<str>, off: i32, size: u32 },
    #[error("struct {struct_name} doesn't have field at offset {off}")]
    NoSuchField { struct_name: String, off: i64 },
    #[error("field {field} doesn't have size")]
    FieldWithoutSize { field: String },
    #[error("Cannot access kernel 'struct {struct_name}' from non-GPL compatible program")]
    ObjectNeedsGpl { struct_name: String },
    #[error("R{reg} is ptr_{struct_name} invalid variable offset: off={off}, var_off={var_off}")]
    ObjectVariableOffset { reg: u8, struct_name: String, off: i32, var_off: Tnum },
    #[error("R{reg} is ptr_{struct_name} {what}: off={off}")]
    ObjectAccess { reg: u8, struct_name: String, what: &'static str, off: i32 },
    #[error("no write support to {struct_name} at off {off}")]
    NoWriteSupport { struct_name: String, off: i32 },
    #[error("only read is supported")]
    OnlyReads,
    #[error("only read from {struct_name} is supported")]
    OnlyReadsFrom { struct_name: String },
    #[error("R{reg} is {struct_name} invalid negative access: off={off}")]
    MapNegativeAccess { reg: u8, struct_name: String, off: i32 },

    // Stack.
    #[error("invalid unbounded variable-offset{verb} stack R{reg}")]
    UnboundedStackOffset { verb: &'static str, reg: u8 },
    #[error("invalid{verb} stack R{reg} off={off} size={size}")]
    InvalidStackAccess { verb: &'static str, reg: u8, off: i64, size: i32 },
    #[error("invalid variable-offset{verb} stack R{reg} var_off={var_off} off={off} size={size}")]
    InvalidVarStackAccess { verb: &'static str, reg: u8, var_off: Tnum, off: i32, size: i32 },
    #[error(
        "variable offset stack pointer cannot be passed into helper function; var_off={var_off} off={off} size={size}"
    )]
    VariableStackToHelper { var_off: Tnum, off: i32, size: i32 },
    #[error("invalid size of register fill")]
    InvalidFillSize,
    #[error("invalid size of register spill")]
    InvalidSpillSize,
    #[error("cannot spill pointers to stack into stack frame of the caller")]
    SpillStackPointerToCaller,
    #[error("invalid zero-sized read")]
    ZeroSizedStackRead { reg: u8 },

    // Functions and exit.
    #[error("cannot return stack pointer to the caller")]
    ReturnStackPointer,
    #[error("R0 not a scalar value")]
    CallbackReturnNotScalar,
    #[error("{context} the register R{reg} has{}{}{} should have been in [{min}, {max}]", Limit("smin", *smin), Limit("smax", *smax), unknown(smin, smax))]
    ReturnValue {
        context: &'static str,
        reg: u8,
        smin: Option<i64>,
        smax: Option<i64>,
        min: i32,
        max: i32,
    },
    #[error("At subprogram exit the register R0 is not a scalar value ({ty})")]
    SubprogReturnNotScalar { ty: TypeName },
    #[error("{context} the register R{reg} is not a known value ({ty})")]
    ReturnNotKnown { context: &'static str, reg: u8, ty: TypeName },
    #[error("Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!")]
    CannotModifyVoid,
    #[error("Caller passes invalid args into func#{func} ('{name}')")]
    InvalidGlobalArgs { func: u32, name: String },
    #[error("Global functions need valid BTF")]
    GlobalNeedsBtf,
    #[error("Global function {name}() with {args} > {limit} args. Buggy compiler.")]
    GlobalTooManyArgs { name: String, args: u32, limit: u32 },
    #[error("Global function {name}() doesn't return scalar. Only those are supported.")]
    GlobalReturnsNoScalar { name: String },
    #[error("arg#{arg} has invalid combination of tags")]
    InvalidTagCombination { arg: u8 },
    #[error("arg#{arg} has unsupported set of tags")]
    UnsupportedTags { arg: u8 },
    #[error("arg#{arg} has pointer tag, but is not a pointer type")]
    TagOnNoPointer { arg: u8 },
    #[error("Arg#{arg} type {ty} in {name}() is not supported yet.")]
    GlobalArgUnsupported { arg: u8, ty: &'static str, name: String },
    #[error("arg#{arg} reference type('{name}') size cannot be determined: -22")]
    GlobalArgSize { arg: u8, name: String },
    #[error("arg#{arg} type doesn't have a name")]
    CtxTypeUnnamed { arg: u8 },
    #[error("arg#{arg} should be void pointer")]
    CtxShouldBeVoid { arg: u8 },
    #[error("arg#{arg} should be `struct {want} *`")]
    CtxShouldBe { arg: u8, want: &'static str },
    #[error("arg#{arg} expects pointer to ctx")]
    ExpectsCtx { arg: u8 },
    #[error("arg#{arg} is expected to be non-NULL")]
    ExpectedNonNull { arg: u8 },

    // Exceptions.
    #[error("exception cb only supports single integer argument")]
    ExceptionCbArgs,
    #[error("insn {insn} cannot call exception cb directly")]
    ExceptionCbCalled { insn: u32 },
    #[error("bpf_throw kfunc (insn {insn}) cannot be called from callback subprog {subprog}")]
    ThrowFromCallback { insn: u32, subprog: u32 },
    #[error("multiple exception callback tags for main subprog")]
    ManyExceptionCbs,
    #[error("exception callback '{name}' could not be found in BTF")]
    ExceptionCbNotFound { name: String },
    #[error("exception callback '{name}' must have global linkage")]
    ExceptionCbNotGlobal { name: String },
    #[error("exception callback type id not found in func_info")]
    ExceptionCbNoFuncInfo,
    #[error("invalid exception callback insn_off in func_info: 0")]
    ExceptionCbIsMain,

    // References.
    #[error(
        "Unreleased reference id={id} alloc_insn={alloc_insn}\n{what} would lead to reference leak"
    )]
    UnreleasedReference { id: u32, alloc_insn: u32, what: &'static str },
    #[error("R{reg} must be referenced when passed to release function")]
    MustBeReferenced { reg: u8 },
    #[error("more than one arg with ref_obj_id R{reg} {id} {other}")]
    TwoReferences { reg: u8, id: u32, other: u32 },
    #[error("R{reg} must have zero offset when passed to release func or trusted arg to kfunc")]
    ReleaseWithOffset { reg: u8 },
    #[error("func {helper}#{id} reference has not been acquired before")]
    NotAcquired { helper: &'static str, id: u32 },

    // Packets and sockets.
    #[error("cannot write into packet")]
    CannotWriteIntoPacket,
    #[error("R{reg} offset is outside of the packet")]
    OutsidePacket { reg: u8 },
    #[error("invalid access to flow keys off={off} size={size}")]
    InvalidFlowKeysAccess { off: i32, size: u32 },
    #[error("R{reg} invalid {ty} access off={off} size={size}")]
    InvalidSockAccess { reg: u8, ty: TypeName, off: i32, size: u32 },
    #[error("helper access to the packet is not allowed")]
    HelperPacketAccess,
    #[error("at the time of BPF_LD_ABS|IND R6 != pointer to skb")]
    LdAbsNeedsSkb,

    // Helpers.
    #[error("helper call is not allowed in probe")]
    NotInProbe,
    #[error("Possibly NULL pointer passed to helper arg{arg}")]
    NullToHelper { arg: u8 },
    #[error("R{reg} is of type {have} but {want} is expected")]
    HelperObject { reg: u8, have: String, want: &'static str },
    #[error("{helper}() may write into memory pointed by R{reg} type={ty}")]
    HelperMayWrite { helper: &'static str, reg: u8, ty: TypeName },
    #[error("get_local_storage() doesn't support non-zero flags")]
    LocalStorageFlags,
    #[error("cannot update sockmap in this context")]
    CannotUpdateSockmap,
    #[error("invalid arg_type for sockmap/sockhash")]
    SockmapArg,
    #[error("expected prog array map for tail call")]
    ExpectedProgArray,
    #[error("Syscall programs can only be sleepable")]
    SyscallNotSleepable,
    #[error("invalid func unknown#{id}")]
    InvalidFunc { id: i32 },
    #[error("program of this type cannot use helper {helper}#{id}")]
    HelperNotAllowed { helper: &'static str, id: u32 },
    #[error("cannot call GPL-restricted function from non-GPL compatible program")]
    GplRestricted,
    #[error("helper call might sleep in a non-sleepable prog")]
    MightSleep,
    #[error("cannot pass map_type {map_type} into func {helper}#{id}")]
    MapTypeForHelper { map_type: u32, helper: &'static str, id: u32 },
    #[error("Sleepable programs can only use array, hash, ringbuf and local storage maps")]
    MapNotForSleepable,
    #[error("callback function not allowed for map")]
    NoCallbackForMap,
    #[error("R{reg} type={ty} expected={expected}")]
    ArgType { reg: u8, ty: TypeName, expected: &'static str },
    #[error("R{reg} type={ty} expected=fp")]
    HelperMemType { reg: u8, ty: TypeName },
    #[error("invalid map_ptr to access map->{what}")]
    InvalidMapPtr { what: &'static str },
    #[error("R{reg} min value is negative, either use unsigned or 'var &= const'")]
    SizeMinNegative { reg: u8 },
    #[error("R{reg} invalid zero-sized read: u64=[{umin},{umax}]")]
    InvalidZeroSizedRead { reg: u8, umin: u64, umax: u64 },
    #[error("R{reg} unbounded memory access, use 'var &= const' or 'if (var < const)'")]
    SizeUnbounded { reg: u8 },
    #[error("R{reg} is not a known constant'")]
    NotKnownConstant { reg: u8 },
    #[error("R{reg} does not point to a readonly map'")]
    NotReadOnlyMap { reg: u8 },
    #[error("R{reg} is not a constant address'")]
    NotConstantAddress { reg: u8 },
    #[error("string is not zero-terminated")]
    StringNotTerminated,
    #[error("Invalid format string")]
    InvalidFormat,
    #[error("sleepable helper {helper}#{id} in {region}")]
    HelperSleepsInRegion { helper: &'static str, id: u32, region: &'static str },

    // Kernel functions.
    #[error("cannot call kernel function from non-GPL compatible program")]
    KfuncGplRestricted,
    #[error("too many different kernel function calls")]
    TooManyKfuncs,
    #[error("kernel btf_id {btf_id} is not a function")]
    NotAFunction { btf_id: u32 },
    #[error("calling kernel function {name} is not allowed")]
    KfuncNotAllowed { name: String },
    #[error("program must be sleepable to call sleepable kfunc {name}")]
    KfuncSleeps { name: String },
    #[error("kernel func {name} is sleepable within {region}")]
    KfuncSleepsInRegion { name: String, region: &'static str },
    #[error("kfunc {name}#{btf_id} reference has not been acquired before")]
    KfuncNotAcquired { name: String, btf_id: u32 },
    #[error("Function {name} has {args} > {limit} args")]
    TooManyArgs { name: String, args: u32, limit: u32 },
    #[error("Unrecognized arg#{arg} type {ty}")]
    UnrecognizedArg { arg: u8, ty: &'static str },
    #[error("R{reg} is not a scalar")]
    NotAScalar { reg: u8 },
    #[error("R{reg} must be a known constant")]
    MustBeKnownConstant { reg: u8 },
    #[error("R{reg} is not a const")]
    NotAConst { reg: u8 },
    #[error("R{reg} rdonly/rdwr_buf_size exceeds u32 max")]
    BufSizeTooLarge { reg: u8 },
    #[error("Possibly NULL pointer passed to trusted arg{arg}")]
    PossiblyNullArg { arg: u8 },
    #[error("pointer in R{reg} isn't map pointer")]
    NotAMapPointer { reg: u8 },
    #[error("R{reg} must be referenced or trusted")]
    MustBeTrusted { reg: u8 },
    #[error("R{reg} must be a rcu pointer")]
    MustBeRcu { reg: u8 },
    #[error("kernel function {name} args#{arg} pointer type {target} is not supported")]
    KfuncPointerUnsupported { name: String, arg: u8, target: String },
    #[error("arg#{arg} pointer type {target} must point to {or_void}scalar, or struct with scalar")]
    MustPointToScalar { arg: u8, target: String, or_void: &'static str },
    #[error("arg#{arg} expected pointer to ctx, but got {ty}")]
    ExpectedCtx { arg: u8, ty: TypeName },
    #[error("arg#{arg} doesn't point to a const string")]
    NotAConstString { arg: u8 },
    #[error(
        "kernel function {name} args#{arg} expected pointer to {want} but R{reg} has a pointer to {have}"
    )]
    ExpectedObject { name: Box<str>, arg: u8, want: Box<str>, reg: u8, have: Box<str> },
    #[error("arg#{arg} is {ty} expected {want} or socket")]
    ExpectedObjectOrSocket { arg: u8, ty: TypeName, want: TypeName },
    #[error("arg{arg} expected pointer to func")]
    ExpectedFunc { arg: u8 },
    #[error("arg#{arg} arg#{size} memory, len pair leads to invalid memory access")]
    MemLenPair { arg: u8, size: u8 },
    #[error("release kernel function {name} expects refcounted PTR_TO_BTF_ID")]
    ExpectsReferencedObject { name: String },
    #[error("kernel function {name} returns pointer type {target} is not supported")]
    KfuncReturnUnsupported { name: String, target: String },

    #[error("the prog does not allow writes to packet data")]
    NoPacketWrites,
    #[error("Unknown type ID {id} passed to kfunc bpf_rdonly_cast")]
    RdonlyCastUnknown { id: u64 },
    #[error("kfunc bpf_rdonly_cast type ID argument must be of a struct{}", if *or_void { " or void" } else { "" })]
    RdonlyCastType { or_void: bool },
    #[error("kern ctx type id {id} is not a struct")]
    KernCtxNotStruct { id: u32 },
    #[error("unexpected __bpf_trap() due to uninitialized variable?")]
    Trap,
    #[error("css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs")]
    CssTaskIter,
    #[error("ldimm64 insn specifies invalid btf_id {id}.")]
    InvalidKsymId { id: i32 },
    #[error("pseudo btf_id {id} in ldimm64 isn't KIND_VAR or KIND_FUNC")]
    KsymKind { id: i32 },
    #[error("kernel func {name} requires RCU critical section protection")]
    KfuncNeedsRcu { name: String },
    #[error("invalid kernel function call not eliminated in verifier pass")]
    MissingKfuncReached,
    #[error(
        "global functions that may sleep are not allowed in non-sleepable context,\ni.e., in a RCU/IRQ/preempt-disabled section, or in\na non-sleepable BPF program context"
    )]
    GlobalMaySleep,

    // Objects on the stack.
    #[error("{what} has to be at a constant offset")]
    ObjectNotConstant { what: &'static str },
    #[error("cannot pass in {what} at an offset={off}")]
    ObjectOffset { what: &'static str, off: i32 },
    #[error("invalid read from stack off {off}+{at} size {size}")]
    InvalidStackRead { off: i64, at: u32, size: u32 },
    #[error("invalid read from stack R{reg} off {off}+{at} size {size}")]
    InvalidHelperStackRead { reg: u8, off: i64, at: u32, size: u32 },
    #[error("invalid read from stack R{reg} var_off {var_off}+{at} size {size}")]
    InvalidVarHelperStackRead { reg: u8, var_off: Tnum, at: u32, size: u32 },
    #[error("arg#{arg} expected pointer to stack or const struct bpf_dynptr")]
    ExpectedDynptrPointer { arg: u8 },
    #[error("Dynptr has to be an uninitialized dynptr")]
    DynptrNotUninit,
    #[error("cannot pass pointer to const bpf_dynptr, the helper mutates it")]
    ConstDynptrMutated,
    #[error("Expected an initialized dynptr as arg #{arg}")]
    ExpectedDynptr { arg: u8 },
    #[error("Expected a dynptr of type {ty} as arg #{arg}")]
    ExpectedDynptrOfType { arg: u8, ty: &'static str },
    #[error("cannot overwrite referenced dynptr")]
    OverwritesReferencedDynptr,
    #[error("potential write to dynptr at off={off} disallowed")]
    WriteToDynptr { off: i64 },
    #[error("arg {reg} is an unacquired reference")]
    UnacquiredDynptr { reg: u8 },
    #[error("cannot release unowned const bpf_dynptr")]
    ReleasesConstDynptr,
    #[error("Unsupported reg type {ty} for bpf_dynptr_from_mem data")]
    DynptrFromMem { ty: TypeName },
    #[error("arg#{arg} expected pointer to an iterator on stack")]
    ExpectedIterPointer { arg: u8 },
    #[error("expected valid iter pointer as arg #{arg}")]
    ExpectedValidIter { arg: u8 },
    #[error("expected uninitialized iter_{name} as arg #{arg}")]
    ExpectedUninitIter { name: String, arg: u8 },
    #[error("expected an initialized iter_{name} as arg #{arg}")]
    ExpectedIter { name: String, arg: u8 },
    #[error("expected an RCU CS when using {name}")]
    ExpectedRcuSection { name: String },
    #[error("arg#{arg} doesn't point to an irq flag on stack")]
    ExpectedIrqFlagPointer { arg: u8 },
    #[error("expected uninitialized irq flag as arg#{arg}")]
    ExpectedUninitIrqFlag { arg: u8 },
    #[error("expected an initialized irq flag as arg#{arg}")]
    ExpectedIrqFlag { arg: u8 },
    #[error(
        "cannot restore irq state out of order, expected id={id} acquired at insn_idx={insn_idx}"
    )]
    IrqOutOfOrder { id: u32, insn_idx: u32 },

    // Locks, timers and work queues.
    #[error("{who} progs cannot use {what} yet")]
    FieldForProgType { who: &'static str, what: &'static str },
    #[error("R{reg} doesn't have constant offset. {what} has to be at the constant offset")]
    FieldNotConstant { reg: u8, what: &'static str },
    #[error("map '{map}' has to have BTF in order to use {what}")]
    FieldNeedsBtf { map: String, what: &'static str },
    #[error("{whose} '{name}' has no valid {what}")]
    NoSpecialField { whose: &'static str, name: String, what: &'static str },
    #[error("off {off} doesn't point to 'struct {what}' that is at {at}")]
    FieldElsewhere { off: i64, what: &'static str, at: u32 },
    #[error("Locking two bpf_spin_locks are not allowed")]
    TwoLocks,
    #[error("Acquiring the same lock again, AA deadlock detected")]
    SameLockAgain,
    #[error("{lock}_unlock without taking a lock")]
    UnlockWithoutLock { lock: &'static str },
    #[error("{lock}_unlock of different lock")]
    UnlockOther { lock: &'static str },
    #[error("{lock}_unlock cannot be out of order")]
    UnlockOutOfOrder { lock: &'static str },
    #[error("function calls are not allowed while holding a lock")]
    CallUnderLock,
    #[error(
        "global function calls are not allowed while holding a lock,\nuse static function instead"
    )]
    GlobalCallUnderLock,
    #[error("can't spin_{{lock,unlock}} in rbtree cb")]
    LockInRbtreeCb,
    #[error(
        "{what} pointer in R{reg} map_uid={uid} doesn't match map pointer in R{map_reg} map_uid={map_uid}"
    )]
    OtherMapForField { what: &'static str, reg: u8, uid: u32, map_reg: u8, map_uid: u32 },
    #[error("arg#{arg} doesn't point to {what}")]
    NotPointingTo { arg: u8, what: &'static str },
    #[error("irq flag acquired by {taken} kfuncs cannot be restored with {restored} kfuncs")]
    IrqClassMismatch { taken: &'static str, restored: &'static str },

    // Objects of the program's own types, lists and trees.
    #[error("local type ID argument must be in range [0, U32_MAX]")]
    LocalTypeIdRange,
    #[error("bpf_obj_new/bpf_percpu_obj_new requires prog BTF")]
    ObjNewNeedsBtf,
    #[error("bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct")]
    ObjNewNotStruct,
    #[error("bpf_percpu_obj_new type size ({size}) is greater than {limit}")]
    PercpuObjectSize { size: u32, limit: u32 },
    #[error("bpf_percpu_obj_new type ID argument must be of a struct of scalars")]
    PercpuObjectNotScalars,
    #[error("bpf_percpu_obj_new type ID argument must not contain special fields")]
    PercpuObjectFields,
    #[error("arg#{arg} expected pointer to {what}")]
    ExpectedAllocated { arg: u8, what: &'static str },
    #[error("arg#{arg} expected for {kfunc}()")]
    ExpectedFor { arg: u8, kfunc: &'static str },
    #[error("allocated object must be referenced")]
    AllocatedNotReferenced,
    #[error("arg#{arg} is neither owning or non-owning ref")]
    NeitherOwning { arg: u8 },
    #[error("arg#{arg} doesn't point to a type with bpf_refcount field")]
    NotRefcounted { arg: u8 },
    #[error("{what} not found at offset={off}")]
    GraphFieldNotFound { what: &'static str, off: i64 },
    #[error("held lock and object are not in the same allocation")]
    HeldLockElsewhere,
    #[error("bpf_spin_lock at off={at} must be held for {what}")]
    LockMustBeHeld { at: i32, what: &'static str },
    #[error("operation on {} expects arg#1 {} at offset={at} in struct {want}, but arg is at offset={off} in struct {have}", graph_root(*list), graph_node(*list))]
    GraphOtherType { list: bool, at: u32, want: Box<str>, off: i64, have: Box<str> },
    #[error("arg#1 offset={off}, but expected {what} at offset={at} in struct {want}")]
    GraphOtherNode { off: i64, what: &'static str, at: u32, want: String },
    #[error("{name} can only take non-owning or refcounted bpf_rb_node pointer")]
    NeedsNonOwningNode { name: String },
    #[error("{name} not allowed in rbtree cb")]
    NotInRbtreeCb { name: String },
    #[error("Calling bpf_rcu_read_{{lock,unlock}} in unnecessary rbtree callback")]
    RcuInRbtreeCb,

    // Sections.
    #[error("nested rcu read lock (kernel function {name})")]
    NestedRcuLock { name: String },
    #[error("unmatched rcu read unlock (kernel function {name})")]
    UnmatchedRcuUnlock { name: String },
    #[error("unmatched attempt to enable preemption (kernel function {name})")]
    UnmatchedPreemptEnable { name: String },
    #[error("{what} cannot be used inside {section}-ed region")]
    InsideSection { what: &'static str, section: &'static str },
}
