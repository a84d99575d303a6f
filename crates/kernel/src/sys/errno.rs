//! Error numbers of system calls.

use std::fmt;

/// A positive error number of Linux.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// That of the calling thread's last system call.
    pub(crate) fn last() -> Errno {
        Errno::from(std::io::Error::last_os_error())
    }

    /// Name as `EACCES`, where it has one here.
    pub fn name(self) -> Option<&'static str> {
        stylet_uapi::errno::name(self.0)
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Errno {
    /// `EACCES (Permission denied)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        match self.name() {
            Some("ENOTSUPP") => f.write_str("ENOTSUPP (Operation not supported)"),
            Some(name) => write!(f, "{name} ({text})"),
            None => write!(f, "{text} (errno {})", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}
