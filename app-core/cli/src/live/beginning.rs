//! What a player is told before any fragment (ISO/IEC 14496-12, `ftyp` and `moov`): whether another one is another film to it.
//!
//! It is pure. What is no box it takes as it stands, and it must never panic on what a hub has sent.

/// The beginning of a film, as far as players tell films apart by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Beginning {
    /// All boxes but one kind (8.6.5): from when on a track is presented differs from session to session of a camera with
    /// sound, by less than a piece of sound, and players that read one beginning only do not miss another for that.
    boxes: Vec<u8>,
    /// Width and height of the picture in pixels, if it says them.
    pub(super) size: Option<(u16, u16)>,
}

impl Beginning {
    /// Looks at an initialisation segment, which is some KiB at most.
    pub(super) fn of(init: &[u8]) -> Self {
        let mut beginning = Self {
            boxes: Vec::new(),
            size: None,
        };
        beginning.look(init);
        beginning
    }

    fn look(&mut self, mut rest: &[u8]) {
        while let Some((kind, whole, behind)) = next_box(rest) {
            match &kind {
                // Without their sizes, which that kind is counted in.
                b"moov" | b"trak" => {
                    self.boxes.extend_from_slice(&kind);
                    self.look(whole.get(8..).unwrap_or_default());
                }
                b"edts" => {}
                _ => {
                    if kind == *b"tkhd" {
                        self.size = self.size.or(size_in(whole));
                    }
                    self.boxes.extend_from_slice(whole);
                }
            }
            rest = behind;
        }
        self.boxes.extend_from_slice(rest);
    }
}

/// The first box (4.2): its kind, all of it, and what stands behind it.
fn next_box(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let [a, b, c, d, kind @ ..] = *bytes.first_chunk::<8>()?;
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    let (whole, behind) = bytes.split_at_checked(size)?;
    (size >= 8).then_some((kind, whole, behind))
}

/// Width and height in the header of a track (8.3.2): its last two numbers, of 16.16 bits. Sound has none.
fn size_in(header: &[u8]) -> Option<(u16, u16)> {
    let [a, b, _, _, c, d, _, _] = *header.last_chunk::<8>()?;
    let size = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    (size.0 > 0 && size.1 > 0).then_some(size)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(8 + body.len()).unwrap();
        [&size.to_be_bytes()[..], kind, body].concat()
    }

    /// A beginning with sound that is presented so many ticks after it begins.
    pub(in crate::live) fn init(width: u16, height: u16, skipped: Option<u8>) -> Vec<u8> {
        let header = |width: u16, height: u16| {
            let mut body = vec![0; 76];
            for side in [width, height] {
                body.extend_from_slice(&(u32::from(side) << 16).to_be_bytes());
            }
            boxed(b"tkhd", &body)
        };
        let edits = skipped.map(|ticks| boxed(b"edts", &boxed(b"elst", &[ticks; 20])));
        let pictures = [header(width, height), boxed(b"mdia", b"pictures")].concat();
        let sound = [
            header(0, 0),
            edits.unwrap_or_default(),
            boxed(b"mdia", b"sound"),
        ]
        .concat();
        let tracks = [boxed(b"trak", &sound), boxed(b"trak", &pictures)].concat();
        [boxed(b"ftyp", b"iso6"), boxed(b"moov", &tracks)].concat()
    }

    #[test]
    fn another_picture_is_another_film_and_another_edit_list_is_none() {
        let first = Beginning::of(&init(640, 360, None));
        assert_eq!(first.size, Some((640, 360)));
        for skipped in [Some(1), Some(2)] {
            assert_eq!(Beginning::of(&init(640, 360, skipped)), first);
        }
        let other = Beginning::of(&init(1920, 1080, None));
        assert_ne!(other, first);
        assert_eq!(other.size, Some((1920, 1080)));
    }

    #[test]
    fn what_is_no_box_is_taken_as_it_is() {
        let cut = init(640, 360, Some(1));
        for length in 0..cut.len() {
            let _any = Beginning::of(&cut[..length]);
        }
        for bytes in [&b""[..], b"short", &[0; 64], &[0xff; 64]] {
            assert_eq!(Beginning::of(bytes).boxes, bytes);
            assert_eq!(Beginning::of(bytes).size, None);
        }
    }
}
