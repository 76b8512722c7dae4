//! The media path from camera to clip, checked against independent readers: re_mp4 in the process, FFmpeg and
//! Chromium. One binary, because linking one is slow enough.
//!
//! It must never need a network or, but for a browser that plays, the real time.

mod camera;
mod ffmpeg;
mod films;
mod garbage;
mod players;
mod refusals;
mod round_trip;
mod support;
