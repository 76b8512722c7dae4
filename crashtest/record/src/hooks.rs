//! The functions that take the place of libc's. Each makes the same system call and tells the
//! recorder.
//!
//! `open`, `openat` and `fcntl` are variadic in C. They are defined here with all their arguments:
//! on the 64-bit Linux ABIs integer arguments of variadic and of plain functions travel alike, and
//! one that the caller left out is garbage that the kernel ignores as it does for libc.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use crashtest_trace::{Kind, OPEN_CREATED, OPEN_DIRECTORY, OPEN_WRITABLE, SYNC_DATA};
use libc::{iovec, mode_t, off_t, size_t, ssize_t};

use crate::fault::{Error, Sort};
use crate::recorder::{Log, Recorder, recorder};
use crate::sys::{self, call};
use crate::table::{self, Target};

mod names;
mod sends;

/// Exports a function under several names.
macro_rules! export {
    ($($name:ident)+, $body:path, ($($arg:ident: $ty:ty),*) -> $ret:ty) => {
        export!(@each [$($name)+] $body, ($($arg: $ty),*) -> $ret);
    };
    (@each [$name:ident $($rest:ident)*] $body:path, ($($arg:ident: $ty:ty),*) -> $ret:ty) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> $ret {
            // SAFETY: the caller keeps the contract of libc's function, which is the body's.
            unsafe { $body($($arg),*) }
        }
        export!(@each [$($rest)*] $body, ($($arg: $ty),*) -> $ret);
    };
    (@each [] $body:path, ($($arg:ident: $ty:ty),*) -> $ret:ty) => {};
}
pub(crate) use export;

