//! RTP packets and sender reports (RFC 3550) of H.264 (RFC 6184, non-interleaved mode), H.265 (RFC 7798, without
//! DONL) and AAC (RFC 3640, AAC-hbr), each behind the four bytes with which RTSP interleaves it (RFC 2326, 10.12).
//!
//! It is pure: numbers and bytes in, bytes out.

use bytes::Bytes;

/// The most bytes of a NAL unit in one packet: as on Ethernet.
const PAYLOAD_BYTES_MAX: usize = 1400;

/// What stands before what is in a packet: the four bytes of RTSP, and the RTP header.
const HEAD_BYTES: usize = 4 + 12;

/// Puts rubbish in the place of what is in a packet, but for so many bytes of it. It is always the same, and without a
/// zero, so that no start code is in it; no byte of it begins a NAL unit.
pub(crate) fn overwrite(packet: &mut [u8], from: usize) {
    let bytes = packet.iter_mut().enumerate().skip(HEAD_BYTES + from);
    for (at, byte) in bytes {
        *byte = 0x80 | (at * 37 % 128) as u8;
    }
}

/// What pictures are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    H264,
    H265,
}

impl Codec {
    /// What stands before each fragment of a NAL unit, and what is cut: an FU-A or an FU.
    fn fragments(self, nal: &Bytes) -> (Vec<u8>, &[u8]) {
        match self {
            // Indicator with type 28, then start bit, end bit and the type.
            Self::H264 => (vec![(nal[0] & 0xE0) | 28, nal[0] & 0x1F], &nal[1..]),
            // Header with type 49, then the same.
            Self::H265 => {
                let header = vec![(nal[0] & 0x81) | (49 << 1), nal[1], (nal[0] >> 1) & 0x3F];
                (header, &nal[2..])
            }
        }
    }
}

/// The packets of one stream, numbered.
#[derive(Debug)]
pub(crate) struct Stream {
    channel: u8,
    payload_type: u8,
    ssrc: u32,
    next_seq: u16,
}

impl Stream {
    pub(crate) fn new(channel: u8, payload_type: u8, first_seq: u16) -> Self {
        Self {
            channel,
            payload_type,
            ssrc: 0x5EC1_0500 | u32::from(channel),
            next_seq: first_seq,
        }
    }

    /// One packet.
    fn packet(&mut self, time: u32, is_last: bool, payload: &[&[u8]]) -> Vec<u8> {
        let bytes = 12 + payload.iter().map(|part| part.len()).sum::<usize>();
        let bytes = u16::try_from(bytes).expect("payloads are small");
        let mut out = vec![b'$', self.channel];
        out.extend_from_slice(&bytes.to_be_bytes());
        out.push(0x80); // version 2
        out.push((u8::from(is_last) << 7) | self.payload_type);
        out.extend_from_slice(&self.next_seq.to_be_bytes());
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        for part in payload {
            out.extend_from_slice(part);
        }
        self.next_seq = self.next_seq.wrapping_add(1);
        out
    }

    /// The packets of one picture.
    pub(crate) fn picture(&mut self, codec: Codec, time: u32, nals: &[Bytes]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for (number, nal) in nals.iter().enumerate() {
            let is_last_nal = number + 1 == nals.len();
            if nal.len() <= PAYLOAD_BYTES_MAX {
                packets.push(self.packet(time, is_last_nal, &[nal]));
                continue;
            }
            let (header, body) = codec.fragments(nal);
            let parts: Vec<&[u8]> = body.chunks(PAYLOAD_BYTES_MAX).collect();
            for (at, part) in parts.iter().enumerate() {
                let is_end = at + 1 == parts.len();
                let mut unit = header.clone();
                if let Some(marks) = unit.last_mut() {
                    *marks |= (u8::from(at == 0) << 7) | (u8::from(is_end) << 6);
                }
                packets.push(self.packet(time, is_last_nal && is_end, &[&unit, part]));
            }
        }
        packets
    }

