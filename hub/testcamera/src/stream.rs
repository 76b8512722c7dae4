//! Byte streams with start codes (annex B of ITU-T H.264 and H.265) as scenes: what encoders write.

use bytes::Bytes;

use crate::{Picture, Scene};

/// Ticks a second of RTP.
const RTP_RATE: u64 = 90_000;
/// The kinds of NAL unit that matter here: ITU-T H.264, table 7-1, and H.265, table 7-1.
const H264_SLICES: std::ops::RangeInclusive<u8> = 1..=5;
const H264_SPS: u8 = 7;
const H264_PPS: u8 = 8;
const H265_SLICES: std::ops::RangeInclusive<u8> = 0..=31;
const H265_VPS: u8 = 32;
const H265_SPS: u8 = 33;
const H265_PPS: u8 = 34;

impl Scene {
    /// The pictures of a byte stream, `rate` a second and each of one slice, with the first parameter sets in it. It
    /// is H.265 if it begins with a video parameter set. `None` if there are no parameter sets.
    pub fn of_byte_stream(stream: &[u8], rate: u64) -> Option<Self> {
        let nals = nals(stream);
        let is_h265 = nals.first().is_some_and(|nal| h265_kind(nal) == H265_VPS);
        let (mut vps, mut sps, mut pps) = (None, None, None);
        let (mut pictures, mut before) = (Vec::new(), Vec::new());
        for nal in nals {
            let kept = match (is_h265, h264_kind(&nal), h265_kind(&nal)) {
                (true, _, H265_VPS) => &mut vps,
                (true, _, H265_SPS) | (false, H264_SPS, _) => &mut sps,
                (true, _, H265_PPS) | (false, H264_PPS, _) => &mut pps,
                (is_h265, h264, h265) => {
                    let is_slice = match is_h265 {
                        true => H265_SLICES.contains(&h265),
                        false => H264_SLICES.contains(&h264),
                    };
                    before.push(nal);
                    if is_slice {
                        let at = pictures.len() as u64 * RTP_RATE / rate;
                        pictures.push(Picture {
                            nals: std::mem::take(&mut before),
                            pts: at,
                            dts: at,
                        });
                    }
                    continue;
                }
            };
            kept.get_or_insert(nal);
        }
        Some(Self {
            vps,
            sps: sps?,
            pps: pps?,
            duration: pictures.len() as u64 * RTP_RATE / rate,
            pictures,
        })
    }
}

fn h264_kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1F)
}

fn h265_kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header >> 1 & 0x3F)
}

/// The NAL units between the start codes.
fn nals(stream: &[u8]) -> Vec<Bytes> {
    let starts = stream.windows(3).enumerate();
    let starts = starts.filter(|(_, three)| *three == [0, 0, 1]);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| {
        let nal = &stream[start + 3..end];
        // Zeros behind a unit belong to the next start code.
        let length = nal.iter().rposition(|byte| *byte != 0);
        Bytes::copy_from_slice(&nal[..length.map_or(0, |last| last + 1)])
    });
    units.filter(|nal| !nal.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_into_pictures_and_parameter_sets() {
        let stream = [
            &[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x06, 3][..],
            &[
                0, 0, 1, 0x65, 4, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x41, 5, 0, 0,
            ],
        ]
        .concat();
        let scene = Scene::of_byte_stream(&stream, 10).unwrap();
        assert_eq!(scene.vps, None);
        assert_eq!(
            (&scene.sps[..], &scene.pps[..]),
            (&[0x67, 1][..], &[0x68, 2][..])
        );
        assert_eq!(scene.duration, 18_000);
        let pictures: Vec<_> = scene.pictures.iter().map(|one| one.nals.clone()).collect();
        let unit = Bytes::from_static;
        let want = [
            vec![unit(&[0x06, 3]), unit(&[0x65, 4])],
            vec![unit(&[0x41, 5])],
        ];
        assert_eq!(pictures, want);
        assert_eq!(scene.pictures[1].dts, 9_000);

        let stream = [
            &[0, 0, 1, 0x40, 1, 7, 0, 0, 1, 0x42, 1, 8][..],
            &[0, 0, 1, 0x44, 1, 9, 0, 0, 1, 0x28, 1, 6],
        ]
        .concat();
        let scene = Scene::of_byte_stream(&stream, 10).unwrap();
        assert_eq!(scene.vps.as_deref(), Some(&[0x40, 1, 7][..]));
        assert_eq!(scene.pictures.len(), 1);
        assert!(Scene::of_byte_stream(&[0, 0, 1, 0x65, 4], 10).is_none());
    }
}
