//! Limits of the verifier, under the kernel's names.

/// Numbers that bound a program or its verification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `BPF_COMPLEXITY_LIMIT_INSNS`: instructions that the walk may process.
    pub complexity_limit_insns: u32,
    /// `BPF_COMPLEXITY_LIMIT_JMP_SEQ`: branches that may wait to be walked.
    pub complexity_limit_jmp_seq: u32,
    /// `BPF_COMPLEXITY_LIMIT_STATES`: states kept at one instruction.
    pub complexity_limit_states: u32,
    /// Slots of one program (`BPF_COMPLEXITY_LIMIT_INSNS` for a privileged loader).
    pub max_insns: u32,
    /// `BPF_MAX_SUBPROGS`.
    pub max_subprogs: u32,
    /// `MAX_BPF_STACK`: bytes of stack of one function, and of a whole call chain.
    pub max_bpf_stack: u32,
    /// `MAX_CALL_FRAMES`.
    pub max_call_frames: u32,
    /// `MAX_TAIL_CALL_CNT`.
    pub max_tail_call_cnt: u32,
    /// `MAX_USED_MAPS`.
    pub max_used_maps: u32,
    /// `MAX_USED_BTFS`.
    pub max_used_btfs: u32,
    /// `MAX_KFUNC_DESCS`.
    pub max_kfunc_descs: u32,
    /// `BPF_MAX_VAR_OFF`: largest offset of a pointer, bytes.
    pub max_var_off: u32,
    /// `BPF_MAX_VAR_SIZ`: largest size argument, bytes.
    pub max_var_siz: u32,
    /// `MAX_BPF_FUNC_REG_ARGS`: arguments in registers.
    pub max_func_reg_args: u32,
    /// `MAX_BPF_FUNC_ARGS`: arguments of a traced kernel function.
    pub max_func_args: u32,
    /// `BPF_MAX_LOOPS`: iterations of `bpf_loop` and of `may_goto`.
    pub max_loops: u32,
    /// `MAX_CALL_FRAMES`-independent bound on stack of a program with tail calls, when called from a
    /// function (`check_max_stack_depth`: 256 bytes).
    pub tail_call_stack: u32,
    /// `BPF_PRIV_STACK_MIN_SIZE`: from here on a function may get a private stack.
    pub priv_stack_min_size: u32,
}

impl Limits {
    /// The mainline kernel's, for a loader with CAP_BPF; the same since 5.10.
    pub const KERNEL: Limits = Limits {
        complexity_limit_insns: 1_000_000,
        complexity_limit_jmp_seq: 8192,
        complexity_limit_states: 64,
        max_insns: 1_000_000,
        max_subprogs: 256,
        max_bpf_stack: 512,
        max_call_frames: 8,
        max_tail_call_cnt: 33,
        max_used_maps: 64,
        max_used_btfs: 64,
        max_kfunc_descs: 256,
        max_var_off: 1 << 29,
        max_var_siz: 1 << 29,
        max_func_reg_args: 5,
        max_func_args: 12,
        max_loops: 8 * 1024 * 1024,
        tail_call_stack: 256,
        priv_stack_min_size: 64,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::KERNEL
    }
}
