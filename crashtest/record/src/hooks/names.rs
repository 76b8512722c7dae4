//! The functions that change names: rename, link, unlink, mkdir, rmdir, and truncate by name.

use std::ffi::{CStr, c_char, c_int, c_uint};

use crashtest_trace::Kind;
use libc::{mode_t, off_t};

use super::{export, int, unless};
use crate::fault::Sort;
use crate::recorder::{Recorder, recorder};
use crate::sys::{self, call};

export!(rename, do_rename, (from: *const c_char, to: *const c_char) -> c_int);
export!(renameat, do_renameat, (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int);
export!(renameat2, do_renameat2, (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> c_int);
export!(link, do_link, (from: *const c_char, to: *const c_char) -> c_int);
export!(linkat, do_linkat, (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_int) -> c_int);
export!(unlink, do_unlink, (path: *const c_char) -> c_int);
export!(unlinkat, do_unlinkat, (dir: c_int, path: *const c_char, flags: c_int) -> c_int);
export!(rmdir, do_rmdir, (path: *const c_char) -> c_int);
export!(remove, do_remove, (path: *const c_char) -> c_int);
export!(mkdir, do_mkdir, (path: *const c_char, mode: mode_t) -> c_int);
export!(mkdirat, do_mkdirat, (dir: c_int, path: *const c_char, mode: mode_t) -> c_int);
export!(truncate truncate64, do_truncate, (path: *const c_char, length: off_t) -> c_int);

const HERE: c_int = libc::AT_FDCWD;

/// Where a name lies beneath the directory, if it does.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn place(recorder: &Recorder, dir: c_int, path: *const c_char) -> Option<Vec<u8>> {
    if path.is_null() {
        return None;
    }
    // SAFETY: a C string, by the caller's promise.
    recorder.place(dir, unsafe { CStr::from_ptr(path) })
}

unsafe fn do_rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the arguments of `rename`.
    unsafe { do_renameat2(HERE, from, HERE, to, 0) }
}

unsafe fn do_renameat(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
) -> c_int {
    // SAFETY: the arguments of `renameat`.
    unsafe { do_renameat2(from_dir, from, to_dir, to, 0) }
}

unsafe fn do_renameat2(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    let args = [
        from_dir as usize,
        from as usize,
        to_dir as usize,
        to as usize,
        flags as usize,
        0,
    ];
    // SAFETY: the arguments of `renameat2`, unchanged.
    let real = || unsafe { call(libc::SYS_renameat2, args) };
    let Some(recorder) = recorder() else {
        return int(real());
    };
    // SAFETY: C strings, by the contract of `renameat2`.
    let places = unsafe { (place(recorder, from_dir, from), place(recorder, to_dir, to)) };
    if places == (None, None) {
        return int(real());
    }
    let mut log = recorder.log();
    let error = log.fault(Sort::Rename);
    let result = unless(error, real);
    let errno = sys::errno();
    if result == 0 {
        match places {
            (Some(from), Some(to)) if flags & libc::RENAME_EXCHANGE == 0 => {
                log.put(Kind::Rename, 0, [0; 3], &[&from, b"\0", &to]);
            }
            (Some(from), None) => {
                log.put(Kind::Unlink, 0, [0; 3], &[&from]);
            }
            _ => sys::die("a file came into the directory from outside, or two changed places"),
        }
    }
    sys::set_errno(errno);
    int(result)
}

unsafe fn do_link(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the arguments of `link`.
    unsafe { do_linkat(HERE, from, HERE, to, 0) }
}

unsafe fn do_linkat(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    let args = [
        from_dir as usize,
        from as usize,
        to_dir as usize,
        to as usize,
        flags as usize,
        0,
    ];
    // SAFETY: the arguments of `linkat`, unchanged.
    let real = || unsafe { call(libc::SYS_linkat, args) };
    let Some(recorder) = recorder() else {
        return int(real());
    };
    // SAFETY: C strings, by the contract of `linkat`.
    let Some(to_place) = (unsafe { place(recorder, to_dir, to) }) else {
        return int(real());
    };
    let mut log = recorder.log();
    let error = log.fault(Sort::Rename);
    let result = unless(error, real);
    let errno = sys::errno();
    if result == 0 {
        // SAFETY: a C string, by the contract of `linkat`.
        let inode = unsafe { sys::inode_at(to_dir, to) }.unwrap_or_default();
        log.put(Kind::Link, 0, [inode, 0, 0], &[&to_place]);
    }
    sys::set_errno(errno);
    int(result)
}

