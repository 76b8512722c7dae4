//! System calls, made directly, so that nothing here can come back through a replaced function.
//!
//! Everything safe in this room takes descriptors and Rust slices only.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::mem::MaybeUninit;

/// Makes a system call; -1 and `errno` on an error.
///
/// # Safety
/// The arguments must be what the kernel's call of that number wants.
pub(crate) unsafe fn call(number: c_long, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the caller answers for the arguments; more of them than the call takes do no harm.
    unsafe { libc::syscall(number, a, b, c, d, e, f) as isize }
}

/// The thread's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: libc gives a valid pointer to this thread's own variable.
    unsafe { *libc::__errno_location() }
}

/// Sets the thread's `errno`.
pub(crate) fn set_errno(value: c_int) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = value }
}

/// Nanoseconds of the monotonic clock, which all processes of a machine share.
pub(crate) fn nanos() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a timespec, and zeroes are a timespec, should the call fail.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr());
        time.assume_init()
    };
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// This process and this thread.
pub(crate) fn who() -> (u32, u32) {
    // SAFETY: both calls take nothing and cannot fail.
    let (process, thread) = unsafe { (libc::getpid(), libc::gettid()) };
    (process as u32, thread as u32)
}

/// What is known of an open file.
pub(crate) struct Facts {
    pub(crate) inode: u64,
    pub(crate) length: u64,
    pub(crate) directory: bool,
    pub(crate) regular: bool,
}

/// Facts about an open file.
pub(crate) fn facts(fd: c_int) -> Option<Facts> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the pointer is to a stat, which is read only if the call filled it.
    let stat = unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) != 0 {
            return None;
        }
        stat.assume_init()
    };
    let kind = stat.st_mode & libc::S_IFMT;
    Some(Facts {
        inode: stat.st_ino,
        length: stat.st_size as u64,
        directory: kind == libc::S_IFDIR,
        regular: kind == libc::S_IFREG,
    })
}

/// The inode of a path, not following a link at its end; `None` if it does not exist.
///
/// # Safety
/// `path` must be a C string.
pub(crate) unsafe fn inode_at(dir: c_int, path: *const c_char) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the caller answers for the path; the stat is read only if the call filled it.
    unsafe {
        if libc::fstatat(dir, path, stat.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW) != 0 {
            return None;
        }
        Some(stat.assume_init().st_ino)
    }
}

/// The absolute path of an open file or directory, links resolved.
pub(crate) fn path_of(fd: c_int) -> Option<Vec<u8>> {
    let link = format!("/proc/self/fd/{fd}\0");
    let link = CStr::from_bytes_until_nul(link.as_bytes()).ok()?;
    let mut out = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: a C string, and a buffer of the length that is said.
    let length = unsafe { libc::readlink(link.as_ptr(), out.as_mut_ptr().cast(), out.len()) };
    out.truncate(usize::try_from(length).ok()?);
    Some(out)
}

/// Opens a directory only to learn where it is, and closes it again.
pub(crate) fn directory_path(dir: c_int, path: &CStr) -> Option<Vec<u8>> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: `path` is a C string.
    let fd = unsafe {
        call(
            libc::SYS_openat,
            [
                dir as usize,
                path.as_ptr() as usize,
                flags as usize,
                0,
                0,
                0,
            ],
        )
    };
    let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    let found = path_of(fd);
    close(fd);
    found
}

/// Opens the trace for appending.
pub(crate) fn open_trace(path: &CStr) -> Option<c_int> {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: `path` is a C string.
    let fd = unsafe {
        call(
            libc::SYS_openat,
            [
                libc::AT_FDCWD as usize,
                path.as_ptr() as usize,
                flags as usize,
                0o600,
                0,
                0,
            ],
        )
    };
    c_int::try_from(fd).ok().filter(|fd| *fd >= 0)
}

