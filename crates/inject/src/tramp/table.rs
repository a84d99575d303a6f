//! Return addresses that were replaced: a table in each region's private memory, and the code that works on it.
//!
//! The key is the address of the stack slot that held the return address; a slot belongs to one thread, so only finding
//! an empty entry needs an atomic operation. Tail calls make several entries for one slot, told apart by the low three
//! bits (a slot is 8-aligned): the newest has the highest. Whatever a longjmp left behind for a slot is dropped when the
//! slot is used again.

use core::arch::global_asm;

/// Entries a slot may be in: one cache line of keys.
pub const WAYS: usize = 8;
/// log2 of the number of hash values.
pub const HASH_BITS: u32 = 10;
/// Entries.
pub const ENTRIES: usize = WAYS << HASH_BITS;
/// Offset of the count of hits that were not probed because no entry was free.
pub const MISSED: u64 = 0;
/// Offset of the address of the region's first return trampoline.
pub const RET_START: u64 = 8;
/// Offset of the address after the region's last return trampoline.
pub const RET_END: u64 = 16;
/// Offset of the keys.
pub const KEYS: u64 = 64;
/// Offset of the return addresses.
pub const ORIGS: u64 = KEYS + (ENTRIES as u64) * 8;
/// Offset of the session words, [`SESSION_WORDS`] an entry.
pub const SESSIONS: u64 = ORIGS + (ENTRIES as u64) * 8;
/// Words an entry keeps for the sessions of its site: which of them run at the return, then a cookie each.
pub const SESSION_WORDS: u64 = 8;
/// Sessions that a site can have.
pub const MAX_SESSIONS: usize = SESSION_WORDS as usize - 1;
/// Bytes of the table, whole pages.
pub const SIZE: u64 = (SESSIONS + (ENTRIES as u64) * SESSION_WORDS * 8).next_multiple_of(4096);
/// From the distance of a key from the table, times eight, to that of its session words.
pub const SESSIONS_OF_KEY: i32 = (SESSIONS - KEYS * SESSION_WORDS) as i32;
/// The first eight bytes of every return trampoline: `lea rsp, [rsp - 8]`, `push rbp`, and the start of `mov rbp, rsp`.
pub const RETURN_CODE: i64 = i64::from_le_bytes([0x48, 0x8d, 0x64, 0x24, 0xf8, 0x55, 0x48, 0x89]);
/// Multiplier of the hash (2^64 / golden ratio).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