export!(read, do_read, (fd: c_int, to: *mut c_void, length: size_t) -> ssize_t);
export!(pread pread64, do_pread, (fd: c_int, to: *mut c_void, length: size_t, offset: off_t) -> ssize_t);
export!(write, do_write, (fd: c_int, from: *const c_void, length: size_t) -> ssize_t);
export!(pwrite pwrite64, do_pwrite, (fd: c_int, from: *const c_void, length: size_t, offset: off_t) -> ssize_t);
export!(writev, do_writev, (fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t);
export!(pwritev pwritev64, do_pwritev, (fd: c_int, vectors: *const iovec, count: c_int, offset: off_t) -> ssize_t);
export!(pwritev2 pwritev64v2, do_pwritev2, (fd: c_int, vectors: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t);
export!(copy_file_range, do_copy_file_range, (from: c_int, from_at: *mut i64, to: c_int, to_at: *mut i64, length: size_t, flags: c_uint) -> ssize_t);
export!(sendfile sendfile64, do_sendfile, (to: c_int, from: c_int, from_at: *mut off_t, length: size_t) -> ssize_t);
export!(ftruncate ftruncate64, do_ftruncate, (fd: c_int, length: off_t) -> c_int);
export!(fallocate fallocate64, do_fallocate, (fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int);
export!(posix_fallocate posix_fallocate64, do_posix_fallocate, (fd: c_int, offset: off_t, length: off_t) -> c_int);
export!(fsync, do_fsync, (fd: c_int) -> c_int);
export!(fdatasync, do_fdatasync, (fd: c_int) -> c_int);
export!(sync_file_range, do_sync_file_range, (fd: c_int, offset: i64, length: i64, flags: c_uint) -> c_int);
export!(mmap mmap64, do_mmap, (at: *mut c_void, length: size_t, protection: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void);
export!(close, do_close, (fd: c_int) -> c_int);
export!(dup, do_dup, (fd: c_int) -> c_int);
export!(dup2, do_dup2, (from: c_int, to: c_int) -> c_int);
export!(dup3, do_dup3, (from: c_int, to: c_int, flags: c_int) -> c_int);
export!(fcntl fcntl64, do_fcntl, (fd: c_int, command: c_int, argument: usize) -> c_int);
export!(open open64, do_open, (path: *const c_char, flags: c_int, mode: mode_t) -> c_int);
export!(openat openat64, do_openat, (dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int);
export!(__open_2 __open64_2, do_open_2, (path: *const c_char, flags: c_int) -> c_int);
export!(__openat_2 __openat64_2, do_openat_2, (dir: c_int, path: *const c_char, flags: c_int) -> c_int);
export!(creat creat64, do_creat, (path: *const c_char, mode: mode_t) -> c_int);

/// The inode behind `fd` and the recorder, if both are there.
fn followed(fd: c_int) -> Option<(&'static Recorder, u64)> {
    match table::get(fd)? {
        Target::File { inode, .. } => Some((recorder()?, inode)),
        Target::Marks => None,
    }
}

/// What a call that fails so returns.
fn fail(errno: c_int) -> isize {
    sys::set_errno(errno);
    -1
}

/// The number of an injected error, for calls that can only fail.
fn number_of(error: Error) -> Option<c_int> {
    match error {
        Error::Number(errno) => Some(errno),
        Error::Lost => Some(libc::EIO),
        Error::Full => Some(libc::ENOSPC),
        Error::Short | Error::Nothing => None,
    }
}

/// Makes a call, or the injected error in its place.
fn unless(error: Option<Error>, real: impl FnOnce() -> isize) -> isize {
    match error.and_then(number_of) {
        Some(errno) => fail(errno),
        None => real(),
    }
}

fn int(result: isize) -> c_int {
    // The kernel's answers to these calls are ints.
    c_int::try_from(result).unwrap_or(-1)
}

// ----- reads ------------------------------------------------------------------------------------

/// A read, which is counted if reads are to fail, and never recorded.
fn reading(fd: c_int, real: impl FnOnce() -> isize) -> ssize_t {
    let error = followed(fd).and_then(|(recorder, _)| recorder.log().fault(Sort::Read));
    unless(error, real)
}

unsafe fn do_read(fd: c_int, to: *mut c_void, length: size_t) -> ssize_t {
    let arguments = [fd as usize, to as usize, length, 0, 0, 0];
    // SAFETY: the caller's buffer and length.
    reading(fd, || unsafe { call(libc::SYS_read, arguments) })
}

unsafe fn do_pread(fd: c_int, to: *mut c_void, length: size_t, offset: off_t) -> ssize_t {
    let arguments = [fd as usize, to as usize, length, offset as usize, 0, 0];
    // SAFETY: the caller's buffer and length.
    reading(fd, || unsafe { call(libc::SYS_pread64, arguments) })
}

// ----- writes -----------------------------------------------------------------------------------

/// A write of `vectors`, which `real` makes.
///
/// # Safety
/// Each vector names readable memory.
unsafe fn writing(
    fd: c_int,
    vectors: &[iovec],
    offset: Option<off_t>,
    real: impl FnOnce() -> isize,
) -> ssize_t {
    let Some((target, recorder)) = table::get(fd).zip(recorder()) else {
        return real();
    };
    let slices: Vec<&[u8]> = vectors
        .iter()
        .filter(|vector| vector.iov_len > 0)
        // SAFETY: the caller's vectors, and of length above zero, so not null.
        .map(|vector| unsafe {
            std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), vector.iov_len)
        })
        .collect();
    let mut log = recorder.log();
    let Target::File { inode, synced } = target else {
        log.mark(&slices);
        return real();
    };
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    let at = offset.and_then(|offset| u64::try_from(offset).ok());
    let begin = at.or_else(|| sys::position(fd));
    let length = sys::facts(fd).map_or(0, |facts| facts.length);
    let grows = begin.is_none_or(|at| at.saturating_add(total as u64) > length);
    let error = log.fault_of(Sort::Write, grows);
    if let Some(at) = begin {
        log.remember(fd, inode, at, total as u64);
    }
    let result = match error {
        Some(Error::Short) => short(fd, &slices, offset, total),
        error => unless(error, real),
    };
    let errno = sys::errno();
    if let Ok(written) = usize::try_from(result)
        && written > 0
    {
        let ended = || sys::position(fd).map(|end| end.saturating_sub(written as u64));
        match at.or_else(ended) {
            Some(at) => log.wrote(inode, at, written, &slices),
            None => sys::die("nobody knows where a write went"),
        }
        if synced {
            log.synced(inode);
        }
    }
    sys::set_errno(errno);
    result
}

/// Half of a write, at least one byte.
fn short(fd: c_int, slices: &[&[u8]], offset: Option<off_t>, total: usize) -> isize {
    let first = slices.first().copied().unwrap_or_default();
    let half = first.len().min((total / 2).max(1));
    let at = offset.unwrap_or_default() as usize;
    let number = if offset.is_some() {
        libc::SYS_pwrite64
    } else {
        libc::SYS_write
    };
    // SAFETY: a slice and not more than its length.
    unsafe {
        call(
            number,
            [fd as usize, first.as_ptr() as usize, half, at, 0, 0],
        )
    }
}

/// The caller's vectors; none if there are not that many.
///
/// # Safety
/// `vectors` points to `count` of them.
unsafe fn vectors_of<'a>(vectors: *const iovec, count: c_int) -> &'a [iovec] {
    match usize::try_from(count) {
        // SAFETY: the caller's promise, and not null.
        Ok(count) if count > 0 && !vectors.is_null() => unsafe {
            std::slice::from_raw_parts(vectors, count)
        },
        _ => &[],
    }
}

fn one(from: *const c_void, length: size_t) -> [iovec; 1] {
    [iovec {
        iov_base: from.cast_mut(),
        iov_len: length,
    }]
}

unsafe fn do_write(fd: c_int, from: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: the arguments of `write`, unchanged.
    let real = || unsafe {
        call(
            libc::SYS_write,
            [fd as usize, from as usize, length, 0, 0, 0],
        )
    };
    // SAFETY: the caller's buffer is readable, by the contract of `write`.
    unsafe { writing(fd, &one(from, length), None, real) }
}

unsafe fn do_pwrite(fd: c_int, from: *const c_void, length: size_t, offset: off_t) -> ssize_t {
    let args = [fd as usize, from as usize, length, offset as usize, 0, 0];
    // SAFETY: the arguments of `pwrite`, unchanged.
    let real = || unsafe { call(libc::SYS_pwrite64, args) };
    // SAFETY: the caller's buffer is readable, by the contract of `pwrite`.
    unsafe { writing(fd, &one(from, length), Some(offset), real) }
}

unsafe fn do_writev(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
    let args = [fd as usize, vectors as usize, count as usize, 0, 0, 0];
    // SAFETY: the arguments of `writev`, unchanged.
    let real = || unsafe { call(libc::SYS_writev, args) };
    // SAFETY: the caller's vectors are what they say, by the contract of `writev`.
    unsafe { writing(fd, vectors_of(vectors, count), None, real) }
}

unsafe fn do_pwritev(fd: c_int, vectors: *const iovec, count: c_int, offset: off_t) -> ssize_t {
    // On 64-bit machines the low half of the offset is all of it.
    let args = [
        fd as usize,
        vectors as usize,
        count as usize,
        offset as usize,
        0,
        0,
    ];
    // SAFETY: the arguments of `pwritev`, unchanged.
    let real = || unsafe { call(libc::SYS_pwritev, args) };
    // SAFETY: the caller's vectors are what they say, by the contract of `pwritev`.
    unsafe { writing(fd, vectors_of(vectors, count), Some(offset), real) }
}

unsafe fn do_pwritev2(
    fd: c_int,
    vectors: *const iovec,
    count: c_int,
    offset: off_t,
    flags: c_int,
) -> ssize_t {
    let args = [
        fd as usize,
        vectors as usize,
        count as usize,
        offset as usize,
        0,
        flags as usize,
    ];
    // SAFETY: the arguments of `pwritev2`, unchanged.
    let real = || unsafe { call(libc::SYS_pwritev2, args) };
    // An offset of -1 means the file's own position.
    let at = (offset >= 0).then_some(offset);
    // SAFETY: the caller's vectors are what they say, by the contract of `pwritev2`.
    unsafe { writing(fd, vectors_of(vectors, count), at, real) }
}

/// A copy that the kernel makes: what it wrote is read back.
fn copying(to: c_int, at: Option<u64>, real: impl FnOnce() -> isize) -> ssize_t {
    let Some((recorder, inode)) = followed(to) else {
        return real();
    };
    let mut log = recorder.log();
    let error = log.fault_of(Sort::Write, true);
    let at = at.or_else(|| sys::position(to)).unwrap_or_default();
    let result = unless(error, real);
    let errno = sys::errno();
    if let Ok(copied) = usize::try_from(result)
        && copied > 0
    {
        match sys::with_reopened(to, |fd| sys::read_at(fd, at, copied)) {
            Some(bytes) => log.wrote(inode, at, bytes.len(), &[&bytes]),
            None => sys::die("what the kernel copied cannot be read"),
        }
    }
    sys::set_errno(errno);
    result
}

unsafe fn do_copy_file_range(
    from: c_int,
    from_at: *mut i64,
    to: c_int,
    to_at: *mut i64,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: null or a pointer to a number, by the contract of `copy_file_range`.
    let at = unsafe { to_at.as_ref() }.and_then(|at| u64::try_from(*at).ok());
    let args = [
        from as usize,
        from_at as usize,
        to as usize,
        to_at as usize,
        length,
        flags as usize,
    ];
    // SAFETY: the arguments of `copy_file_range`, unchanged.
    copying(to, at, || unsafe { call(libc::SYS_copy_file_range, args) })
}

unsafe fn do_sendfile(to: c_int, from: c_int, from_at: *mut off_t, length: size_t) -> ssize_t {
    let args = [to as usize, from as usize, from_at as usize, length, 0, 0];
    // SAFETY: the arguments of `sendfile`, unchanged.
    copying(to, None, || unsafe { call(libc::SYS_sendfile, args) })
}

// ----- lengths and space ------------------------------------------------------------------------

unsafe fn do_ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: a call that takes numbers.
    let real = || unsafe {
        call(
            libc::SYS_ftruncate,
            [fd as usize, length as usize, 0, 0, 0, 0],
        )
    };
    let Some((recorder, inode)) = followed(fd) else {
        return int(real());
    };
    let mut log = recorder.log();
    let error = log.fault(Sort::SetLen);
    log.remember(fd, inode, length as u64, u64::MAX);
    let result = unless(error, real);
    if result == 0 {
        log.put(Kind::SetLen, 0, [inode, length as u64, 0], &[]);
    }
    int(result)
}

unsafe fn do_fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    let args = [
        fd as usize,
        mode as usize,
        offset as usize,
        length as usize,
        0,
        0,
    ];
    // SAFETY: a call that takes numbers.
    let real = || unsafe { call(libc::SYS_fallocate, args) };
    let Some((recorder, inode)) = followed(fd) else {
        return int(real());
    };
    let mut log = recorder.log();
    let error = log.fault_of(Sort::Allocate, true);
    let result = unless(error, real);
    let errno = sys::errno();
    if result == 0 {
        let Some(mode) = u8::try_from(mode).ok().filter(|mode| mode & !3 == 0) else {
            sys::die("a mode of fallocate that the layout does not know");
        };
        let numbers = [inode, offset as u64, length as u64];
        log.put(Kind::Allocate, mode, numbers, &[]);
    }
    sys::set_errno(errno);
    int(result)
}

unsafe fn do_posix_fallocate(fd: c_int, offset: off_t, length: off_t) -> c_int {
    let before = sys::errno();
    // SAFETY: numbers. Where the file system cannot, the error is given, as other libcs do.
    let failed = unsafe { do_fallocate(fd, 0, offset, length) } != 0;
    let errno = sys::errno();
    sys::set_errno(before);
    if failed { errno } else { 0 }
}

// ----- syncs ------------------------------------------------------------------------------------

fn syncing(fd: c_int, flags: u8, real: impl FnOnce() -> isize) -> c_int {
    let Some((recorder, inode)) = followed(fd) else {
        return int(real());
    };
    let (begin, error) = {
        let mut log = recorder.log();
        let error = log.fault(Sort::Sync);
        let begin = log.put(Kind::SyncBegin, flags, [inode, 0, 0], &[]);
        if error == Some(Error::Lost) {
            log.lose(fd, inode);
        }
        (begin, error)
    };
    let result = unless(error, real);
    let errno = sys::errno();
    let mut log = recorder.log();
    if result == 0 {
        log.forget(inode, begin);
    }
    let said = if result == 0 { 0 } else { errno as u64 };
    log.put(Kind::SyncEnd, 0, [inode, begin, said], &[]);
    drop(log);
    sys::set_errno(errno);
    int(result)
}

unsafe fn do_fsync(fd: c_int) -> c_int {
    // SAFETY: a call that takes a number.
    syncing(fd, 0, || unsafe {
        call(libc::SYS_fsync, [fd as usize, 0, 0, 0, 0, 0])
    })
}

unsafe fn do_fdatasync(fd: c_int) -> c_int {
    // SAFETY: a call that takes a number.
    let real = || unsafe { call(libc::SYS_fdatasync, [fd as usize, 0, 0, 0, 0, 0]) };
    syncing(fd, SYNC_DATA, real)
}

unsafe fn do_sync_file_range(fd: c_int, offset: i64, length: i64, flags: c_uint) -> c_int {
    if let Some((recorder, inode)) = followed(fd) {
        let numbers = [inode, offset as u64, length as u64];
        recorder.log().put(Kind::RangeSync, 0, numbers, &[]);
    }
    let args = [
        fd as usize,
        offset as usize,
        length as usize,
        flags as usize,
        0,
        0,
    ];
    // SAFETY: a call that takes numbers.
    int(unsafe { call(libc::SYS_sync_file_range, args) })
}

unsafe fn do_mmap(
    at: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    let shared = flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
    if flags & libc::MAP_ANONYMOUS == 0
        && shared
        && protection & libc::PROT_WRITE != 0
        && let Some((recorder, inode)) = followed(fd)
    {
        let numbers = [inode, offset as u64, length as u64];
        recorder.log().put(Kind::Mapped, 0, numbers, &[]);
    }
    let args = [
        at as usize,
        length,
        protection as usize,
        flags as usize,
        fd as usize,
        offset as usize,
    ];
    // SAFETY: the arguments of `mmap`, unchanged; -1 is MAP_FAILED.
    unsafe { call(libc::SYS_mmap, args) as *mut c_void }
}

// ----- descriptors ------------------------------------------------------------------------------

unsafe fn do_close(fd: c_int) -> c_int {
    // First, because another thread may get the number as soon as the call is made.
    table::clear(fd);
    // SAFETY: a call that takes a number.
    int(unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) })
}