/// Closes a descriptor that this library opened.
pub(crate) fn close(fd: c_int) {
    // SAFETY: a call that takes a number.
    unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Appends all parts in one call if the kernel takes them so; false if it does not take them all.
pub(crate) fn append(fd: c_int, parts: &[&[u8]]) -> bool {
    let mut vectors: Vec<libc::iovec> = parts.iter().map(|part| vector(part)).collect();
    let mut place = 0;
    while let Some(rest) = vectors.get(place..).filter(|rest| !rest.is_empty()) {
        // SAFETY: the vectors point into slices that live as long as this call.
        let written = unsafe {
            call(
                libc::SYS_writev,
                [fd as usize, rest.as_ptr() as usize, rest.len(), 0, 0, 0],
            )
        };
        let Ok(mut written) = usize::try_from(written) else {
            if errno() == libc::EINTR {
                continue;
            }
            return false;
        };
        while let Some(first) = vectors.get_mut(place) {
            if written < first.iov_len {
                first.iov_base = first.iov_base.wrapping_byte_add(written);
                first.iov_len -= written;
                break;
            }
            written -= first.iov_len;
            place += 1;
        }
    }
    true
}

fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(),
        iov_len: bytes.len(),
    }
}

/// Where the next `write` without an offset will go.
pub(crate) fn position(fd: c_int) -> Option<u64> {
    // SAFETY: a call that takes numbers.
    let place = unsafe {
        call(
            libc::SYS_lseek,
            [fd as usize, 0, libc::SEEK_CUR as usize, 0, 0, 0],
        )
    };
    u64::try_from(place).ok()
}

/// Reads what stands in a file; shorter at its end. `None` if it may not be read.
pub(crate) fn read_at(fd: c_int, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut out = vec![0u8; length];
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.checked_add(done as u64)?;
        // SAFETY: a buffer of the length that is said.
        let read = unsafe {
            call(
                libc::SYS_pread64,
                [
                    fd as usize,
                    rest.as_mut_ptr() as usize,
                    rest.len(),
                    at as usize,
                    0,
                    0,
                ],
            )
        };
        match usize::try_from(read) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(_) => return None,
        }
    }
    out.truncate(done);
    Some(out)
}

/// Puts old bytes back; whether it worked.
pub(crate) fn write_at(fd: c_int, offset: u64, bytes: &[u8]) -> bool {
    // SAFETY: a slice and its length.
    let written = unsafe {
        call(
            libc::SYS_pwrite64,
            [
                fd as usize,
                bytes.as_ptr() as usize,
                bytes.len(),
                offset as usize,
                0,
                0,
            ],
        )
    };
    usize::try_from(written) == Ok(bytes.len())
}

/// Sets a length back.
pub(crate) fn set_length(fd: c_int, length: u64) -> bool {
    // SAFETY: a call that takes numbers.
    unsafe {
        call(
            libc::SYS_ftruncate,
            [fd as usize, length as usize, 0, 0, 0, 0],
        ) == 0
    }
}

/// Says something on stderr and ends the process: a trace with a hole is worse than none.
pub(crate) fn die(why: &str) -> ! {
    let text = format!("crashtest-record: {why}; the process is ended, its trace is not whole\n");
    append(libc::STDERR_FILENO, &[text.as_bytes()]);
    std::process::abort()
}

/// Lets `work` have a descriptor of the same file that reads, writes and never appends.
pub(crate) fn with_reopened<T>(fd: c_int, work: impl FnOnce(c_int) -> Option<T>) -> Option<T> {
    let link = format!("/proc/self/fd/{fd}\0");
    let link = CStr::from_bytes_until_nul(link.as_bytes()).ok()?;
    let flags = libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: `link` is a C string.
    let fd = unsafe {
        call(
            libc::SYS_openat,
            [
                libc::AT_FDCWD as usize,
                link.as_ptr() as usize,
                flags as usize,
                0,
                0,
                0,
            ],
        )
    };
    let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    let result = work(fd);
    close(fd);
    result
}

/// All signals of this thread wait as long as this lives.
pub(crate) struct Masked(libc::sigset_t);

impl Masked {
    pub(crate) fn all() -> Self {
        // SAFETY: both sets are ours and large enough; zeroed is a valid set, and filled before use.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that was there before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}
