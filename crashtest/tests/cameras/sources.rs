//! What the cameras show: a visit, and all that is none.

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::Timestamp;
use openh264::decoder::Decoder;
use openh264::encoder::{Encoder, EncoderConfig, FrameRate, IntraFramePeriod, RateControlMode};
use openh264::formats::{YUVBuffer, YUVSource as _};
use test_camera::Scene;

use crate::people::{RATE, clip, showing};

/// Pictures before the clip.
pub(crate) const HEAD: usize = 100;
/// One of so many is a key frame there. An event begins with one, and so tells to so many pictures when it was found.
pub(crate) const KEY_EVERY: usize = 2;
/// Pictures behind the clip: longer than anybody looks.
const TAIL: usize = 2_000;
/// Macroblocks of one picture of the clip.
const MACROBLOCKS: u32 = 768 / 16 * 576 / 16;

/// Ten seconds of the clip's first picture, the clip, and its last picture for long: the bytes of the clip are left as
/// they are, and what stands still says in a few bytes that nothing has changed.
pub(crate) fn visit() -> Scene {
    let clip = clip();
    let key = &clip.pictures[0].nals;
    let still = |number: usize| vec![unchanged(number as u32 % 16)];
    let mut nals: Vec<Vec<Bytes>> = Vec::new();
    for number in 0..HEAD {
        let at = number % KEY_EVERY;
        nals.push(if at == 0 { key.clone() } else { still(at) });
    }
    nals.extend(clip.pictures.iter().map(|picture| picture.nals.clone()));
    // The clip's last key frame is its 180th picture.
    nals.extend((20..20 + TAIL).map(still));
    showing(clip, nals)
}

/// A picture that is like the one before it (ITU-T H.264, 7.3.3 and 7.3.4), as the clip's parameter sets want it:
/// numbers of frames of four bits, no order of output of their own, CAVLC, a deblocking filter that can be turned off.
fn unchanged(frame_num: u32) -> Bytes {
    let mut bits = Bits::default();
    bits.golomb(0); // first macroblock
    bits.golomb(5); // P, as all slices of the picture
    bits.golomb(0); // picture parameter set
    bits.fixed(4, frame_num);
    bits.fixed(1, 1); // a number of references of its own:
    bits.golomb(0); // one
    bits.fixed(1, 0); // in their order
    bits.fixed(1, 0); // which slides
    bits.golomb(0); // quantiser
    bits.golomb(1); // no deblocking
    bits.golomb(MACROBLOCKS); // all skipped
    bits.fixed(1, 1); // the end
    let mut nal = vec![0x41];
    nal.extend(bits.bytes());
    Bytes::from(nal)
}

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn fixed(&mut self, bits: u32, value: u32) {
        self.0
            .extend((0..bits).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// Exponential Golomb (9.1).
    fn golomb(&mut self, value: u32) {
        let bits = u32::BITS - (value + 1).leading_zeros();
        self.fixed(bits - 1, 0);
        self.fixed(bits, value + 1);
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            let ones = bits.iter().enumerate().filter(|(_, bit)| **bit);
            ones.fold(0_u8, |byte, (at, _)| byte | 0x80 >> at)
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// A picture in 4:2:0, of a quarter of the clip's size.
#[derive(Clone)]
pub(crate) struct Still {
    pub luma: Vec<u8>,
    chroma: Vec<u8>,
}

pub(crate) const WIDTH: usize = 384;
pub(crate) const HEIGHT: usize = 288;

/// The clip's first picture, every second pixel of every second line.
pub(crate) fn street() -> Still {
    let scene = clip();
    let mut stream = Vec::new();
    let parameters = [&scene.sps, &scene.pps].into_iter();
    for nal in parameters.chain(&scene.pictures[0].nals) {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal);
    }
    let mut decoder = Decoder::new().expect("a decoder");
    let decoded = decoder.decode(&stream).expect("a key frame");
    let decoded = decoded.expect("a picture");
    let (luma_stride, blue_stride, red_stride) = decoded.strides();
    let half = |plane: &[u8], stride: usize, width: usize, height: usize| {
        let at = |y: usize| (0..width).map(move |x| 2 * y * stride + 2 * x);
        let places = (0..height).flat_map(at);
        places.map(|place| plane[place]).collect::<Vec<u8>>()
    };
    let mut chroma = half(decoded.u(), blue_stride, WIDTH / 2, HEIGHT / 2);
    chroma.extend(half(decoded.v(), red_stride, WIDTH / 2, HEIGHT / 2));
    Still {
        luma: half(decoded.y(), luma_stride, WIDTH, HEIGHT),
        chroma,
    }
}

/// Pictures as a camera encodes them, to be played again and again.
pub(crate) fn encoded(pictures: impl IntoIterator<Item = Still>) -> Scene {
    let config = EncoderConfig::new()
        .rate_control_mode(RateControlMode::Off)
        .max_frame_rate(FrameRate::from_hz(RATE as f32))
        .intra_frame_period(IntraFramePeriod::from_num_frames(RATE))
        .scene_change_detect(false)
        .skip_frames(false)
        .num_threads(1);
    let mut encoder =
        Encoder::with_api_config(OpenH264API::from_source(), config).expect("an encoder");
    let mut stream = Vec::new();
    for (number, picture) in (0_u64..).zip(pictures) {
        let planes = [picture.luma, picture.chroma].concat();
        let planes = YUVBuffer::from_vec(planes, WIDTH, HEIGHT);
        let at = Timestamp::from_millis(number * 1000 / u64::from(RATE));
        let coded = encoder.encode_at(&planes, at).expect("a picture");
        stream.extend(coded.to_vec());
    }
    Scene::of_byte_stream(&stream, u64::from(RATE)).expect("it begins with its parameters")
}

/// The same numbers every time.
pub(crate) struct Noise(pub u64);

impl Noise {
    /// Up to `most` grey values either way, for each pixel.
    pub(crate) fn onto(&mut self, still: &Still, most: i16) -> Still {
        let mut still = still.clone();
        for pixel in &mut still.luma {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let noise = ((self.0 >> 33) % (2 * most as u64 + 1)) as i16 - most;
            *pixel = (i16::from(*pixel) + noise).clamp(0, 255) as u8;
        }
        still
    }
}

/// Every pixel times so many percent.
pub(crate) fn gained(still: &Still, percent: u32) -> Still {
    let mut still = still.clone();
    for pixel in &mut still.luma {
        *pixel = (u32::from(*pixel) * percent / 100).min(255) as u8;
    }
    still
}

/// Something white, in the left half for twenty steps.
pub(crate) fn visited(still: &Still, step: usize) -> Still {
    let mut still = still.clone();
    let left = 8 + 6 * step;
    for line in still.luma.chunks_exact_mut(WIDTH).skip(100).take(60) {
        line[left..left + 40].fill(235);
    }
    still
}
