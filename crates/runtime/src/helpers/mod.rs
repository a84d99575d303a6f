//! Helpers, one file a family. All have the ABI of generated code, see [`Helper`].

pub mod ctx;
pub mod dynptr;
pub mod flow;
pub mod map;
pub mod mem;
pub mod ring;
pub mod stack;
pub mod task;
pub mod text;
pub mod time;

use crate::abi::RunCtx;

/// A helper: R1 to R5 and the run context; the result is R0. Errors are `-errno`.
pub type Helper = unsafe extern "C" fn(u64, u64, u64, u64, u64, *mut RunCtx) -> u64;

/// `-errno` as a helper returns it.
#[inline]
pub(crate) fn err(errno: i32) -> u64 {
    -(errno as i64) as u64
}

/// 0 or `-errno`.
#[inline]
pub(crate) fn status(result: core::result::Result<(), i32>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(errno) => err(errno),
    }
}

/// Calls the macro `$m` with one `id "name" module::function symbol;` for each helper: number (`enum bpf_func_id`), name
/// without `bpf_`, implementation in [`helpers`](crate::helpers), symbol in the agent image.
#[macro_export]
macro_rules! for_each_helper {
    ($m:ident) => {
        $m! {
            1 "map_lookup_elem" map::lookup_elem stylet_helper_1;
            2 "map_update_elem" map::update_elem stylet_helper_2;
            3 "map_delete_elem" map::delete_elem stylet_helper_3;
            4 "probe_read" mem::probe_read stylet_helper_4;
            5 "ktime_get_ns" time::ktime_get_ns stylet_helper_5;
            6 "trace_printk" text::trace_printk stylet_helper_6;
            7 "get_prandom_u32" task::get_prandom_u32 stylet_helper_7;
            8 "get_smp_processor_id" task::get_smp_processor_id stylet_helper_8;
            14 "get_current_pid_tgid" task::get_current_pid_tgid stylet_helper_14;
            15 "get_current_uid_gid" task::get_current_uid_gid stylet_helper_15;
            16 "get_current_comm" task::get_current_comm stylet_helper_16;
            25 "perf_event_output" ring::perf_event_output stylet_helper_25;
            27 "get_stackid" stack::get_stackid stylet_helper_27;
            36 "probe_write_user" mem::probe_write_user stylet_helper_36;
            42 "get_numa_node_id" task::get_numa_node_id stylet_helper_42;
            45 "probe_read_str" mem::probe_read_str stylet_helper_45;
            58 "override_return" ctx::override_return stylet_helper_58;
            67 "get_stack" stack::get_stack stylet_helper_67;
            87 "map_push_elem" map::push_elem stylet_helper_87;
            88 "map_pop_elem" map::pop_elem stylet_helper_88;
            89 "map_peek_elem" map::peek_elem stylet_helper_89;
            105 "strtol" text::strtol stylet_helper_105;
            106 "strtoul" text::strtoul stylet_helper_106;
            109 "send_signal" task::send_signal stylet_helper_109;
            112 "probe_read_user" mem::probe_read stylet_helper_112;
            113 "probe_read_kernel" mem::probe_read stylet_helper_113;
            114 "probe_read_user_str" mem::probe_read_str stylet_helper_114;
            115 "probe_read_kernel_str" mem::probe_read_str stylet_helper_115;
            117 "send_signal_thread" task::send_signal_thread stylet_helper_117;
            118 "jiffies64" time::jiffies64 stylet_helper_118;
            125 "ktime_get_boot_ns" time::ktime_get_boot_ns stylet_helper_125;
            130 "ringbuf_output" ring::ringbuf_output stylet_helper_130;
            131 "ringbuf_reserve" ring::ringbuf_reserve stylet_helper_131;
            132 "ringbuf_submit" ring::ringbuf_submit stylet_helper_132;
            133 "ringbuf_discard" ring::ringbuf_discard stylet_helper_133;
            134 "ringbuf_query" ring::ringbuf_query stylet_helper_134;
            148 "copy_from_user" mem::copy_from_user stylet_helper_148;
            160 "ktime_get_coarse_ns" time::ktime_get_coarse_ns stylet_helper_160;
            164 "for_each_map_elem" map::for_each_elem stylet_helper_164;
            165 "snprintf" text::snprintf stylet_helper_165;
            173 "get_func_ip" ctx::get_func_ip stylet_helper_173;
            174 "get_attach_cookie" ctx::get_attach_cookie stylet_helper_174;
            177 "trace_vprintk" text::trace_vprintk stylet_helper_177;
            181 "loop" flow::bpf_loop stylet_helper_181;
            182 "strncmp" flow::strncmp stylet_helper_182;
            195 "map_lookup_percpu_elem" map::lookup_percpu_elem stylet_helper_195;
            197 "dynptr_from_mem" dynptr::from_mem stylet_helper_197;
            198 "ringbuf_reserve_dynptr" dynptr::ringbuf_reserve stylet_helper_198;
            199 "ringbuf_submit_dynptr" dynptr::ringbuf_submit stylet_helper_199;
            200 "ringbuf_discard_dynptr" dynptr::ringbuf_discard stylet_helper_200;
            201 "dynptr_read" dynptr::read stylet_helper_201;
            202 "dynptr_write" dynptr::write stylet_helper_202;
            203 "dynptr_data" dynptr::data stylet_helper_203;
            208 "ktime_get_tai_ns" time::ktime_get_tai_ns stylet_helper_208;
        }
    };
}

macro_rules! table {
    ($($id:literal $name:literal $module:ident :: $func:ident $symbol:ident;)*) => {
        /// Numbers of the helpers there are, ascending.
        pub const SUPPORTED_HELPERS: &[u32] = &[$($id),*];

        /// Number, name without `bpf_`, and implementation of each helper: for running programs in the tracer itself.
        pub static TABLE: &[(u32, &str, Helper)] = &[$(($id, $name, $module::$func)),*];
    };
}

for_each_helper!(table);

/// Whether a program that calls helper `id` must hold a CPU slot for all of its run. The others that need one take it for
/// the time of the call.
pub fn needs_slot(id: u32) -> bool {
    const GET_SMP_PROCESSOR_ID: u32 = 8;
    const PERF_EVENT_OUTPUT: u32 = 25;
    matches!(id, GET_SMP_PROCESSOR_ID | PERF_EVENT_OUTPUT)
}

/// Whether helper `id` reads `ip`, `sp` and `bp` of [`RunCtx::regs`], which the trampoline must then fill in.
pub fn needs_frame(id: u32) -> bool {
    const GET_STACKID: u32 = 27;
    const GET_STACK: u32 = 67;
    matches!(id, GET_STACKID | GET_STACK)
}
