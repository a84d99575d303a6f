//! Error numbers of x86-64 Linux (include/uapi/asm-generic/errno*.h), positive.

macro_rules! errnos {
    ($($name:ident = $value:expr, $text:literal;)*) => {
        $( #[doc = $text] pub const $name: i32 = $value; )*

        /// The name of a positive error number, as `EACCES`.
        pub fn name(errno: i32) -> Option<&'static str> {
            match errno { $( $name => Some(stringify!($name)), )* _ => None }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted";
    ENOENT = 2, "No such file or directory";
    ESRCH = 3, "No such process";
    EINTR = 4, "Interrupted system call";
    E2BIG = 7, "Argument list too long";
    EBADF = 9, "Bad file number";
    EAGAIN = 11, "Try again";
    ENOMEM = 12, "Out of memory";
    EACCES = 13, "Permission denied";
    EFAULT = 14, "Bad address";
    EBUSY = 16, "Device or resource busy";
    EEXIST = 17, "File exists";
    ENODEV = 19, "No such device";
    EINVAL = 22, "Invalid argument";
    ENOSPC = 28, "No space left on device";
    EDOM = 33, "Argument out of domain";
    ERANGE = 34, "Result not representable";
    EDEADLK = 35, "Resource deadlock would occur";
    ENAMETOOLONG = 36, "File name too long";
    ENOSYS = 38, "Function not implemented";
    ENODATA = 61, "No data available";
    EPROTO = 71, "Protocol error";
    EOVERFLOW = 75, "Value too large";
    EOPNOTSUPP = 95, "Operation not supported";
    ESTALE = 116, "Stale file handle";
    ENOTSUPP = 524, "Operation not supported (kernel-internal)";
}
