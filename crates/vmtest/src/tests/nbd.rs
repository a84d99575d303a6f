//! A network block device whose server is a child process: block n is full of bytes n.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::test::Failure;

/// Bytes of a block.
pub const BLOCK: u64 = 4096;
/// Blocks of the device.
const BLOCKS: u64 = 64;
const PATH: &str = "/dev/nbd0";

const NBD_SET_SOCK: u64 = 0xab00;
const NBD_SET_BLKSIZE: u64 = 0xab01;
const NBD_DO_IT: u64 = 0xab03;
const NBD_CLEAR_SOCK: u64 = 0xab04;
const NBD_SET_SIZE_BLOCKS: u64 = 0xab07;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// The device in use. Dropped, its processes are ended.
pub struct Device {
    server: Pid,
    driver: Pid,
}

impl Device {
    /// Starts the server and the process that drives the device, and waits until it has its size.
    pub fn start() -> Result<Device, Failure> {
        let (kernel, server) = UnixStream::pair()?;
        let server = child(|| serve(server))?;
        let driver = child(|| {
            let _ = drive(&kernel);
        });
        let device = Device { server, driver: driver? };
        let start = Instant::now();
        // In 512-byte sectors.
        while std::fs::read_to_string("/sys/block/nbd0/size")?.trim()
            != (BLOCKS * BLOCK / 512).to_string()
        {
            if start.elapsed() > Duration::from_secs(30) {
                return Err(Failure::new("the device does not come up"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(device)
    }

    /// Reads a block past every cache.
    pub fn read(&self, block: u64) -> Result<[u8; BLOCK as usize], Failure> {
        #[repr(align(4096))]
        struct Aligned([u8; BLOCK as usize]);
        let mut buffer = Aligned([0xff; BLOCK as usize]);
        let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(PATH)?;
        file.read_exact_at(&mut buffer.0, block * BLOCK)?;
        Ok(buffer.0)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for pid in [self.server, self.driver] {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
        if let Ok(file) = File::open(PATH) {
            let _ = ioctl(&file, NBD_CLEAR_SOCK, 0);
        }
    }
}

/// Runs `body` in a child process.
fn child(body: impl FnOnce()) -> Result<Pid, Failure> {
    // SAFETY: a test's process has one thread, so the child's memory is a consistent copy.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        body();
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(0) }
    }
    Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(|| std::io::Error::last_os_error().into())
}

fn ioctl(file: &File, request: u64, argument: u64) -> Result<(), Failure> {
    // SAFETY: these requests take numbers.
    let ret = unsafe { libc::ioctl(file.as_raw_fd(), request, argument) };
    if ret < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(()) }
}

/// Gives the device its socket, and is the device until it is killed.
fn drive(socket: &UnixStream) -> Result<(), Failure> {
    let file = File::options().read(true).write(true).open(PATH)?;
    ioctl(&file, NBD_CLEAR_SOCK, 0)?;
    ioctl(&file, NBD_SET_BLKSIZE, BLOCK)?;
    ioctl(&file, NBD_SET_SIZE_BLOCKS, BLOCKS)?;
    ioctl(&file, NBD_SET_SOCK, socket.as_raw_fd() as u64)?;
    ioctl(&file, NBD_DO_IT, 0)
}

/// Answers requests until the other side is closed.
fn serve(mut socket: UnixStream) {
    let mut request = [0; 28];
    while socket.read_exact(&mut request).is_ok() {
        let word = |at: usize| {
            u32::from_be_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]])
        };
        if word(0) != REQUEST_MAGIC {
            return;
        }
        let from = u64::from(word(16)) << 32 | u64::from(word(20));
        let is_read = word(4) & 0xffff == 0;
        let mut reply = [REPLY_MAGIC.to_be_bytes(), [0; 4]].concat();
        reply.extend_from_slice(&request[8..16]);
        if is_read {
            reply.extend((from..from + u64::from(word(24))).map(|at| (at / BLOCK) as u8));
        }
        if socket.write_all(&reply).is_err() {
            return;
        }
    }
}