// enter: rdi = slot, rsi = table, rdx = trampoline to return through. rax = 1 if the slot now holds the trampoline, and
// rcx = the key's address; else rax = 0.
// leave: rdi = slot, rsi = table. rax = the address to return to.
// take: as leave, and copies the session words to rdx before the entry is free.
// All change rax rcx rdx r8 r9 r10 r11 and flags.
global_asm!(
    ".pushsection .text.stylet_inject_ret,\"ax\",@progbits",
    ".globl stylet_inject_ret_start",
    ".hidden stylet_inject_ret_start",
    ".globl stylet_inject_ret_leave",
    ".hidden stylet_inject_ret_leave",
    ".globl stylet_inject_ret_take",
    ".hidden stylet_inject_ret_take",
    ".globl stylet_inject_ret_end",
    ".hidden stylet_inject_ret_end",
    // r8 = the slot's bucket.
    ".macro stylet_inject_bucket",
    "movabs rax, {golden}",
    "mov rcx, rdi",
    "shr rcx, 3",
    "imul rax, rcx",
    "shr rax, {shift}",
    "shl rax, 6",
    "lea r8, [rsi + rax + {keys}]",
    ".endm",
    ".balign 16",
    "stylet_inject_ret_start:",
    "stylet_inject_bucket",
    // r9 = key to insert: one more than the newest of this slot if the slot holds a trampoline of ours (tail call).
    "mov r9, rdi",
    "mov r10, [rdi]",
    "cmp r10, [rsi + {ret_start}]",
    "jb 2f",
    "cmp r10, [rsi + {ret_end}]",
    "jb 3f",
    // Are there older entries of this slot?
    "2:",
    ".irp i,0,8,16,24,32,40,48,56",
    "mov rax, [r8 + \\i]",
    "xor rax, rdi",
    "cmp rax, 7",
    "jbe 1f",
    ".endr",
    "jmp 5f",
    // They count if the caller is a trampoline of another region, below which they may lie.
    "1:",
    "movabs rax, {return_code}",
    "cmp rax, [r10]",
    "je 3f",
    // A fresh call: they are stale.
    ".irp i,0,8,16,24,32,40,48,56",
    "mov rax, [r8 + \\i]",
    "xor rax, rdi",
    "cmp rax, 7",
    "ja 4f",
    "mov qword ptr [r8 + \\i], 0",
    "4:",
    ".endr",
    // Claim an empty entry.
    "5:",
    "xor eax, eax",
    ".irp i,0,8,16,24,32,40,48,56",
    "cmp qword ptr [r8 + \\i], rax",
    "jne 6f",
    "lock cmpxchg [r8 + \\i], r9",
    "lea rcx, [r8 + \\i]",
    "je 7f",
    "xor eax, eax",
    "6:",
    ".endr",
    "8:",
    "lock inc qword ptr [rsi + {missed}]",
    "xor eax, eax",
    "ret",
    "7:",
    "mov [rcx + {origs_minus_keys}], r10",
    "mov [rdi], rdx",
    "mov eax, 1",
    "ret",
    // A tail call.
    "3:",
    ".irp i,0,8,16,24,32,40,48,56",
    "mov rax, [r8 + \\i]",
    "mov r11, rax",
    "xor r11, rdi",
    "cmp r11, 7",
    "ja 4f",
    "cmp rax, r9",
    "jb 4f",
    "lea r9, [rax + 1]",
    "4:",
    ".endr",
    // Of many tail calls that share a slot the ninth and later are not probed.
    "mov rax, r9",
    "xor rax, rdi",
    "cmp rax, 7",
    "ja 8b",
    "jmp 5b",
    ".balign 16",
    // r10 = the newest key of the slot, rax = its return address.
    ".macro stylet_inject_newest",
    "stylet_inject_bucket",
    "xor r9d, r9d",
    "xor r10d, r10d",
    ".irp i,0,8,16,24,32,40,48,56",
    "mov rax, [r8 + \\i]",
    "mov r11, rax",
    "xor r11, rdi",
    "cmp r11, 7",
    "ja 2f",
    "cmp rax, r9",
    "jb 2f",
    "mov r9, rax",
    "lea r10, [r8 + \\i]",
    "2:",
    ".endr",
    // No entry: nobody can know where to return to.
    "test r10, r10",
    "jne 3f",
    "ud2",
    "3:",
    "mov rax, [r10 + {origs_minus_keys}]",
    ".endm",
    "stylet_inject_ret_leave:",
    "stylet_inject_newest",
    "mov qword ptr [r10], 0",
    "ret",
    ".balign 16",
    "stylet_inject_ret_take:",
    "stylet_inject_newest",
    "mov rcx, r10",
    "sub rcx, rsi",
    "lea rcx, [rsi + rcx*8 + {sessions_of_key}]",
    ".irp i,0,8,16,24,32,40,48,56",
    "mov r8, [rcx + \\i]",
    "mov [rdx + \\i], r8",
    ".endr",
    "mov qword ptr [r10], 0",
    "ret",
    ".balign 16",
    "stylet_inject_ret_end:",
    ".popsection",
    golden = const GOLDEN,
    shift = const 64 - HASH_BITS,
    keys = const KEYS,
    origs_minus_keys = const ORIGS - KEYS,
    sessions_of_key = const SESSIONS_OF_KEY,
    ret_start = const RET_START,
    ret_end = const RET_END,
    missed = const MISSED,
    return_code = const RETURN_CODE,
);

unsafe extern "C" {
    static stylet_inject_ret_start: u8;
    static stylet_inject_ret_leave: u8;
    static stylet_inject_ret_take: u8;
    static stylet_inject_ret_end: u8;
}

/// The position-independent code of both routines; `enter` is at 0.
pub fn code() -> &'static [u8] {
    let (start, end) = (&raw const stylet_inject_ret_start, &raw const stylet_inject_ret_end);
    // SAFETY: the two symbols bound the code assembled above, which is never written.
    unsafe { std::slice::from_raw_parts(start, end as usize - start as usize) }
}

/// Offset of `leave` in [`code`].
pub fn leave_offset() -> u64 {
    (&raw const stylet_inject_ret_leave) as u64 - (&raw const stylet_inject_ret_start) as u64
}