fn copied(from: c_int, result: isize) -> c_int {
    let to = int(result);
    if to >= 0 && to != from {
        table::copy(from, to);
    }
    to
}

unsafe fn do_dup(fd: c_int) -> c_int {
    // SAFETY: a call that takes a number.
    copied(fd, unsafe {
        call(libc::SYS_dup, [fd as usize, 0, 0, 0, 0, 0])
    })
}

unsafe fn do_dup2(from: c_int, to: c_int) -> c_int {
    if from == to {
        // SAFETY: asks only whether the descriptor is open, which is what dup2 does then.
        let open = unsafe {
            call(
                libc::SYS_fcntl,
                [from as usize, libc::F_GETFD as usize, 0, 0, 0, 0],
            )
        };
        return if open < 0 { -1 } else { to };
    }
    // SAFETY: numbers.
    unsafe { do_dup3(from, to, 0) }
}

unsafe fn do_dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    let args = [from as usize, to as usize, flags as usize, 0, 0, 0];
    // SAFETY: a call that takes numbers.
    copied(from, unsafe { call(libc::SYS_dup3, args) })
}

unsafe fn do_fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the arguments of `fcntl`, unchanged.
    let result = unsafe {
        call(
            libc::SYS_fcntl,
            [fd as usize, command as usize, argument, 0, 0, 0],
        )
    };
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => copied(fd, result),
        _ => int(result),
    }
}