/// Removes a name.
///
/// # Safety
/// As `unlinkat`.
unsafe fn do_unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    let args = [dir as usize, path as usize, flags as usize, 0, 0, 0];
    // SAFETY: the arguments of `unlinkat`, unchanged.
    let real = || unsafe { call(libc::SYS_unlinkat, args) };
    let Some(recorder) = recorder() else {
        return int(real());
    };
    // SAFETY: a C string, by the contract of `unlinkat`.
    let Some(place) = (unsafe { place(recorder, dir, path) }) else {
        return int(real());
    };
    let mut log = recorder.log();
    let error = log.fault(Sort::Remove);
    let result = unless(error, real);
    let errno = sys::errno();
    if result == 0 {
        let kind = match flags & libc::AT_REMOVEDIR {
            0 => Kind::Unlink,
            _ => Kind::RemoveDir,
        };
        log.put(kind, 0, [0; 3], &[&place]);
    }
    sys::set_errno(errno);
    int(result)
}

unsafe fn do_unlink(path: *const c_char) -> c_int {
    // SAFETY: the arguments of `unlink`.
    unsafe { do_unlinkat(HERE, path, 0) }
}

unsafe fn do_rmdir(path: *const c_char) -> c_int {
    // SAFETY: the arguments of `rmdir`.
    unsafe { do_unlinkat(HERE, path, libc::AT_REMOVEDIR) }
}

unsafe fn do_remove(path: *const c_char) -> c_int {
    // SAFETY: the arguments of `remove`, which is the one or the other.
    unsafe {
        if do_unlink(path) == 0 {
            return 0;
        }
        if sys::errno() != libc::EISDIR {
            return -1;
        }
        do_rmdir(path)
    }
}

unsafe fn do_mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the arguments of `mkdir`.
    unsafe { do_mkdirat(HERE, path, mode) }
}

unsafe fn do_mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    let args = [dir as usize, path as usize, mode as usize, 0, 0, 0];
    // SAFETY: the arguments of `mkdirat`, unchanged.
    let real = || unsafe { call(libc::SYS_mkdirat, args) };
    let Some(recorder) = recorder() else {
        return int(real());
    };
    // SAFETY: a C string, by the contract of `mkdirat`.
    let Some(place) = (unsafe { place(recorder, dir, path) }) else {
        return int(real());
    };
    let mut log = recorder.log();
    let error = log.fault_of(Sort::MakeDir, true);
    let result = unless(error, real);
    let errno = sys::errno();
    if result == 0 {
        // SAFETY: a C string, by the contract of `mkdirat`.
        let inode = unsafe { sys::inode_at(dir, path) }.unwrap_or_default();
        log.put(Kind::MakeDir, 0, [inode, 0, 0], &[&place]);
    }
    sys::set_errno(errno);
    int(result)
}

unsafe fn do_truncate(path: *const c_char, length: off_t) -> c_int {
    // SAFETY: the arguments of `truncate`, unchanged.
    let real = || unsafe {
        call(
            libc::SYS_truncate,
            [path as usize, length as usize, 0, 0, 0, 0],
        )
    };
    let Some(recorder) = recorder() else {
        return int(real());
    };
    // SAFETY: a C string, by the contract of `truncate`.
    if unsafe { place(recorder, HERE, path) }.is_none() {
        return int(real());
    }
    let mut log = recorder.log();
    let error = log.fault(Sort::SetLen);
    let result = unless(error, real);
    let errno = sys::errno();
    if result == 0 {
        // SAFETY: a C string, by the contract of `truncate`.
        match unsafe { sys::inode_at(HERE, path) } {
            Some(inode) => log.put(Kind::SetLen, 0, [inode, length as u64, 0], &[]),
            None => sys::die("nobody knows which file was cut"),
        };
    }
    sys::set_errno(errno);
    int(result)
}