/// Offset of `take` in [`code`].
pub fn take_offset() -> u64 {
    (&raw const stylet_inject_ret_take) as u64 - (&raw const stylet_inject_ret_start) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    type Enter = unsafe extern "C" fn(*mut u64, *mut u64, u64);
    type Leave = unsafe extern "C" fn(*mut u64, *mut u64) -> u64;

    struct Table(Vec<u64>);

    impl Table {
        fn new() -> Table {
            let mut words = vec![0; SIZE as usize / 8];
            (words[1], words[2]) = (0x1000, 0x2000);
            Table(words)
        }
        fn enter(&mut self, slot: &mut u64, tramp: u64) {
            // SAFETY: the code assembled above has this signature under the C ABI.
            let f: Enter = unsafe { std::mem::transmute(code().as_ptr()) };
            // SAFETY: slot and table are valid.
            unsafe { f(slot, self.0.as_mut_ptr(), tramp) }
        }
        fn leave(&mut self, slot: &mut u64) -> u64 {
            // SAFETY: as above.
            let f: Leave =
                unsafe { std::mem::transmute(code().as_ptr().add(leave_offset() as usize)) };
            // SAFETY: as above.
            unsafe { f(slot, self.0.as_mut_ptr()) }
        }
        fn take(&mut self, slot: &mut u64) -> (u64, [u64; 8]) {
            type Take = unsafe extern "C" fn(*mut u64, *mut u64, *mut u64) -> u64;
            // SAFETY: as above.
            let f: Take =
                unsafe { std::mem::transmute(code().as_ptr().add(take_offset() as usize)) };
            let mut words = [0; 8];
            // SAFETY: as above.
            (unsafe { f(slot, self.0.as_mut_ptr(), words.as_mut_ptr()) }, words)
        }
        fn live(&self) -> usize {
            let keys = KEYS as usize / 8;
            self.0[keys..keys + ENTRIES].iter().filter(|k| **k != 0).count()
        }
    }

    #[test]
    fn enter_and_leave() {
        let (mut table, mut slot) = (Table::new(), 0xaaaa);
        table.enter(&mut slot, 0x1800);
        assert_eq!((slot, table.live()), (0x1800, 1));
        assert_eq!(table.leave(&mut slot), 0xaaaa);
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn session_words_are_their_entrys() {
        let (mut table, mut slot) = (Table::new(), 0xaaaa);
        table.enter(&mut slot, 0x1800);
        let (keys, sessions) = (KEYS as usize / 8, SESSIONS as usize / 8);
        let index = table.0[keys..].iter().position(|k| *k != 0).unwrap();
        let words: [u64; 8] = std::array::from_fn(|i| 100 + i as u64);
        table.0[sessions + 8 * index..][..8].copy_from_slice(&words);
        assert_eq!(table.take(&mut slot), (0xaaaa, words));
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn tail_calls_stack_up_and_stop_at_eight() {
        let (mut table, mut slot) = (Table::new(), 0xaaaa);
        for i in 0..10 {
            table.enter(&mut slot, 0x1000 + i);
        }
        assert_eq!((slot, table.live(), table.0[0]), (0x1007, 8, 2));
        for i in (0..7).rev() {
            assert_eq!(table.leave(&mut slot), 0x1000 + i);
        }
        assert_eq!(table.leave(&mut slot), 0xaaaa);
    }

    #[test]
    fn entries_below_another_region_are_kept() {
        let other = RETURN_CODE;
        let (mut table, mut slot) = (Table::new(), 0xaaaa);
        table.enter(&mut slot, 0x1800);
        slot = &raw const other as u64;
        table.enter(&mut slot, 0x1810);
        assert_eq!(table.live(), 2);
        assert_eq!(table.leave(&mut slot), &raw const other as u64);
        assert_eq!(table.leave(&mut slot), 0xaaaa);
    }

    #[test]
    fn longjmp_leftovers_are_dropped() {
        let caller = 0u64;
        let (mut table, mut slot) = (Table::new(), 0xaaaa);
        table.enter(&mut slot, 0x1800);
        table.enter(&mut slot, 0x1810);
        slot = &raw const caller as u64;
        table.enter(&mut slot, 0x1800);
        assert_eq!(table.live(), 1);
        assert_eq!(table.leave(&mut slot), &raw const caller as u64);
    }

    #[test]
    fn a_full_table_skips_and_counts() {
        let mut table = Table::new();
        let mut slots = vec![0x77u64; 4 * ENTRIES];
        for slot in &mut slots {
            table.enter(slot, 0x1800);
        }
        let taken = slots.iter().filter(|&&s| s == 0x1800).count();
        assert_eq!((taken, table.0[0] as usize), (table.live(), slots.len() - taken));
        assert!(taken > ENTRIES / 2, "{taken}");
        for slot in slots.iter_mut().filter(|s| **s == 0x1800) {
            assert_eq!(table.leave(slot), 0x77);
        }
    }
}