// ----- opening ----------------------------------------------------------------------------------

unsafe fn do_open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the arguments of `open`.
    unsafe { do_openat(libc::AT_FDCWD, path, flags, mode) }
}

unsafe fn do_open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the arguments of `open` without a mode, which these flags do not need.
    unsafe { do_openat(libc::AT_FDCWD, path, flags, 0) }
}

unsafe fn do_openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { do_openat(dir, path, flags, 0) }
}

unsafe fn do_creat(path: *const c_char, mode: mode_t) -> c_int {
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    // SAFETY: what `creat` is by its definition.
    unsafe { do_openat(libc::AT_FDCWD, path, flags, mode) }
}

unsafe fn do_openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let args = [
        dir as usize,
        path as usize,
        flags as usize,
        mode as usize,
        0,
        0,
    ];
    // SAFETY: the arguments of `openat`, unchanged.
    let real = || unsafe { call(libc::SYS_openat, args) };
    let Some(recorder) = recorder() else {
        return int(real());
    };
    let changes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    if !changes || path.is_null() {
        // Not under the lock: opening may wait for somebody else, a pipe's other end for one.
        let fd = int(real());
        let errno = sys::errno();
        if fd >= 0 {
            follow(recorder, fd, flags, None);
        }
        sys::set_errno(errno);
        return fd;
    }
    // SAFETY: a C string, by the contract of `openat`.
    let name = unsafe { CStr::from_ptr(path) };
    let inside = recorder.place(dir, name).is_some();
    let mut log = inside.then(|| recorder.log());
    // SAFETY: a C string, by the contract of `openat`.
    let before = unsafe { sys::inode_at(dir, path) };
    let error = log
        .as_mut()
        .and_then(|log| log.fault_of(Sort::Create, before.is_none()));
    let fd = int(unless(error, real));
    let errno = sys::errno();
    if fd >= 0 {
        // Still under the lock, so that nobody renames or writes what is not followed yet.
        let created = Some(before.is_none());
        match log {
            Some(mut log) => follow_in(recorder, &mut log, fd, flags, created),
            None => follow(recorder, fd, flags, created),
        }
    }
    sys::set_errno(errno);
    fd
}

