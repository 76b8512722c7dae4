//! The media path from file to clip, checked against two independent readers: re_mp4 in the
//! process, and FFmpeg where it is installed. One binary, because linking one is slow enough.
//!
//! It must never need a network or the real time.

mod camera;
mod ffmpeg;
mod garbage;
mod refusals;
mod round_trip;
mod support;
