//! Kernel functions that programs call by BTF id, one file a family.

pub mod control;
pub mod dynptr;
pub mod iter;
pub mod string;
pub mod user;

use crate::abi::RunCtx;
use crate::helpers::Helper;

/// R1 to R5.
pub type Args = [u64; 5];

/// A kfunc: the arguments and the run context; the result is R0. Errors are `-errno`, truths 0 and 1.
pub type Kfunc = unsafe fn(Args, *mut RunCtx) -> u64;

/// Calls the macro `$m` with one `module::function symbol "declaration";` for each kfunc: implementation in
/// [`kfuncs`](crate::kfuncs), symbol in the agent image, and declaration in C as of Linux 6.18.
#[macro_export]
macro_rules! for_each_kfunc {
    ($m:ident) => {
        $m! {
            control::trap stylet_kfunc___bpf_trap "void __bpf_trap(void)";
            user::copy_data stylet_kfunc_bpf_copy_from_user_dynptr
                "int bpf_copy_from_user_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, const void *unsafe_ptr__ign)";
            user::copy_from_user_str stylet_kfunc_bpf_copy_from_user_str
                "int bpf_copy_from_user_str(void *dst, u32 dst__sz, const void *unsafe_ptr__ign, u64 flags)";
            user::copy_str stylet_kfunc_bpf_copy_from_user_str_dynptr
                "int bpf_copy_from_user_str_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, const void *unsafe_ptr__ign)";
            dynptr::adjust stylet_kfunc_bpf_dynptr_adjust
                "int bpf_dynptr_adjust(const struct bpf_dynptr *p, u32 start, u32 end)";
            dynptr::clone stylet_kfunc_bpf_dynptr_clone
                "int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit)";
            dynptr::copy stylet_kfunc_bpf_dynptr_copy
                "int bpf_dynptr_copy(struct bpf_dynptr *dst_ptr, u32 dst_off, struct bpf_dynptr *src_ptr, u32 src_off, u32 size)";
            dynptr::is_null stylet_kfunc_bpf_dynptr_is_null
                "bool bpf_dynptr_is_null(const struct bpf_dynptr *p)";
            dynptr::is_rdonly stylet_kfunc_bpf_dynptr_is_rdonly
                "bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *p)";
            dynptr::memset stylet_kfunc_bpf_dynptr_memset
                "int bpf_dynptr_memset(struct bpf_dynptr *p, u32 offset, u32 size, u8 val)";
            dynptr::size stylet_kfunc_bpf_dynptr_size
                "u32 bpf_dynptr_size(const struct bpf_dynptr *p)";
            dynptr::slice stylet_kfunc_bpf_dynptr_slice
                "void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk)";
            dynptr::slice_rdwr stylet_kfunc_bpf_dynptr_slice_rdwr
                "void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk)";
            iter::bits_destroy stylet_kfunc_bpf_iter_bits_destroy
                "void bpf_iter_bits_destroy(struct bpf_iter_bits *it)";
            iter::bits_new stylet_kfunc_bpf_iter_bits_new
                "int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *unsafe_ptr__ign, u32 nr_words)";
            iter::bits_next stylet_kfunc_bpf_iter_bits_next
                "int *bpf_iter_bits_next(struct bpf_iter_bits *it)";
            iter::num_destroy stylet_kfunc_bpf_iter_num_destroy
                "void bpf_iter_num_destroy(struct bpf_iter_num *it)";
            iter::num_new stylet_kfunc_bpf_iter_num_new
                "int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end)";
            iter::num_next stylet_kfunc_bpf_iter_num_next
                "int *bpf_iter_num_next(struct bpf_iter_num *it)";
            control::nothing stylet_kfunc_bpf_preempt_disable "void bpf_preempt_disable(void)";
            control::nothing stylet_kfunc_bpf_preempt_enable "void bpf_preempt_enable(void)";
            user::probe_data stylet_kfunc_bpf_probe_read_kernel_dynptr
                "int bpf_probe_read_kernel_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, const void *unsafe_ptr__ign)";
            user::probe_str stylet_kfunc_bpf_probe_read_kernel_str_dynptr
                "int bpf_probe_read_kernel_str_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, const void *unsafe_ptr__ign)";
            user::probe_data stylet_kfunc_bpf_probe_read_user_dynptr
                "int bpf_probe_read_user_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, const void *unsafe_ptr__ign)";
            user::probe_str stylet_kfunc_bpf_probe_read_user_str_dynptr
                "int bpf_probe_read_user_str_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, const void *unsafe_ptr__ign)";
            control::nothing stylet_kfunc_bpf_rcu_read_lock "void bpf_rcu_read_lock(void)";
            control::nothing stylet_kfunc_bpf_rcu_read_unlock "void bpf_rcu_read_unlock(void)";
            control::session_cookie stylet_kfunc_bpf_session_cookie "__u64 *bpf_session_cookie(void)";
            control::session_is_return stylet_kfunc_bpf_session_is_return "bool bpf_session_is_return(void)";
            string::strcasecmp stylet_kfunc_bpf_strcasecmp
                "int bpf_strcasecmp(const char *s1__ign, const char *s2__ign)";
            string::strchr stylet_kfunc_bpf_strchr "int bpf_strchr(const char *s__ign, char c)";
            string::strchrnul stylet_kfunc_bpf_strchrnul "int bpf_strchrnul(const char *s__ign, char c)";
            string::strcmp stylet_kfunc_bpf_strcmp "int bpf_strcmp(const char *s1__ign, const char *s2__ign)";
            string::strcspn stylet_kfunc_bpf_strcspn
                "int bpf_strcspn(const char *s__ign, const char *reject__ign)";
            string::strlen stylet_kfunc_bpf_strlen "int bpf_strlen(const char *s__ign)";
            string::strnchr stylet_kfunc_bpf_strnchr
                "int bpf_strnchr(const char *s__ign, size_t count, char c)";
            string::strnlen stylet_kfunc_bpf_strnlen "int bpf_strnlen(const char *s__ign, size_t count)";
            string::strnstr stylet_kfunc_bpf_strnstr
                "int bpf_strnstr(const char *s1__ign, const char *s2__ign, size_t len)";
            string::strrchr stylet_kfunc_bpf_strrchr "int bpf_strrchr(const char *s__ign, int c)";
            string::strspn stylet_kfunc_bpf_strspn
                "int bpf_strspn(const char *s__ign, const char *accept__ign)";
            string::strstr stylet_kfunc_bpf_strstr "int bpf_strstr(const char *s1__ign, const char *s2__ign)";
        }
    };
}

macro_rules! table {
    ($($module:ident :: $func:ident $symbol:ident $decl:literal;)*) => {
        /// Declaration in C and implementation of each kfunc: for the backend's BTF, and for running programs in the tracer
        /// itself.
        pub static TABLE: &[(&str, Helper)] = &[$(($decl, {
            #[allow(non_snake_case)]
            unsafe extern "C" fn $symbol(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64, rc: *mut RunCtx) -> u64 {
                // SAFETY: the caller's promise is the same.
                unsafe { $module::$func([r1, r2, r3, r4, r5], rc) }
            }
            $symbol
        })),*];
    };
}

for_each_kfunc!(table);

/// Name of the function that a declaration of [`TABLE`] declares.
pub fn name(decl: &str) -> &str {
    let head = decl.split('(').next().unwrap_or(decl);
    head.rsplit([' ', '*']).next().unwrap_or(head)
}