/// Follows a descriptor that was just opened, if it lies beneath the directory. `created` is known
/// if the call could make or cut the file.
fn follow(recorder: &Recorder, fd: c_int, flags: c_int, created: Option<bool>) {
    table::clear(fd);
    let inside = sys::path_of(fd)
        .is_some_and(|path| recorder.is_marks(&path) || recorder.relative(&path).is_some());
    if inside {
        follow_in(recorder, &mut recorder.log(), fd, flags, created);
    }
}

/// As [`follow`], by somebody who has the lock.
fn follow_in(recorder: &Recorder, log: &mut Log, fd: c_int, flags: c_int, created: Option<bool>) {
    table::clear(fd);
    let Some(path) = sys::path_of(fd) else { return };
    if recorder.is_marks(&path) {
        table::set(fd, Target::Marks);
        return;
    }
    let Some(relative) = recorder.relative(&path) else {
        return;
    };
    let Some(facts) = sys::facts(fd).filter(|facts| facts.regular || facts.directory) else {
        return;
    };
    if flags & libc::O_PATH != 0 {
        return;
    }
    let created = created.unwrap_or(false);
    let mut bits = if facts.directory { OPEN_DIRECTORY } else { 0 };
    bits |= if created { OPEN_CREATED } else { 0 };
    bits |= match flags & libc::O_ACCMODE {
        libc::O_RDONLY => 0,
        _ => OPEN_WRITABLE,
    };
    log.put(
        Kind::Open,
        bits,
        [facts.inode, flags as u64, 0],
        &[relative],
    );
    if flags & libc::O_TRUNC != 0 && !created {
        log.put(Kind::SetLen, 0, [facts.inode, 0, 0], &[]);
    }
    let target = Target::File {
        inode: facts.inode,
        synced: flags & libc::O_DSYNC != 0,
    };
    if !table::set(fd, target) {
        sys::die("more descriptors are open than can be followed");
    }
}
