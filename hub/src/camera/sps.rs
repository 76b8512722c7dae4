//! What a sequence parameter set of H.264 says of its pictures that the hub's decoder refuses (ITU-T H.264,
//! 7.3.2.1.1): fields, more than eight bits, more colour than 4:2:0.
//!
//! It reads no further than it must: what cameras put behind that is often wrong, and the decoder does not mind. It must
//! never panic on a set from outside, and never refuse one that it cannot read: whoever looks at the pictures finds out.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use h264_reader::nal::sps::{ChromaFormat, ChromaInfo};
use h264_reader::rbsp::{BitRead, BitReader, decode_nal};

/// The fewest bytes of a set in which there is anything to read: its kind, profile, constraints and level.
const BYTES_MIN: usize = 4;

/// What such pictures are, for people, if the decoder refuses them; the set is without length or start code.
pub(super) fn undecodable(sps: &[u8]) -> Option<&'static str> {
    if sps.len() < BYTES_MIN {
        return None;
    }
    let rbsp = decode_nal(sps).ok()?;
    let mut bits = BitReader::new(&*rbsp);
    let profile = bits.read::<u8>(8, "profile_idc").ok()?;
    bits.skip(16, "constraint flags, level_idc").ok()?;
    bits.read_ue("seq_parameter_set_id").ok()?;
    let chroma = ChromaInfo::read(&mut bits, profile.into()).ok()?;
    // Without colour it can be.
    if !matches!(
        chroma.chroma_format,
        ChromaFormat::Monochrome | ChromaFormat::YUV420
    ) {
        return Some("H.264 with more colour than 4:2:0");
    }
    if (chroma.bit_depth_luma_minus8, chroma.bit_depth_chroma_minus8) != (0, 0) {
        return Some("H.264 of more than 8 bits");
    }
    let has_whole_pictures = has_whole_pictures(&mut bits)?;
    (!has_whole_pictures).then_some("interlaced H.264")
}

/// The frame_mbs_only_flag, and all that stands between the colour and it.
fn has_whole_pictures(bits: &mut impl BitRead) -> Option<bool> {
    bits.read_ue("log2_max_frame_num_minus4").ok()?;
    match bits.read_ue("pic_order_cnt_type").ok()? {
        0 => {
            bits.read_ue("log2_max_pic_order_cnt_lsb_minus4").ok()?;
        }
        1 => {
            bits.read_bool("delta_pic_order_always_zero_flag").ok()?;
            bits.read_se("offset_for_non_ref_pic").ok()?;
            bits.read_se("offset_for_top_to_bottom_field").ok()?;
            // However many it says: the set ends before that.
            for _ in 0..bits.read_ue("num_ref_frames_in_pic_order_cnt_cycle").ok()? {
                bits.read_se("offset_for_ref_frame").ok()?;
            }
        }
        _ => {}
    }
    bits.read_ue("max_num_ref_frames").ok()?;
    bits.read_bool("gaps_in_frame_num_value_allowed_flag")
        .ok()?;
    bits.read_ue("pic_width_in_mbs_minus1").ok()?;
    bits.read_ue("pic_height_in_map_units_minus1").ok()?;
    bits.read_bool("frame_mbs_only_flag").ok()
}

/// Sets written by hand, bit by bit; each is of 720x576 pixels.
#[cfg(test)]
pub(crate) mod testing {
    /// Main profile, level 3. Behind that: id 0, frame numbers of 4 bits, picture order by 4 bits, one reference, no
    /// gaps, 45 macroblocks by 18 pairs of them, frame_mbs_only_flag 0, no macroblocks of both kinds, inference, no
    /// cropping, no more.
    pub(crate) const INTERLACED: [u8; 9] = [0x67, 0x4D, 0x00, 0x1E, 0xF4, 0x05, 0xA1, 0x22, 0x40];
    /// The same in whole pictures: 45 macroblocks by 36.
    pub(crate) const WHOLE: [u8; 9] = [0x67, 0x4D, 0x00, 0x1E, 0xF4, 0x05, 0xA0, 0x93, 0x20];
    /// High 10 profile: 4:2:0, ten bits of luma and of chroma, no scaling lists; the rest as above.
    pub(crate) const HIGH_10: [u8; 10] =
        [0x67, 0x6E, 0x00, 0x1E, 0xA6, 0xCE, 0x80, 0xB4, 0x12, 0x64];
}

#[cfg(test)]
mod tests {
    use super::testing::{HIGH_10, INTERLACED, WHOLE};
    use super::*;

    #[test]
    fn what_the_decoder_refuses_is_read_from_the_parameters() {
        // Picture order of type 1, with two offsets before what matters.
        let counted: &[u8] = &[
            0x67, 0x4D, 0x00, 0x1E, 0xD3, 0x64, 0x2A, 0x02, 0xD0, 0x91, 0x20,
        ];
        // High profile with the eight bits of 4:2:0, 4:2:2, and without colour.
        let high: &[u8] = &[0x67, 0x64, 0x00, 0x1E, 0xAC, 0xE8, 0x0B, 0x41, 0x26, 0x40];
        let high_422: &[u8] = &[0x67, 0x7A, 0x00, 0x1E, 0xBC, 0xE8, 0x0B, 0x41, 0x26, 0x40];
        let grey: &[u8] = &[0x67, 0x64, 0x00, 0x1E, 0xF3, 0xA0, 0x2D, 0x04, 0x99];
        let table = [
            (&INTERLACED[..], Some("interlaced H.264")),
            (counted, Some("interlaced H.264")),
            (&HIGH_10[..], Some("H.264 of more than 8 bits")),
            (high_422, Some("H.264 with more colour than 4:2:0")),
            (&WHOLE[..], None),
            (high, None),
            (grey, None),
        ];
        for (sps, want) in table {
            assert_eq!(undecodable(sps), want, "{sps:02X?}");
        }
    }

    #[test]
    fn a_set_that_cannot_be_read_is_not_refused() {
        for length in 0..INTERLACED.len() - 2 {
            assert_eq!(undecodable(&INTERLACED[..length]), None, "{length} bytes");
        }
        assert_eq!(undecodable(&[0x67, 1, 2]), None);
        assert_eq!(undecodable(&[0xFF; 64]), None);
        assert_eq!(undecodable(&[0; 64]), None);
    }
}
