//! Verifier-relevant switches, each with its first mainline release.

use crate::Release;

macro_rules! features {
    ($( $(#[doc = $doc:literal])* $name:ident = $bit:literal, $major:literal . $minor:literal; )*) => {
        bitflags::bitflags! {
            /// What a verifier of some release knows or allows.
            #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
            pub struct Features: u64 {
                $( $(#[doc = $doc])* const $name = 1 << $bit; )*
            }
        }

        /// Every feature with its name and first release.
        pub static FEATURES: &[(Features, &str, Release)] = &[
            $( (Features::$name, stringify!($name), Release::new($major, $minor)), )*
        ];
    };
}

features! {
    /// Back edges are allowed; loops must end within the complexity limit.
    BOUNDED_LOOPS = 0, 5 . 3;
    /// Functions with global linkage are verified once, by their BTF.
    GLOBAL_FUNCS = 1, 5 . 6;
    /// BPF_F_SLEEPABLE.
    SLEEPABLE = 2, 5 . 10;
    /// Bounds of scalars survive a spill narrower than eight bytes.
    NARROW_SPILL = 3, 5 . 16;
    /// Tail calls and calls of functions may be mixed.
    TAIL_CALL_IN_SUBPROG = 4, 5 . 10;
    /// `BPF_ATOMIC` instructions other than a 32/64-bit add.
    ATOMICS = 5, 5 . 12;
    /// `BPF_PSEUDO_FUNC`, callbacks of helpers.
    CALLBACKS = 6, 5 . 13;
    /// Calls of kernel functions.
    KFUNC = 7, 5 . 13;
    /// `bpf_timer` in map values.
    TIMER = 8, 5 . 15;
    /// Pointers into memory of global functions' arguments.
    GLOBAL_FUNC_MEM_ARGS = 9, 5 . 12;
    /// Callback bodies of `bpf_loop` are walked, not unrolled.
    BPF_LOOP = 10, 5 . 17;
    /// `bpf_dynptr`.
    DYNPTR = 11, 5 . 19;
    /// Kernel pointers in map values.
    KPTR = 12, 5 . 19;
    /// Sleepable uprobes.
    SLEEPABLE_UPROBE = 13, 6 . 0;
    /// `bpf_rcu_read_lock`.
    RCU_KFUNC = 14, 6 . 2;
    /// Helpers say themselves that they may sleep (`might_sleep`; 6.2, and 6.1 as it is maintained).
    MIGHT_SLEEP = 15, 6 . 1;
    /// Linked lists of a program's own objects.
    LINKED_LIST = 16, 6 . 2;
    /// Trees of a program's own objects.
    RBTREE = 17, 6 . 3;
    /// A privileged program may read stack bytes that it never wrote.
    UNINIT_STACK_READ = 18, 6 . 3;
    /// Open-coded iterators (`bpf_iter_num_new`).
    ITERATORS = 19, 6 . 4;
    /// Precision marks travel across calls of functions.
    SUBPROG_PRECISION = 20, 6 . 4;
    /// `BPF_SDIV`, `BPF_SMOD`, `BPF_MOVSX`, `BPF_BSWAP`, `BPF_MEMSX`, `gotol` (`-mcpu=v4`).
    CPU_V4 = 21, 6 . 6;
    /// `bpf_throw` and exception callbacks.
    EXCEPTIONS = 22, 6 . 7;
    /// Callback bodies are walked until their states converge.
    CALLBACK_CONVERGENCE = 23, 6 . 8;
    /// `__arg_ctx`, `__arg_nonnull`, `__arg_dynptr` tags of global functions.
    ARG_TAGS = 24, 6 . 8;
    /// Ranges are deduced between 32 and 64 bits and by inequality with a constant.
    BOUNDS_DEDUCTION = 25, 6 . 8;
    /// `may_goto`.
    MAY_GOTO = 26, 6 . 9;
    /// `BPF_MAP_TYPE_ARENA` and `addr_space_cast`.
    ARENA = 27, 6 . 9;
    /// `bpf_preempt_disable`.
    PREEMPT_KFUNC = 28, 6 . 10;
    /// `bpf_fastcall` helpers and kfuncs.
    FASTCALL = 29, 6 . 12;
    /// A raw tracepoint's pointer arguments may be null.
    RAW_TP_NULL_ARGS = 30, 6 . 13;
    /// `BPF_PROG_TYPE_KPROBE` programs get a stack of their own when they are deep.
    PRIV_STACK = 31, 6 . 13;
    /// `bpf_local_irq_save`.
    IRQ_KFUNC = 32, 6 . 14;
    /// `BPF_LOAD_ACQ` and `BPF_STORE_REL`.
    LOAD_ACQ_STORE_REL = 33, 6 . 15;
    /// `bpf_res_spin_lock`.
    RES_SPIN_LOCK = 34, 6 . 15;
    /// kprobe and uprobe programs may write `struct pt_regs`.
    KPROBE_WRITE_CTX = 35, 6 . 18;
    /// Liveness of registers and stack slots is computed before or beside the walk.
    STATIC_LIVENESS = 36, 6 . 18;
    /// `gotox` through `BPF_MAP_TYPE_INSN_ARRAY`.
    INDIRECT_JUMP = 37, 6 . 19;
    /// A scalar that is -1 or 0 is walked twice before `and` or `or` with a constant
    /// (`maybe_fork_scalars`; 7.0, and 6.12 and 6.18 as they are maintained).
    FORK_SCALARS = 39, 6 . 12;
    /// A register compared with itself is predicted.
    COMPARE_WITH_SELF = 40, 6 . 19;
    /// In loops a stack slot of any bytes covers one of a number (observed: not 6.18, but 7.2).
    LOOSE_LOOP_STACK = 43, 7 . 0;
    /// RCU sections nest.
    NESTED_RCU = 41, 6 . 19;
    /// Every kfunc wants pointers that the kernel vouches for (`KF_TRUSTED_ARGS` for all).
    TRUSTED_ARGS_DEFAULT = 42, 7 . 0;
    /// A comparison of two pointers tells that neither is NULL when one is not.
    POINTER_NULLNESS = 49, 6 . 2;
    /// `BPF_ST` may store into the context.
    CTX_STORE_IMM = 50, 6 . 4;
    /// Copies that differ by a constant learn from each other.
    LINKED_CONST = 51, 6 . 11;
    /// A lookup of a constant key within an array is not NULL.
    CONST_MAP_KEY = 44, 6 . 15;
    /// Ranges survive a negation.
    NEG_RANGE = 45, 6 . 17;
    /// A program that keeps too many branches waiting is E2BIG.
    JMP_SEQ_E2BIG = 46, 7 . 1;
    /// What is known of a number survives a change of its byte order (6.19, and 6.18 as it is maintained).
    END_BITS = 47, 6 . 18;
    /// Copies that differ by a negative constant, or in 32 bits, learn from each other (7.0, and 6.18 as it is maintained).
    LINKED_SUB = 48, 6 . 18;
    /// What a walk finds behind a pointer to no structure is memory that may be read without bounds (`PTR_TO_MEM | PTR_UNTRUSTED`).
    UNTRUSTED_MEM = 52, 6 . 17;
    /// Fields of map values that the kernel looks after: locks, timers, lists, kernel pointers.
    SPECIAL_FIELDS = 60, 5 . 1;
    /// In the context of a traced function a pointer to anything but a structure is a number.
    CTX_POINTERS_ARE_NUMBERS = 53, 7 . 0;
    /// Raw tracepoint programs with BTF arguments may be sleepable.
    SLEEPABLE_TRACEPOINTS = 54, 7 . 2;
    /// A field for per-CPU objects takes no other ones.
    KPTR_PERCPU = 61, 6 . 19;
    /// Structured diagnostics in the verifier's log.
    LOG_DIAGNOSTICS = 38, 7 . 3;
}

impl Features {
    /// What mainline `release` has.
    pub fn of(release: Release) -> Features {
        let known = FEATURES.iter().filter(|(_, _, since)| *since <= release);
        known.fold(Features::empty(), |set, (f, _, _)| set | *f)
    }

    /// First release of a single feature; `None` for the empty set or several.
    pub fn since(self) -> Option<Release> {
        FEATURES.iter().find(|(f, _, _)| *f == self).map(|(_, _, r)| *r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_has_its_own_bit_and_comes_with_its_release() {
        for (n, (feature, name, since)) in FEATURES.iter().enumerate() {
            assert_eq!(feature.bits().count_ones(), 1, "{name}");
            assert!(FEATURES[..n].iter().all(|(f, _, _)| !f.intersects(*feature)), "{name}");
            assert!(Features::of(*since).contains(*feature) && feature.since() == Some(*since));
        }
        assert!(!Features::of(Release::V6_6).contains(Features::MAY_GOTO));
        assert!(Features::of(Release::V6_12).contains(Features::MAY_GOTO));
    }
}
