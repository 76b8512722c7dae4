//! A library to be preloaded into a program: it writes down what the program does to the files
//! beneath one directory, and what it sends. No root, no kernel module, no change of the program.
//!
//! This room must never change what the program sees (except where it was asked to inject an
//! error), must never lose a record silently (it aborts the process instead), and must never call
//! back into the functions that it replaces. Layout of the trace, environment and limits:
//! `README.md` beside this crate.
//!
//! It is the one crate of the workspace with `unsafe` code: replacing C functions is nothing else.
//! `sys` holds the system calls, `hooks` the replaced functions, `recorder` has what is recorded
//! and no `unsafe`.

#![allow(
    unsafe_code,
    reason = "Functions of libc are replaced by functions with their names and their contracts."
)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(unsafe_op_in_unsafe_fn)]

mod fault;
mod hooks;
mod recorder;
mod sys;
mod table;
