//! The functions that send. A frame is written before the bytes go: the state at that frame is the
//! one that must explain them.

use std::ffi::{c_int, c_uint, c_void};

use crashtest_trace::Kind;
use libc::{mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use super::{export, int, one, vectors_of};
use crate::recorder::recorder;
use crate::sys::call;

export!(send, do_send, (fd: c_int, from: *const c_void, length: size_t, flags: c_int) -> ssize_t);
export!(sendto, do_sendto, (fd: c_int, from: *const c_void, length: size_t, flags: c_int, to: *const sockaddr, to_length: socklen_t) -> ssize_t);
export!(sendmsg, do_sendmsg, (fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t);
export!(sendmmsg, do_sendmmsg, (fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int);

/// Notes what is about to be sent.
///
/// # Safety
/// Each vector names readable memory.
unsafe fn sending(vectors: &[libc::iovec]) {
    let Some(recorder) = recorder() else { return };
    let mut crc = crc32fast::Hasher::new();
    let mut length = 0;
    for vector in vectors.iter().filter(|vector| vector.iov_len > 0) {
        // SAFETY: the caller's promise, and not empty, so not null.
        crc.update(unsafe {
            std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), vector.iov_len)
        });
        length += vector.iov_len as u64;
    }
    let numbers = [0, length, u64::from(crc.finalize())];
    recorder.log().put(Kind::Send, 0, numbers, &[]);
}

unsafe fn do_send(fd: c_int, from: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: what `send` is by its definition.
    unsafe { do_sendto(fd, from, length, flags, std::ptr::null(), 0) }
}

unsafe fn do_sendto(
    fd: c_int,
    from: *const c_void,
    length: size_t,
    flags: c_int,
    to: *const sockaddr,
    to_length: socklen_t,
) -> ssize_t {
    let args = [
        fd as usize,
        from as usize,
        length,
        flags as usize,
        to as usize,
        to_length as usize,
    ];
    // SAFETY: a readable buffer by the contract of `sendto`, and its arguments, unchanged.
    unsafe {
        sending(&one(from, length));
        call(libc::SYS_sendto, args)
    }
}

unsafe fn do_sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: a message by the contract of `sendmsg`, and its arguments, unchanged.
    unsafe {
        if let Some(message) = message.as_ref() {
            let count = c_int::try_from(message.msg_iovlen).unwrap_or_default();
            sending(vectors_of(message.msg_iov, count));
        }
        call(
            libc::SYS_sendmsg,
            [fd as usize, message as usize, flags as usize, 0, 0, 0],
        )
    }
}

unsafe fn do_sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
    // SAFETY: so many messages by the contract of `sendmmsg`, and its arguments, unchanged.
    unsafe {
        if !messages.is_null() {
            for message in std::slice::from_raw_parts(messages, count as usize) {
                let count = c_int::try_from(message.msg_hdr.msg_iovlen).unwrap_or_default();
                sending(vectors_of(message.msg_hdr.msg_iov, count));
            }
        }
        let args = [
            fd as usize,
            messages as usize,
            count as usize,
            flags as usize,
            0,
            0,
        ];
        int(call(libc::SYS_sendmmsg, args))
    }
}