    /// The packet of one AAC frame below 8 KiB.
    pub(crate) fn sound(&mut self, time: u32, frame: &[u8]) -> Vec<u8> {
        let size = u16::try_from(frame.len()).expect("frames are small") << 3;
        let [high, low] = size.to_be_bytes();
        // One AU header of 16 bits: 13 of size, 3 of index.
        self.packet(time, true, &[&[0, 16, high, low], frame])
    }

    /// A sender report (RFC 3550, section 6.4.1), in the channel behind that of the stream: `ntp` and `time` are the
    /// same instant. How much was sent it does not say.
    pub(crate) fn report(&self, ntp: u64, time: u32) -> Vec<u8> {
        // 28 bytes of version 2 and type 200, which are six words behind the first.
        let mut out = vec![b'$', self.channel + 1, 0, 28, 0x80, 200, 0, 6];
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&ntp.to_be_bytes());
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_unit_is_cut_and_only_the_last_packet_is_marked() {
        let nal = Bytes::from([&[0x65_u8][..], &[7_u8; 3000][..]].concat());
        let mut stream = Stream::new(0, 96, 65_535);
        let packets = stream.picture(Codec::H264, 9, &[Bytes::from_static(&[0x06, 1]), nal]);
        assert_eq!(packets.len(), 4);
        let marks: Vec<bool> = packets.iter().map(|packet| packet[5] & 0x80 != 0).collect();
        assert_eq!(marks, [false, false, false, true]);
        assert_eq!(packets[1][16..18], [0x7C, 0x85]);
        assert_eq!(packets[3][16..18], [0x7C, 0x45]);
        assert_eq!(packets[1][6..8], [0, 0], "numbers wrap around");
        let length = usize::from(u16::from_be_bytes([packets[3][2], packets[3][3]]));
        assert_eq!(packets[3].len(), 4 + length);
    }

    #[test]
    fn of_h265_the_header_of_two_bytes_stays_and_its_type_goes_behind() {
        // An IDR_W_RADL, type 19, of layer 0 and temporal id 1.
        let nal = Bytes::from([&[0x26_u8, 0x01][..], &[7_u8; 2000][..]].concat());
        let packets = Stream::new(0, 96, 0).picture(Codec::H265, 9, &[nal]);
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[0][16..20], [0x62, 0x01, 0x93, 7]);
        assert_eq!(packets[1][16..20], [0x62, 0x01, 0x53, 7]);
        let bodies: usize = packets.iter().map(|packet| packet.len() - 19).sum();
        assert_eq!(bodies, 2000);
    }

    #[test]
    fn a_report_names_one_instant_twice() {
        let packet = Stream::new(2, 97, 0).report(0x0102_0304_0506_0708, 9);
        assert_eq!(packet.len(), 4 + 28);
        assert_eq!(packet[..8], [b'$', 3, 0, 28, 0x80, 200, 0, 6]);
        assert_eq!(packet[12..24], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9]);
    }

    #[test]
    fn rubbish_leaves_the_packet_as_it_was_and_what_is_in_it_not() {
        let good = Stream::new(2, 97, 0).sound(5, &[1, 2, 3]);
        let mut packet = good.clone();
        overwrite(&mut packet, 4);
        assert_eq!((packet.len(), &packet[..20]), (good.len(), &good[..20]));
        assert!(packet[20..].iter().all(|byte| *byte >= 0x80));
        overwrite(&mut packet, 0);
        assert_eq!(packet[..16], good[..16]);
        assert!(packet[16..].iter().all(|byte| *byte >= 0x80));
        overwrite(&mut packet, 100);
    }

    #[test]
    fn sound_has_its_size_in_front() {
        let packet = Stream::new(2, 97, 0).sound(5, &[1, 2, 3]);
        assert_eq!(packet[16..], [0, 16, 0, 24, 1, 2, 3]);
    }
}
