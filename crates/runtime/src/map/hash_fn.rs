//! The hash function of hash maps: multiply-and-fold (as in wyhash), specialised for keys of one word.

/// Odd constants with balanced bits.
const K: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xe703_7ed1_a0b4_28db];

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = a as u128 * b as u128;
    wide as u64 ^ (wide >> 64) as u64
}

/// Hash of `len` bytes at `key`. `N` is `len` where it is 4 or 8, else 0: code without a choice for the commonest keys.
///
/// # Safety
/// `key` has `len` bytes, of any alignment.
#[inline(always)]
pub unsafe fn hash_n<const N: u32>(key: *const u8, len: u32, seed: u32) -> u32 {
    let seed = seed as u64 ^ K[0];
    // SAFETY: promised by the caller.
    let h = unsafe {
        match N {
            4 => fold(key.cast::<u32>().read_unaligned() as u64 ^ seed, K[1]),
            8 => fold(key.cast::<u64>().read_unaligned() ^ seed, K[1]),
            _ => long(key, len, seed),
        }
    };
    (h ^ h >> 32) as u32
}

/// Hash of `len` bytes at `key`.
///
/// # Safety
/// `key` has `len` bytes, of any alignment.
pub unsafe fn hash(key: *const u8, len: u32, seed: u32) -> u32 {
    // SAFETY: promised by the caller.
    unsafe {
        match len {
            4 => hash_n::<4>(key, len, seed),
            8 => hash_n::<8>(key, len, seed),
            _ => hash_n::<0>(key, len, seed),
        }
    }
}

unsafe fn long(key: *const u8, len: u32, seed: u64) -> u64 {
    let (mut p, mut n, mut h) = (key, len as usize, seed ^ fold(len as u64, K[0]));
    // SAFETY: promised by the caller of `hash`.
    unsafe {
        while n >= 8 {
            h = fold(p.cast::<u64>().read_unaligned() ^ h, K[1]);
            (p, n) = (p.add(8), n - 8);
        }
        if n != 0 {
            let mut last = 0u64;
            for i in 0..n {
                last |= (*p.add(i) as u64) << (8 * i);
            }
            h = fold(last ^ h, K[1] ^ n as u64);
        }
    }
    fold(h, K[0])
}

/// Whether two keys of `len` bytes are equal. `stored` is 8-aligned; `N` as for [`hash_n`].
///
/// # Safety
/// Both have `len` bytes.
#[inline(always)]
pub unsafe fn key_eq<const N: u32>(stored: *const u8, key: *const u8, len: u32) -> bool {
    // SAFETY: promised by the caller; volatile since a stored key may be replaced meanwhile.
    unsafe {
        match N {
            4 => stored.cast::<u32>().read_volatile() == key.cast::<u32>().read_unaligned(),
            8 => stored.cast::<u64>().read_volatile() == key.cast::<u64>().read_unaligned(),
            _ => {
                let (mut i, n) = (0usize, len as usize);
                while i + 8 <= n {
                    if stored.add(i).cast::<u64>().read_volatile()
                        != key.add(i).cast::<u64>().read_unaligned()
                    {
                        return false;
                    }
                    i += 8;
                }
                while i < n {
                    if stored.add(i).read_volatile() != *key.add(i) {
                        return false;
                    }
                    i += 1;
                }
                true
            }
        }
    }
}
